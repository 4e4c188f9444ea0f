//! Why a run ended without a result.

use std::io;

/// One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A peer said something that ends the run.
    #[error("{what}: the peer said {said:?}")]
    Peer {
        /// What was being done.
        what: String,
        /// Its words.
        said: String,
    },
    /// A program did not come up.
    #[error("{program} did not start: {why}")]
    Program {
        /// Its path.
        program: String,
        /// What it said last, or what it did.
        why: String,
    },
    /// A round of a scenario failed.
    #[error("{round}: {source}")]
    Round {
        /// The scenario, and the target.
        round: String,
        /// Why.
        source: Box<Self>,
    },
    /// A bound was reached.
    #[error("{0}")]
    Limit(String),
}

impl Failed {
    /// The same, with the round in which it came.
    pub(crate) fn of_round(self, round: String) -> Self {
        Self::Round {
            round,
            source: Box::new(self),
        }
    }

    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
