//! Why a log could not be read, opened or written: a variant per remedy.

use std::path::PathBuf;

use super::Tampering;
use crate::disk;
use crate::fault::{Failure, Fault, faults};
use crate::secret::NoEntropy;

/// Why a log does not verify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It could not be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// It was altered.
    #[error("the audit log {} was altered: {tampering}", log.display())]
    Altered {
        /// The lines' file.
        log: PathBuf,
        /// The first sign of it.
        tampering: Tampering,
        /// Whether it has fewer lines than were written, whatever the first sign is.
        short: bool,
    },
    /// There are lines, but no checkpoint.
    #[error("nothing vouches for the audit log {}: no checkpoint is there", log.display())]
    NoCheckpoint {
        /// The lines' file.
        log: PathBuf,
        /// The path where its checkpoints should be.
        checkpoints: PathBuf,
    },
}

/// Why a log was not opened for writing. Nothing was overwritten; while it is so, no key event happens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It could not be read or created.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// It does not verify.
    #[error("the audit log {} cannot be continued: {source}", log.display())]
    NotVerified {
        /// The lines' file.
        log: PathBuf,
        /// Why.
        source: VerifyError,
    },
    /// A later version wrote it.
    #[error("line {line} of the audit log {} is none that this keyway knows ({why}): a later version wrote it", log.display())]
    Newer {
        /// The lines' file.
        log: PathBuf,
        /// The line's number.
        line: u64,
        /// Why it could not be parsed.
        why: String,
    },
    /// The first line could not be encoded.
    #[error("the audit log could not be begun ({0}): this is a defect, please report it")]
    Encode(#[from] serde_json::Error),
}

/// Why nothing was written. An action whose intent was not written must not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFailed {
    /// An error of the disk.
    #[error("the audit log cannot be written, so no key event happens: {0}")]
    Disk(#[from] disk::Error),
    /// The log was not opened at the start.
    #[error("no key event happens, because the audit log is closed: {0}")]
    Closed(Failure),
    /// No random bytes for the event's id.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The event has its outcome already.
    #[error("the key event {0} has its outcome already: this is a defect, please report it")]
    Finished(super::EventId),
    /// The line could not be encoded.
    #[error("the audit log's line could not be encoded ({0}): this is a defect, please report it")]
    Encode(#[from] serde_json::Error),
}

impl VerifyError {
    /// Whether lines are known to be missing; then it is not known which records they named.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        matches!(self, Self::Altered { short: true, .. })
    }
}

impl OpenError {
    /// See [`VerifyError::is_short`].
    #[must_use]
    pub const fn is_short(&self) -> bool {
        matches!(self, Self::NotVerified { source, .. } if source.is_short())
    }
}

faults! { VerifyError {
    Self::Disk(error) => error.fault(),
    Self::Altered { .. } => Fault::operator("keep it as evidence, find out who can write there, and compare it with a backup"),
    Self::NoCheckpoint { checkpoints, .. } => Fault::operator(format!(
        "restore {} from a backup, or name a checkpoint that is kept elsewhere",
        checkpoints.display()
    )),
} }

faults! { OpenError {
    Self::Disk(error) => error.fault(),
    Self::NotVerified { source, .. } => Fault::operator(format!(
        "{}. Once that is done: move the directory `audit` and the file `audit.key` away together, and begin a new log with `keyway audit begin --why REASON`",
        source.fault().help()
    )),
    Self::Newer { .. } => Fault::operator("upgrade keyway"),
    Self::Encode(_) => Fault::DEFECT,
} }

faults! { WriteFailed {
    Self::Disk(error) => error.fault(),
    Self::Closed(failure) => failure.fault(),
    Self::NoEntropy(error) => error.fault(),
    Self::Finished(_) | Self::Encode(_) => Fault::DEFECT,
} }
