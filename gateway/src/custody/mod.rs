//! The custodians that there are, and which of them a configuration names.
//!
//! `local` keeps the KEK in the state directory, or derives it from a passphrase. Another one is a folder beside it, a variant of
//! [`Custody`], and how [`Opener`] opens that: nothing outside this module names an implementation.

mod local;
mod passphrase;

pub use local::{InitError, KeyDerivationFailed, OpenError};
pub use passphrase::{Passphrase, PassphraseError, PassphraseSource};

use std::sync::Arc;

use passphrase::MIN_LEN as PASSPHRASE_MIN_LEN;

use crate::custodian::Custodian;
use crate::disk::{Lock, StateDir};
use crate::fault::{Fault, Faulty};

/// Who guards the key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Custody {
    /// A file in the state directory.
    File,
    /// Derived from a passphrase.
    Passphrase(PassphraseSource),
}

/// What opens a custodian: whatever it takes has been read.
pub struct Opener(Option<Passphrase>);

/// Why a custodian cannot be opened or created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// A new KEK.
    #[error(transparent)]
    Create(#[from] InitError),
    /// The KEK that is there.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Custody {
    /// Reads what the custodian takes to be opened.
    ///
    /// # Errors
    /// [`Error::Passphrase`].
    pub fn opener(&self) -> Result<Opener, Error> {
        Ok(Opener(match self {
            Self::File => None,
            Self::Passphrase(source) => Some(source.read()?),
        }))
    }
}

impl Opener {
    /// Whether a state directory has a KEK already.
    #[must_use]
    pub fn is_begun(dir: &StateDir) -> bool {
        local::exists(dir)
    }

    /// Opens the custodian of a state directory.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(&self, dir: &StateDir) -> Result<Arc<dyn Custodian>, Error> {
        Ok(Arc::new(local::open(dir, self.0.as_ref())?))
    }

    /// The same, where there is none yet after its creation.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_or_create(&self, lock: &Lock) -> Result<Arc<dyn Custodian>, Error> {
        if Self::is_begun(lock.dir()) {
            return self.open(lock.dir());
        }
        tracing::info!(state = %lock.dir().path().display(), "making a new key-encryption key");
        Ok(Arc::new(local::init(lock, self.0.as_ref())?))
    }
}

impl Faulty for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Passphrase(error) => error.fault(),
            Self::Create(error) => error.fault(),
            Self::Open(error) => error.fault(),
        }
    }
}
