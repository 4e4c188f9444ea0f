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
        }
    }
}
