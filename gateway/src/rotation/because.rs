//! What set a key event off: recorded with it, with who and why.

use crate::audit::{Text, Through, Trigger, Who};

/// Why something is done to a key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// What set it off, in one word.
    pub trigger: Trigger,
    /// Who wants it.
    pub who: Who,
    /// Which way the request came.
    pub through: Through,
    /// Why, in words that an auditor will read.
    pub why: Text,
    /// Of a destruction: what it rests on.
    pub ground: Option<Ground>,
}

/// What the destruction of a version rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It was looked into, and nothing stored needs the version: what was found.
    Proven(Text),
    /// Whoever wants it wants it whatever is stored.
    Forced,
    /// The keyring says so, whatever is stored.
    Configured,
}

impl Because {
    /// The gateway's own rules say so.
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

    /// The same for a destruction that rests on this.
    #[must_use]
    pub fn on(self, ground: Ground) -> Self {
        Self {
            ground: Some(ground),
            ..self
        }
    }
}
