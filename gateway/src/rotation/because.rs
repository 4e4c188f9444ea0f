//! Why a key event happens: recorded in the audit log with the event.

use crate::audit::{Text, Through, Trigger, Who};

/// Why something is done to a key version, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// What triggered it.
    pub trigger: Trigger,
    /// Who requested it.
    pub who: Who,
    /// The interface through which the request came.
    pub through: Through,
    /// Why, in words for an auditor.
    pub why: Text,
    /// For a destruction only: what justifies it.
    pub ground: Option<Ground>,
}

/// What justifies the destruction of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Nothing stored needs the version: the evidence.
    Proven(Text),
    /// Requested whatever is stored.
    Forced,
    /// The keyring's `retain` demands it whatever is stored.
    Configured,
}

impl Because {
    /// A reason of the gateway's own.
    #[must_use]
    pub fn of_gateway(trigger: Trigger, why: impl Into<Text>) -> Self {
        Self {
            trigger,
            who: Who::Gateway,
            through: Through::Gateway,
            why: why.into(),
            ground: None,
        }
    }

    /// Adds what justifies a destruction.
    #[must_use]
    pub fn on(self, ground: Ground) -> Self {
        Self {
            ground: Some(ground),
            ..self
        }
    }
}
