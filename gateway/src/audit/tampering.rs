//! What is wrong with a log that does not verify, by the first line that shows it.

use super::note::BadNote;
use crate::printable::Count;

/// The first sign that a log was altered. Lines are counted from 1, as by `sed -n 42p`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Tampering {
    /// A line that keyway does not write.
    #[error("line {line} is not a line of an audit log: {why}")]
    NotALine {
        /// Its number.
        line: u64,
        /// Why it could not be read.
        why: String,
    },
    /// A line was removed, inserted or moved.
    #[error("line {line} is missing or out of place: line {found} stands there")]
    OutOfPlace {
        /// The number that was expected.
        line: u64,
        /// The number of the line that is there.
        found: u64,
    },
    /// A line was changed.
    #[error("{} changed: {}", lines(*first, *last), evidence(*first, *last))]
    Changed {
        /// The first line that may be it.
        first: u64,
        /// The last line that may be it; the same wherever every line has its checkpoint.
        last: u64,
    },
    /// Lines at the end are missing: a checkpoint covers more.
    #[error("line {line} and what follows is cut off: a signed checkpoint covers {}", Count(*covered, "line"))]
    Truncated {
        /// The first line that is missing, or not whole.
        line: u64,
        /// How many lines there were.
        covered: u64,
    },
    /// Log and checkpoints fit together, but a head that was recorded elsewhere (in a record of the catalogue) has more lines.
    #[error("line {line} and what follows is cut off: a record beside the log was written when there were {}", Count(*named, "line"))]
    ShorterThanHead {
        /// The first line that is missing.
        line: u64,
        /// How many lines there were.
        named: u64,
    },
    /// The log and its checkpoints are empty.
    #[error("line 1 and what follows is cut off: it was written before the log's key got its name")]
    Empty,
    /// Log and checkpoints fit together, but not the checkpoint that is kept elsewhere: the log was rewritten and signed anew.
    #[error(
        "{} the checkpoint kept elsewhere vouches for: lines up to there were replaced, and the log was signed anew", forked(*size)
    )]
    Forked {
        /// How many lines that checkpoint covers.
        size: u64,
    },
    /// A checkpoint does not verify.
    #[error("checkpoint {number} is not valid: {why}")]
    Checkpoint {
        /// Its number, from 1.
        number: u64,
        /// Why it does not verify.
        why: BadNote,
    },
    /// A checkpoint does not cover more lines than the one before it.
    #[error(
        "checkpoint {number} is out of place: it covers {}, the one before it {before}", Count(*size, "line")
    )]
    NotGrowing {
        /// Its number, from 1.
        number: u64,
        /// How many lines it covers.
        size: u64,
        /// How many the one before it covers.
        before: u64,
    },
}

impl Tampering {
    pub(super) const fn is_truncation(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. } | Self::ShorterThanHead { .. } | Self::Empty
        )
    }

    /// The first line that is wrong, if it is a line.
    #[must_use]
    pub const fn line(&self) -> Option<u64> {
        match self {
            Self::NotALine { line, .. }
            | Self::OutOfPlace { line, .. }
            | Self::Truncated { line, .. }
            | Self::ShorterThanHead { line, .. } => Some(*line),
            Self::Changed { first, .. } => Some(*first),
            Self::Empty => Some(1),
            Self::Forked { .. } | Self::Checkpoint { .. } | Self::NotGrowing { .. } => None,
        }
    }
}

fn lines(first: u64, last: u64) -> String {
    if first == last {
        format!("line {first} was")
    } else {
        format!("one of the lines {first} to {last} was")
    }
}

fn forked(size: u64) -> String {
    if size == 1 {
        "the first line is not that which".to_owned()
    } else {
        format!("the first {size} lines are not those that")
    }
}

fn evidence(first: u64, last: u64) -> &'static str {
    if first == last {
        "it is not what the chain of hashes and the signed checkpoints say"
    } else {
        "no checkpoint tells them apart"
    }
}
