//! Why a key event happens: recorded in the audit log with the event.

use crate::audit::{Actor, Channel, Text, Trigger};

/// Why something is done to a key version, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What triggered it.
    pub trigger: Trigger,
    /// Who requested it.
    pub who: Actor,
    /// The interface through which the request came.
    pub through: Channel,
    /// Why, in words for an auditor.
    pub why: Text,
    /// For a destruction only: what justifies it.
    pub basis: Option<DestroyBasis>,
}

/// What justifies the destruction of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestroyBasis {
    /// Nothing stored needs the version: the evidence.
    Proven(Text),
    /// Requested whatever is stored.
    Forced,
    /// The keyring's `retain` demands it whatever is stored.
    Configured,
}

impl Reason {
    /// A reason of the gateway's own.
    #[must_use]
    pub fn of_gateway(trigger: Trigger, why: impl Into<Text>) -> Self {
        Self {
            trigger,
            who: Actor::Gateway,
            through: Channel::Gateway,
            why: why.into(),
            basis: None,
        }
    }

    /// Adds what justifies a destruction.
    #[must_use]
    pub fn with_basis(self, basis: DestroyBasis) -> Self {
        Self {
            basis: Some(basis),
            ..self
        }
    }
}
