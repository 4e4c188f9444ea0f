//! How far a log had come when something beside it was written: a log that ends before that was cut off.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::note::VerifierKey;
use crate::printable::{Count, Printable};

/// A log, and how many lines it had. Signed by whoever writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    log: String,
    lines: u64,
}

impl Head {
    pub(super) fn of(key: &VerifierKey, lines: u64) -> Self {
        Self {
            log: key.name().to_owned(),
            lines,
        }
    }

    /// How many lines the log of this key had; `None`: it is about another.
    pub(crate) fn about(&self, key: &VerifierKey) -> Option<u64> {
        (self.log == key.name()).then_some(self.lines)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = Count(self.lines, "line");
        write!(f, "{}, {lines}", Printable(&self.log))
    }
}
