//! The last subject of a direction and its policy lookup: most connections publish on one subject for a while.

use crate::policy::{Lookup, Policy, Route};

/// Longer subjects are looked up each time.
pub(super) const LONGEST: usize = 1024;

/// A cache of one lookup.
#[derive(Default)]
pub(super) struct RouteCache {
    subject: Vec<u8>,
    lookup: Option<Lookup>,
    generation: u64,
    /// Whether the lookup before had the same subject.
    again: bool,
}

impl RouteCache {
    /// Looks `subject` up in `policy`, which is that of snapshot `generation`.
    pub(super) fn lookup(&mut self, policy: &Policy, generation: u64, subject: &[u8]) -> Lookup {
        if let Some(lookup) = self.lookup
            && self.generation == generation
            && self.subject == subject
        {
            self.again = true;
            return lookup;
        }
        self.again = false;
        let lookup = policy.lookup(subject);
        self.subject.clear();
        // No subject is empty: nothing is found again for a longer one.
        if subject.len() <= LONGEST {
            self.subject.extend_from_slice(subject);
        }
        self.generation = generation;
        self.lookup = Some(lookup);
        lookup
    }

    /// The route of the message in hand.
    pub(super) fn route(&self) -> Route {
        self.lookup.map_or(Route::Pass, |lookup| lookup.route)
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.subject.capacity()
    }

    /// The last lookup, if the one before had the same subject: a run may follow.
    pub(super) fn repeated(&self) -> Option<Lookup> {
        self.lookup.filter(|_look| self.again)
    }
}
