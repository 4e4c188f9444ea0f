//! Why the catalogue could not be read, written or used: a variant per remedy.

use std::path::PathBuf;

use super::{Invalid, State};
use crate::custody::{SigningKeyNotMade, UnwrapFailed, WrapFailed};
use crate::disk;
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::policy::KeyringName;
use crate::secret::NoEntropy;

/// Why what is on disk is not believed. Nothing was overwritten; what was loaded before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file or directory cannot be used.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// There is no catalogue.
    #[error("{} holds no catalogue; create one with `keyway init`", dir.display())]
    NotInitialised {
        /// The state directory.
        dir: PathBuf,
    },
    /// Records without the key that signs them.
    #[error("{} is missing, but there are records that it signed; restore it from a backup", path.display())]
    NoSigningKey {
        /// Where it belongs.
        path: PathBuf,
    },
    /// The signing key cannot be unwrapped.
    #[error("cannot unwrap the catalogue's signing key in {}: {source}", path.display())]
    Unwrap {
        /// The signing key's file.
        path: PathBuf,
        /// Wrong KEK, or damage.
        source: UnwrapFailed,
    },
    /// Not what keyway wrote.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Well-formed, but not what was signed.
    #[error("the signature of {} does not fit its content: it was altered, or damaged; restore it from a backup, and find out who can write there", path.display())]
    Signature {
        /// The file.
        path: PathBuf,
    },
    /// Signed by the catalogue of another state directory.
    #[error("{} was signed by the catalogue {found}, this one is {ours}: it belongs to another state directory; put back the one that belongs here", path.display())]
    OtherCatalogue {
        /// The file.
        path: PathBuf,
        /// Who signed it.
        found: String,
        /// Whom we trust.
        ours: String,
    },
    /// Written by a later version.
    #[error("{} has format {found}, this keyway reads up to {}: upgrade keyway", path.display(), super::json::FORMAT)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// An older copy was put back.
    #[error("{} was rolled back: it has epoch {found}, but epoch {seen} was seen before; put the newest copy back (an old one may lack keys, and lists retired ones as active)", path.display())]
    RolledBack {
        /// The record.
        path: PathBuf,
        /// Its epoch.
        found: u64,
        /// The highest epoch seen.
        seen: u64,
    },
    /// A record of the same epoch as one before, with other content.
    #[error("{} was exchanged: it has epoch {epoch}, but is not the record of that epoch that was seen before; put the newest copy back, and find out who can write there", path.display())]
    Exchanged {
        /// The record.
        path: PathBuf,
        /// Its epoch.
        epoch: u64,
    },
    /// A record that was there is not.
    #[error("{} is missing, but epoch {seen} of it was seen before; restore it from a backup", path.display())]
    MissingRecord {
        /// Where it belongs.
        path: PathBuf,
        /// The highest epoch seen.
        seen: u64,
    },
    /// The memory of epochs is gone.
    #[error("{} is missing, so an old copy of the records could not be noticed; restore it from a backup", path.display())]
    MissingSeen {
        /// Where it belongs.
        path: PathBuf,
    },
    /// Signed by us, and still against the rules.
    #[error("{} breaks a rule: {rule}; restore it from a backup and report this", path.display())]
    Invalid {
        /// The record.
        path: PathBuf,
        /// The rule.
        rule: Invalid,
    },
}

/// Why no catalogue was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The disk refused, or something unusable is there.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is no signing key.
    #[error("cannot make the catalogue's signing key: {0}")]
    Key(#[from] SigningKeyNotMade),
}

/// Why a record was not set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// Somebody set it meanwhile; look at the record again.
    #[error(
        "the record of keyring {keyring} has epoch {found}, not {expected}; read it again and decide anew"
    )]
    Conflict {
        /// Whose record.
        keyring: KeyringName,
        /// What the caller had read.
        expected: u64,
        /// What is there.
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
    /// A new or rewrapped secret in it is not what its commitment says.
    #[error("the new record of keyring {keyring} is refused: {source}")]
    Secret {
        /// Whose record.
        keyring: KeyringName,
        /// Why.
        source: KeyError,
    },
    /// What is on disk cannot be believed, so nothing was written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Writing failed. The old record is in force, or the new one: the next compare-and-set or refresh finds out which.
    #[error("the record was not written: {0}")]
    Disk(#[from] disk::Error),
    /// Other bytes came back than were written.
    #[error("{} reads back differently from what was written; check the disk", path.display())]
    ReadBack {
        /// The record.
        path: PathBuf,
    },
    /// It could not be put into words.
    #[error("the record could not be encoded ({0}): this is a defect, please report it")]
    Encode(#[from] serde_json::Error),
}

/// Why a key version's secret could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such version.
    #[error("keyring {keyring} has no version {number}")]
    Unknown {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
    },
    /// Its secret is gone.
    #[error(
        "version {number} of keyring {keyring} is destroyed; nothing sealed under it can be opened"
    )]
    Destroyed {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
    },
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
    /// It unwrapped to another secret than the record commits to.
    #[error(
        "version {number} of keyring {keyring} unwraps to a secret that its record does not commit to; it is not used; restore the record from a backup"
    )]
    Commitment {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
    },
}

