//! The last subject of a direction and what policy said of it: most connections publish on one subject for a while.

use crate::policy::{Policy, Route};

/// Remembers one answer.
#[derive(Default)]
pub(super) struct RouteCache {
    subject: Vec<u8>,
    route: Option<Route>,
    generation: u64,
}

impl RouteCache {
    /// What `policy`, that of snapshot `generation`, says of `subject`.
    pub(super) fn route(&mut self, policy: &Policy, generation: u64, subject: &[u8]) -> Route {
        if let Some(route) = self.route
            && self.generation == generation
            && self.subject == subject
        {
            return route;
        }
        let route = policy.route(subject);
        self.subject.clear();
        self.subject.extend_from_slice(subject);
        self.generation = generation;
        self.route = Some(route);
        route
    }
}
