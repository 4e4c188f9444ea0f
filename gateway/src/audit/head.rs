//! How far a log had come when something beside it was written: a log that ends before that was cut off.

use serde::{Deserialize, Serialize};

use super::note::{Checkpoint, VerifierKey};
use super::tree::Hash;

/// A log, how many lines it had, and their Merkle tree hash. Signed by whoever writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    log: String,
    lines: u64,
    root: Hash,
}

impl Head {
    pub(super) fn of(key: &VerifierKey, checkpoint: Checkpoint) -> Self {
        Self {
            log: key.name().to_owned(),
            lines: checkpoint.size,
            root: checkpoint.root,
        }
    }

    /// What it says of the log of this key; `None`: it is about another.
    pub(super) fn about(&self, key: &VerifierKey) -> Option<Checkpoint> {
        (self.log == key.name()).then_some(Checkpoint {
            size: self.lines,
            root: self.root,
        })
    }
}
