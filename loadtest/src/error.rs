//! Why a run ended without a result.

use std::io;

/// One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// An operating system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A peer sent something unexpected.
    #[error("{what}: the peer said {said:?}")]
    Peer {
        /// What was being done.
        what: String,
        /// What it sent.
        said: String,
    },
    /// A program did not start, or is gone.
    #[error(transparent)]
    Program(#[from] keyway_test_kit::Error),
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

impl RunError {
    /// Adds the scenario and target in whose round it came.
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
