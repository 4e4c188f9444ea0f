//! Heads: a log's number of lines when something else, such as a record of the catalogue, was written. A shorter log was cut off.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::note::VerifierKey;
use crate::printable::{Count, Printable};

/// A log's name and its number of lines. Signed together with what it is recorded in.
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

    /// How many lines the log of this key had; `None`: the head is of another log.
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
