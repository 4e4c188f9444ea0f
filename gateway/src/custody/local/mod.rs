//! A KEK in the state directory: the file `kek`, or a passphrase with its parameters in `kek.json`.

mod argon;
mod error;
mod kek;
mod kek_file;
#[cfg(test)]
mod tests;

pub use error::{InitError, KeyDerivationFailed, OpenError};
use kek::Kek;

use std::path::Path;

use super::{PASSPHRASE_MIN_LEN, Passphrase};
use crate::disk::names::{
    AUDIT_KEY, CATALOGUE_KEY, KEK, KEK_PARAMETERS, NEW_CATALOGUE_KEY, RECORDS,
};
use crate::disk::{self, AllowedOwner, Files, Lock, Real, StateDir, read_secret_file};
use crate::secret::{Secret, on_wiped_thread};

/// Files wrapped under a KEK: where one exists, a new KEK would be the wrong one.
const WRAPPED_ALREADY: [&str; 4] = [CATALOGUE_KEY, NEW_CATALOGUE_KEY, RECORDS, AUDIT_KEY];

/// Creates the KEK: random in a file, or from a passphrase. Never replaces one, and never adds one where keys are wrapped
/// already.
///
/// # Errors
/// [`InitError`].
pub(super) fn init(lock: &Lock, passphrase: Option<&Passphrase>) -> Result<Kek, InitError> {
    init_on(&Real, lock.dir(), passphrase)
}

/// Opens the KEK that [`init`] created, of the kind that the directory holds.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open(dir: &StateDir, passphrase: Option<&Passphrase>) -> Result<Kek, OpenError> {
    let (file, parameters) = (dir.join(KEK), dir.join(KEK_PARAMETERS));
    match (read(&file)?, read(&parameters)?) {
        (Some(_), Some(_)) => Err(OpenError::Both { file, parameters }),
        (None, None) => Err(OpenError::Missing(dir.path().to_owned())),
        (Some(text), None) if passphrase.is_none() => on_wiped_thread(|| {
            kek_file::parse(&file, &text).and_then(|secret| Ok(Kek::new(&secret, "file", &file)?))
        }),
        (Some(_), None) => Err(OpenError::PassphraseUnneeded(file)),
        (None, Some(json)) => {
            let passphrase =
                passphrase.ok_or_else(|| OpenError::PassphraseNeeded(parameters.clone()))?;
            on_wiped_thread(|| argon::open(&parameters, &json, passphrase))
        }
    }
}

/// Whether the directory holds a KEK of either kind.
#[must_use]
pub(super) fn exists(dir: &StateDir) -> bool {
    present(dir, KEK) || present(dir, KEK_PARAMETERS)
}

fn init_on(
    files: &dyn Files,
    dir: &StateDir,
    passphrase: Option<&Passphrase>,
) -> Result<Kek, InitError> {
    if let Some(name) = [KEK, KEK_PARAMETERS].into_iter().find(|n| present(dir, n)) {
        return Err(disk::Error::Exists(dir.join(name)).into());
    }
    if let Some(name) = WRAPPED_ALREADY.into_iter().find(|n| present(dir, n)) {
        return Err(InitError::KeysWithoutKek(dir.join(name)));
    }
    match passphrase {
        None => {
            let (secret, path) = (Secret::random()?, dir.join(KEK));
            let line = on_wiped_thread(|| kek_file::write(&secret));
            disk::create(files, &path, line.as_bytes())?;
            Ok(on_wiped_thread(|| Kek::new(&secret, "file", &path))?)
        }
        Some(passphrase) if passphrase.expose().len() < PASSPHRASE_MIN_LEN => {
            Err(InitError::ShortPassphrase)
        }
        Some(passphrase) => {
            let path = dir.join(KEK_PARAMETERS);
            let (kek, json) = on_wiped_thread(|| argon::create(&path, passphrase))?;
            disk::create(files, &path, json.as_bytes())?;
            Ok(kek)
        }
    }
}

fn present(dir: &StateDir, name: &str) -> bool {
    std::fs::symlink_metadata(dir.join(name)).is_ok()
}

fn read(path: &Path) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, OpenError> {
    match read_secret_file(path, AllowedOwner::Us) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.into()),
    }
}
