//! The keyrings that are denied to a client (`publish-by`, `deliver-to`): decided once, looked up for each message.

use crate::keyring::Snapshot;
use crate::metrics::Direction;
use crate::policy::{KeyringId, Rule};

use super::Identity;

/// The keyrings that are denied to one client in one direction.
pub(in crate::dataplane) struct DeniedKeyrings {
    direction: Direction,
    /// By the keyring's index; empty when none is denied.
    keyrings: Vec<bool>,
    /// The first denied one.
    first: Option<KeyringId>,
    /// The snapshot's generation and the identity's epoch of the decision.
    decided: Option<(u64, u64)>,
}

impl DeniedKeyrings {
    pub(in crate::dataplane) const fn new(direction: Direction) -> Self {
        Self {
            direction,
            keyrings: Vec::new(),
            first: None,
            decided: None,
        }
    }

    /// Decides again if the keyrings or the client's names may have changed.
    pub(in crate::dataplane) fn refresh(&mut self, snapshot: &Snapshot, identity: &Identity) {
        let now = (snapshot.generation(), identity.epoch());
        if self.decided == Some(now) {
            return;
        }
        self.decided = Some(now);
        self.keyrings.clear();
        self.first = None;
        let policy = snapshot.policy();
        if policy.restricts_clients() {
            let direction = self.direction;
            let closed = |rule: &Rule| match direction {
                Direction::Publish => !rule.publish_by.admit(identity.names()),
                Direction::Deliver => !rule.deliver_to.admit(identity.names()),
            };
            self.keyrings.extend(policy.keyrings().iter().map(closed));
            let denied = policy.keyrings().iter().find(|rule| closed(rule));
            self.first = denied.and_then(|rule| policy.by_name(rule.name.as_str()));
        }
        if !self.keyrings.contains(&true) {
            self.keyrings.clear();
        }
    }

    /// Whether any keyring is denied.
    pub(in crate::dataplane) const fn any(&self) -> bool {
        !self.keyrings.is_empty()
    }

    pub(in crate::dataplane) const fn first(&self) -> Option<KeyringId> {
        self.first
    }

    pub(in crate::dataplane) fn has(&self, keyring: KeyringId) -> bool {
        self.keyrings
            .get(keyring.index())
            .copied()
            .unwrap_or_else(|| self.any())
    }
}
