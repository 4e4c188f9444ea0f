//! The state directory: opened, or made when there is none.

use std::path::Path;
use std::sync::Arc;

use crate::catalogue::{Catalogue, CreateError, LoadError};
use crate::config::Custody;
use crate::custody::{self, Custodian, Passphrase, PassphraseError};
use crate::disk::{self, Lock, StateDir};
use crate::fault::{Fault, Faulty};

/// Why the state directory cannot be used. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory itself, or its lock.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// A new KEK.
    #[error(transparent)]
    Init(#[from] custody::local::InitError),
    /// The KEK that is there.
    #[error(transparent)]
    Kek(#[from] custody::local::OpenError),
    /// A new catalogue.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The catalogue that is there.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Faulty for OpenError {
    fn fault(&self) -> Fault {
        match self {
            Self::Disk(error) => error.fault(),
            Self::Passphrase(error) => error.fault(),
            Self::Init(error) => error.fault(),
            Self::Kek(error) => error.fault(),
            Self::Create(error) => error.fault(),
            Self::Load(error) => error.fault(),
        }
    }
}

/// Takes the lock and opens KEK and catalogue; in an empty directory, makes both first.
///
/// # Errors
/// [`OpenError`].
pub fn open(state: &Path, custody: &Custody) -> Result<Catalogue, OpenError> {
    let lock = Lock::take(StateDir::create(state)?)?;
    let passphrase = passphrase(custody)?;
    let custodian: Arc<dyn Custodian> = Arc::new(if custody::local::exists(lock.dir()) {
        custody::local::open(lock.dir(), passphrase.as_ref())?
    } else {
        tracing::info!(state = %state.display(), "making a new key-encryption key");
        custody::local::init(&lock, passphrase.as_ref())?
    });
    if Catalogue::exists(lock.dir()) {
        Ok(Catalogue::open(lock, custodian)?)
    } else {
        Ok(Catalogue::create(lock, custodian)?)
    }
}

fn passphrase(custody: &Custody) -> Result<Option<Passphrase>, PassphraseError> {
    match custody {
        Custody::File => Ok(None),
        Custody::Passphrase(source) => source.read().map(Some),
    }
}
