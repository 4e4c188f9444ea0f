//! The keyrings that are denied to a client (`publish-by`, `deliver-to`): decided once, looked up for each message.

use crate::policy::{KeyringId, Policy, Rule};

/// The keyrings that are denied to one client in one direction.
#[derive(Default)]
pub(in crate::dataplane) struct DeniedKeyrings {
    /// By the keyring's index; empty when none is denied.
    keyrings: Vec<bool>,
    /// The first denied one.
    first: Option<KeyringId>,
}

impl DeniedKeyrings {
    pub(super) fn new(policy: &Policy, denies: impl Fn(&Rule) -> bool) -> Self {
        let rules = policy.keyrings();
        let restricts = policy.restricts_clients();
        let Some(first) = rules.iter().find(|rule| restricts && denies(rule)) else {
            return Self::default();
        };
        Self {
            keyrings: rules.iter().map(denies).collect(),
            first: policy.by_name(first.name.as_str()),
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
