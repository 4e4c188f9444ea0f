//! Which keyrings are not for a client, decided once and looked up for each message.

use crate::keyring::Snapshot;
use crate::metrics::Direction;
use crate::policy::{KeyringId, Rule};

use super::Identity;

/// The keyrings that are closed to one client in one direction.
pub(in crate::dataplane) struct Barred {
    direction: Direction,
    /// By the keyring's place; empty when none is.
    keyrings: Vec<bool>,
    /// One that is.
    first: Option<KeyringId>,
    /// The snapshot's generation and the identity's epoch that it was decided for.
    decided: Option<(u64, u64)>,
}

impl Barred {
    /// Nothing has been decided yet.
    pub(in crate::dataplane) const fn new(direction: Direction) -> Self {
        Self {
            direction,
            keyrings: Vec::new(),
            first: None,
            decided: None,
        }
    }

    /// Decides anew if the keyrings or the client's names may have changed.
    pub(in crate::dataplane) fn refresh(&mut self, snapshot: &Snapshot, identity: &Identity) {
        let now = (snapshot.generation(), identity.epoch());
        if self.decided == Some(now) {
            return;
        }
        self.decided = Some(now);
        self.keyrings.clear();
        self.first = None;
        let policy = snapshot.policy();
        if policy.is_selective() {
            let direction = self.direction;
            let closed = |rule: &Rule| match direction {
                Direction::Publish => !rule.publish_by.admit(identity.names()),
                Direction::Deliver => !rule.deliver_to.admit(identity.names()),
            };
            self.keyrings.extend(policy.keyrings().iter().map(closed));
            let barred = policy.keyrings().iter().find(|rule| closed(rule));
            self.first = barred.and_then(|rule| policy.by_name(rule.name.as_str()));
        }
        if !self.keyrings.contains(&true) {
            self.keyrings.clear();
        }
    }

    /// Whether any keyring is.
    pub(in crate::dataplane) const fn any(&self) -> bool {
        !self.keyrings.is_empty()
    }

    /// The first that is.
    pub(in crate::dataplane) const fn first(&self) -> Option<KeyringId> {
        self.first
    }

    /// Whether this one is.
    pub(in crate::dataplane) fn has(&self, keyring: KeyringId) -> bool {
        self.keyrings
            .get(keyring.index())
            .copied()
            .unwrap_or_else(|| self.any())
    }
}
