//! What is wrong with a log, by the first line where it shows.

use super::note::BadNote;
use crate::printable::Count;

/// The first thing that is wrong. Lines are counted from 1, as `sed -n 42p` counts them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Not what keyway writes.
    #[error("line {line} is not a line of an audit log: {why}")]
    NotALine {
        /// Which.
        line: u64,
        /// What the reader says.
        why: String,
    },
    /// Another line stands where this one belongs.
    #[error("line {line} is missing or out of place: line {found} stands there")]
    OutOfPlace {
        /// The line that belongs there.
        line: u64,
        /// The number that the one there has.
        found: u64,
    },
    /// Other bytes than were written.
    #[error("{} changed: {}", lines(*first, *last), evidence(*first, *last))]
    Changed {
        /// The first line that may be it.
        first: u64,
        /// The last line that may be it; the same wherever every line has its checkpoint.
        last: u64,
    },
    /// Lines at the end are gone.
    #[error("line {line} and what follows is cut off: a signed checkpoint covers {}", Count(*covered, "line"))]
    CutOff {
        /// The first line that is not there, or not whole.
        line: u64,
        /// How many lines there were.
        covered: u64,
    },
    /// Whole by itself, and shorter than it was.
    #[error("line {line} and what follows is cut off: a record beside the log was written when there were {}", Count(*named, "line"))]
    CutBack {
        /// The first line that is not there.
        line: u64,
        /// How many lines there were.
        named: u64,
    },
    /// Nothing is left, and no checkpoint either.
    #[error("line 1 and what follows is cut off: it was written before the log's key got its name")]
    Empty,
    /// Whole by itself, and another log than the one that a checkpoint kept elsewhere vouches for.
    #[error(
        "{} the checkpoint kept elsewhere vouches for: lines up to there were replaced, and the log was signed anew", forked(*size)
    )]
    Forked {
        /// How many lines that checkpoint covers.
        size: u64,
    },
    /// A checkpoint is not one.
    #[error("checkpoint {number} is not valid: {why}")]
    Checkpoint {
        /// Which of them, from 1.
        number: u64,
        /// Why.
        why: BadNote,
    },
    /// A checkpoint covers no more lines than the one before it.
    #[error(
        "checkpoint {number} is out of place: it covers {}, the one before it {before}", Count(*size, "line")
    )]
    NotGrowing {
        /// Which of them, from 1.
        number: u64,
        /// How many lines it covers.
        size: u64,
        /// How many the one before it covers.
        before: u64,
    },
}

impl Wrong {
    /// Whether it is that lines at the end are gone.
    pub(super) const fn is_cut(&self) -> bool {
        matches!(
            self,
            Self::CutOff { .. } | Self::CutBack { .. } | Self::Empty
        )
    }

    /// The first wrong line, where it is a line that is wrong.
    #[must_use]
    pub const fn line(&self) -> Option<u64> {
        match self {
            Self::NotALine { line, .. }
            | Self::OutOfPlace { line, .. }
            | Self::CutOff { line, .. }
            | Self::CutBack { line, .. } => Some(*line),
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
