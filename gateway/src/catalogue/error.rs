//! Why the catalogue could not be read, written or used: a variant per remedy.

use std::path::PathBuf;

use super::{Invalid, State};
use crate::custodian::{SigningKeyNotMade, UnwrapFailed, WrapFailed};
use crate::disk;
use crate::fault::{Fault, faults};
use crate::policy::KeyringName;
use crate::secret::NoEntropy;

/// Why the files cannot be used. Nothing was overwritten; what was loaded before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file or directory cannot be used.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// No catalogue.
    #[error("{} holds no catalogue", .0.display())]
    NotInitialised(PathBuf),
    /// Records without the key that signs them.
    #[error("{} is missing, but there are records that it signed", .0.display())]
    NoSigningKey(PathBuf),
    /// The signing key cannot be unwrapped.
    #[error("cannot unwrap the catalogue's signing key in {}: {source}", path.display())]
    Unwrap {
        /// The signing key's file.
        path: PathBuf,
        /// Wrong KEK, or damage.
        source: UnwrapFailed,
    },
    /// The content is not as keyway writes it.
    #[error("{} is damaged: {what}", .0.display(), what = .1)]
    Damaged(PathBuf, String),
    /// Well-formed, but not what was signed.
    #[error("the signature of {} does not fit its content: it was altered, or damaged", .0.display())]
    Signature(PathBuf),
    /// Signed by the catalogue of another state directory.
    #[error("{} was signed by the catalogue {found}, this one is {ours}: it belongs to another state directory", path.display())]
    OtherCatalogue {
        /// The file.
        path: PathBuf,
        /// The id of the catalogue that signed it.
        found: String,
        /// The id of this one.
        ours: String,
    },
    /// Written by a later version.
    #[error("{} has format {found}, this keyway reads up to {}", .0.display(), super::json::FORMAT, found = .1)]
    Newer(PathBuf, u64),
    /// An older copy was put back.
    #[error("{} was rolled back: it has epoch {found}, but epoch {seen} was seen before", path.display())]
    RolledBack {
        /// The record.
        path: PathBuf,
        /// Its epoch.
        found: u64,
        /// The highest epoch seen.
        seen: u64,
    },
    /// Another record of an epoch that was seen before.
    #[error("{} was exchanged: it has epoch {epoch}, but is not the record of that epoch that was seen before", .0.display(), epoch = .1)]
    Exchanged(PathBuf, u64),
    /// A record is gone.
    #[error("{} is missing, but epoch {seen} of it was seen before", .0.display(), seen = .1)]
    MissingRecord(PathBuf, u64),
    /// `seen.json` is gone.
    #[error("{} is missing, so an old copy of the records could not be noticed", .0.display())]
    MissingSeen(PathBuf),
    /// A correctly signed record breaks a rule.
    #[error("{} breaks a rule: {rule}", .0.display(), rule = .1)]
    Invalid(PathBuf, Invalid),
}