/// Why a key version was not made or did not change its state.
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
    /// No such version.
    #[error("keyring {keyring} has no version {number}")]
    Unknown {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
    },
    /// It cannot be activated from where it is.
    #[error(
        "version {number} of keyring {keyring} is {state}, so it cannot be activated; rotate to a new version"
    )]
    NotReady {
        /// Which keyring.
        keyring: KeyringName,
        /// Which version.
        number: u32,
        /// Its state.
        state: State,
    },
    /// Four thousand million versions.
    #[error("keyring {0} has used up its version numbers; start a new keyring")]
    NoNumber(KeyringName),
    /// The wall clock shows a year that no calendar has.
    #[error("the system's clock is beyond the year 9999; set it")]
    Clock,
}

impl LoadError {
    /// Whether something newer was there before: somebody has put an older state back, or taken a part of it away.
    #[must_use]
    pub const fn is_rollback(&self) -> bool {
        matches!(
            self,
            Self::RolledBack { .. }
                | Self::Exchanged { .. }
                | Self::MissingRecord { .. }
                | Self::MissingSeen { .. }
        )
    }
}

impl Faulty for LoadError {
    fn fault(&self) -> Fault {
        match self {
            Self::Disk(e) => e.fault(),
            Self::Unwrap { source, .. } => source.fault(),
            Self::NotInitialised { .. }
            | Self::NoSigningKey { .. }
            | Self::Damaged { .. }
            | Self::Signature { .. }
            | Self::OtherCatalogue { .. }
            | Self::Newer { .. }
            | Self::RolledBack { .. }
            | Self::Exchanged { .. }
            | Self::MissingRecord { .. }
            | Self::MissingSeen { .. }
            | Self::Invalid { .. } => OPERATOR,
        }
    }
}

impl Faulty for CreateError {
    fn fault(&self) -> Fault {
        match self {
            Self::Load(e) => e.fault(),
            Self::Key(e) => e.fault(),
        }
    }
}

impl Faulty for SetError {
    fn fault(&self) -> Fault {
        match self {
            Self::Load(e) => e.fault(),
            Self::Disk(e) => e.fault(),
            Self::Secret { source, .. } => source.fault(),
            Self::ReadBack { .. } => OPERATOR,
            Self::Conflict { .. } => LATER,
            Self::Refused { .. } | Self::Encode(_) => DEFECT,
        }
    }
}

impl Faulty for KeyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unwrap { source, .. } => source.fault(),
            Self::Unknown { .. } | Self::Destroyed { .. } | Self::Commitment { .. } => OPERATOR,
        }
    }
}

impl RotateError {
    /// Whether the disk had no space for it.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Set(SetError::Disk(disk::Error::Full { .. })))
    }

    /// Whether what was to be written may have taken effect all the same.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        matches!(
            self,
            Self::Set(SetError::Disk(_) | SetError::ReadBack { .. })
        )
    }
}

impl Faulty for RotateError {
    fn fault(&self) -> Fault {
        match self {
            Self::Set(e) => e.fault(),
            Self::Wrap(e) => e.fault(),
            Self::Unwrap(e) => e.fault(),
            Self::NoEntropy(_) => LATER,
            Self::Unknown { .. } | Self::NotReady { .. } | Self::NoNumber(_) | Self::Clock => {
                OPERATOR
            }
        }
    }
}

const OPERATOR: Fault = Fault {
    who: Who::Operator,
    retry: Retry::Never,
};
const LATER: Fault = Fault {
    who: Who::Operator,
    retry: Retry::Later,
};
const DEFECT: Fault = Fault {
    who: Who::Us,
    retry: Retry::Never,
};
