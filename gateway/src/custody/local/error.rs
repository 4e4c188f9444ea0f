//! Why a local KEK could not be created or opened.

use std::path::PathBuf;

use crate::custody::PASSPHRASE_MIN_LEN;
use crate::disk;
use crate::fault::{Fault, Faulty, faults};
use crate::secret::NoEntropy;

/// Why no KEK was created. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The disk refused, or a KEK is there already.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// There are keys that another KEK wrapped.
    #[error("{} is wrapped under a key-encryption key that is not here, and a new one could not open it", .0.display())]
    KeysWithoutKek(PathBuf),
    /// The passphrase is too short.
    #[error("the passphrase has fewer than {PASSPHRASE_MIN_LEN} bytes")]
    ShortPassphrase,
    /// No randomness.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The key derivation failed.
    #[error(transparent)]
    Derivation(#[from] KeyDerivationFailed),
}

/// Why the KEK could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No KEK of either kind.
    #[error("{} holds no key-encryption key (neither `kek` nor `kek.json`)", .0.display())]
    Missing(PathBuf),
    /// A KEK of each kind.
    #[error("both {} and {} exist", file.display(), parameters.display())]
    Both {
        /// The KEK file.
        file: PathBuf,
        /// The passphrase's parameters.
        parameters: PathBuf,
    },
    /// The file cannot be used.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The content is not as keyway writes it.
    #[error("{} is damaged: {what}", .0.display(), what = .1)]
    Damaged(PathBuf, String),
    /// Written by a later version.
    #[error("{} has format {found}, this keyway reads up to 1", .0.display(), found = .1)]
    Newer(PathBuf, u64),
    /// No passphrase was given.
    #[error("{} asks for a passphrase", .0.display())]
    PassphraseNeeded(PathBuf),
    /// A passphrase was given, but the KEK is in a file.
    #[error("a passphrase was given, but the key-encryption key is in the file {}", .0.display())]
    PassphraseUnneeded(PathBuf),
    /// The parameters are intact, but belong to another passphrase.
    #[error("wrong passphrase for {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// The key derivation failed.
    #[error(transparent)]
    Derivation(#[from] KeyDerivationFailed),
}

/// The key derivation function refused its parameters, or found no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key-encryption key could not be derived")]
pub struct KeyDerivationFailed;

faults! { InitError {
    Self::Disk(error) => error.fault(),
    Self::KeysWithoutKek(_) => Fault::operator("restore `kek` (or `kek.json`) from a backup, or choose another state directory"),
    Self::ShortPassphrase => Fault::operator("choose a longer one"),
    Self::NoEntropy(error) => error.fault(),
    Self::Derivation(error) => error.fault(),
} }

faults! { OpenError {
    Self::Missing(_) => Fault::custodian("if it is new, run `keyway init`; otherwise restore that file from a backup"),
    Self::Both { .. } => Fault::operator("keep the one that belongs to this state directory and move the other away"),
    Self::Disk(error) => error.fault(),
    Self::Damaged(..) => Fault::operator("restore it from a backup"),
    Self::Newer(..) => Fault::operator("upgrade keyway"),
    Self::PassphraseNeeded(_) => Fault::operator("give it with --passphrase-file or --passphrase-fd"),
    Self::PassphraseUnneeded(_) => Fault::operator("leave the passphrase out"),
    Self::WrongPassphrase(_) => Fault::custodian("give the one that it was made with: there is no other way in, and nothing was changed"),
    Self::Derivation(error) => error.fault(),
} }

impl Faulty for KeyDerivationFailed {
    fn fault(&self) -> Fault {
        Fault::operator_later("is there enough free memory for Argon2id (64 MiB)?")
    }
}
