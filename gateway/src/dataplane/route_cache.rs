//! The last subject of a direction and its policy lookup: most connections publish on one subject for a while.

use crate::policy::{Look, Policy};

/// Longer subjects are looked up each time.
pub(super) const LONGEST: usize = 1024;

/// A cache of one lookup.
#[derive(Default)]
pub(super) struct RouteCache {
    subject: Vec<u8>,
    look: Option<Look>,
    generation: u64,
    /// Whether the lookup before had the same subject.
    again: bool,
}

impl RouteCache {
    /// Looks `subject` up in `policy`, which is that of snapshot `generation`.
    pub(super) fn look(&mut self, policy: &Policy, generation: u64, subject: &[u8]) -> Look {
        if let Some(look) = self.look
            && self.generation == generation
            && self.subject == subject
        {
            self.again = true;
            return look;
        }
        self.again = false;
        let look = policy.look(subject);
        if subject.len() > LONGEST {
            self.look = None;
            return look;
        }
        self.subject.clear();
        self.subject.extend_from_slice(subject);
        self.generation = generation;
        self.look = Some(look);
        look
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.subject.capacity()
    }

    /// The last lookup, if the one before had the same subject: a run may follow.
    pub(super) fn repeated(&self) -> Option<Look> {
        self.look.filter(|_look| self.again)
    }
}