/// Why a catalogue was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The disk refused, or unusable files are there.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The signing key was not made.
    #[error("cannot make the catalogue's signing key: {0}")]
    Key(#[from] SigningKeyNotMade),
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// Another writer has changed the record.
    #[error("the record of keyring {keyring} has epoch {found}, not {expected}")]
    Conflict {
        /// Whose record.
        keyring: KeyringName,
        /// The epoch that the caller had read.
        expected: u64,
        /// The epoch on disk.
        found: u64,
    },
    /// The new record breaks a rule.
    #[error("the new record of keyring {keyring} is refused: {rule}")]
    Refused {
        /// Whose record.
        keyring: KeyringName,
        /// The rule.
        rule: Invalid,
    },
    /// The files on disk cannot be used, so nothing was written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Writing failed; the old or the new record is in force. The next compare-and-set or refresh finds out which.
    #[error("the record was not written: {0}")]
    Disk(#[from] disk::Error),
    /// The file differs from what was written.
    #[error("{} reads back differently from what was written", .0.display())]
    ReadBack(PathBuf),
    /// It could not be encoded as JSON.
    #[error("the record could not be encoded ({0}): this is a defect, please report it")]
    Encode(#[from] serde_json::Error),
}

/// Why a key version's secret could not be unwrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such version.
    #[error("keyring {0} has no version {1}")]
    Unknown(KeyringName, u32),
    /// Its secret is gone.
    #[error("version {1} of keyring {0} is destroyed")]
    Destroyed(KeyringName, u32),
    /// The custodian did not unwrap it.
    #[error("version {number} of keyring {keyring}: {source}")]
    Unwrap {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
        /// Wrong KEK, or damage.
        source: UnwrapFailed,
    },
    /// The unwrapped secret does not fit the record's commitment.
    #[error("version {1} of keyring {0} unwraps to a secret that its record does not commit to")]
    Commitment(KeyringName, u32),
}

/// Why a key version was not made, or its state not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The record was not set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// No randomness for a new secret.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The custodian did not wrap the new secret.
    #[error("cannot wrap the new key version: {0}")]
    Wrap(#[from] WrapFailed),
    /// The custodian did not unwrap what it had wrapped.
    #[error("the custodian does not unwrap what it has just wrapped: {0}")]
    Unwrap(#[from] UnwrapFailed),
    /// The custodian unwraps another secret than the one that it was given to wrap.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No such version.
    #[error("keyring {0} has no version {1}")]
    Unknown(KeyringName, u32),
    /// It cannot be activated from its state.
    #[error("version {number} of keyring {keyring} is {state}, so it cannot be activated")]
    NotReady {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
        /// Its state.
        state: State,
    },
    /// All version numbers are used.
    #[error("keyring {0} has used up its version numbers")]
    NoNumber(KeyringName),
    /// The wall clock is beyond the year 9999.
    #[error("the system's clock is beyond the year 9999")]
    Clock,
}

impl LoadError {
    /// Whether files were rolled back, exchanged or removed.
    #[must_use]
    pub const fn is_rollback(&self) -> bool {
        matches!(
            self,
            Self::RolledBack { .. }
                | Self::Exchanged(..)
                | Self::MissingRecord(..)
                | Self::MissingSeen(_)
        )
    }
}

faults! { LoadError {
    Self::Disk(error) => error.fault(),
    Self::Unwrap { source, .. } => source.fault(),
    Self::NotInitialised(_) => Fault::operator("create one with `keyway init`"),
    Self::NoSigningKey(_) | Self::Damaged(..) | Self::MissingRecord(..) | Self::MissingSeen(_) => Fault::operator("restore it from a backup"),
    Self::Signature(_) => Fault::operator("restore it from a backup, and find out who can write there"),
    Self::OtherCatalogue { .. } => Fault::operator("put back the one that belongs here"),
    Self::Newer(..) => Fault::operator("upgrade keyway"),
    Self::RolledBack { .. } => Fault::operator("put the newest copy back (an old one may lack keys, and lists retired ones as active)"),
    Self::Exchanged(..) => Fault::operator("put the newest copy back, and find out who can write there"),
    Self::Invalid(..) => Fault::operator("restore it from a backup and report this"),
} }

faults! { CreateError {
    Self::Load(e) => e.fault(),
    Self::Key(e) => e.fault(),
} }

faults! { SetError {
    Self::Load(e) => e.fault(),
    Self::Disk(e) => e.fault(),
    Self::ReadBack(_) => Fault::operator("check the disk"),
    Self::Conflict { .. } => Fault::operator_later("read it again and decide anew"),
    Self::Refused { .. } | Self::Encode(_) => Fault::DEFECT,
} }

faults! { KeyError {
    Self::Unwrap { source, .. } => source.fault(),
    Self::Unknown(..) => Fault::operator("`keyway keys` lists those that there are"),
    Self::Destroyed(..) => Fault::operator("nothing sealed under it can be opened"),
    Self::Commitment(..) => Fault::operator("it is not used; restore the record from a backup"),
} }

impl RotateError {
    /// Whether the disk had no space for it.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Set(SetError::Disk(disk::Error::Full { .. })))
    }

    /// Whether the write may have taken effect although it failed.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        matches!(
            self,
            Self::Set(SetError::Disk(_) | SetError::ReadBack { .. })
        )
    }
}

faults! { RotateError {
    Self::Set(error) => error.fault(),
    Self::Key(error) => error.fault(),
    Self::Wrap(error) => error.fault(),
    Self::Unwrap(error) => error.fault(),
    Self::NoEntropy(error) => error.fault(),
    Self::Unknown(..) => Fault::operator("`keyway keys` lists those that there are"),
    Self::NotReady { .. } => Fault::operator("rotate to a new version"),
    Self::NoNumber(_) => Fault::operator("start a new keyring"),
    Self::Clock => Fault::operator("set it"),
} }
