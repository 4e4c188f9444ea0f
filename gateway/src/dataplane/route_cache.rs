//! The last subject of a direction and what policy said of it: most connections publish on one subject for a while.

use crate::policy::{Look, Policy};

/// Remembers one answer.
#[derive(Default)]
pub(super) struct RouteCache {
    subject: Vec<u8>,
    look: Option<Look>,
    generation: u64,
}

impl RouteCache {
    /// What `policy`, that of snapshot `generation`, says of `subject`.
    pub(super) fn look(&mut self, policy: &Policy, generation: u64, subject: &[u8]) -> Look {
        if let Some(look) = self.look
            && self.generation == generation
            && self.subject == subject
        {
            return look;
        }
        let look = policy.look(subject);
        self.subject.clear();
        self.subject.extend_from_slice(subject);
        self.generation = generation;
        self.look = Some(look);
        look
    }
}
