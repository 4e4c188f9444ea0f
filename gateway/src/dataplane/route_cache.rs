//! The last subject of a direction and what policy said of it: most connections publish on one subject for a while.

use crate::policy::{Look, Policy};

/// A longer subject is not remembered, but looked up each time.
pub(super) const LONGEST: usize = 1024;

/// Remembers one answer.
#[derive(Default)]
pub(super) struct RouteCache {
    subject: Vec<u8>,
    look: Option<Look>,
    generation: u64,
    /// Whether it was the answer for the subject before the last, too.
    again: bool,
}

impl RouteCache {
    /// What `policy`, that of snapshot `generation`, says of `subject`.
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

    /// What it holds, in bytes.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.subject.capacity()
    }

    /// What was said of the last subject, if it was that of the one before, too: others like it may follow.
    pub(super) fn repeated(&self) -> Option<Look> {
        self.look.filter(|_look| self.again)
    }
}
