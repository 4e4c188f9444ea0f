//! Errors in TLS files: the file, the mistake, the remedy.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::disk;
use crate::fault::{Fault, faults};

use super::certificate::date;
use super::settings::Role;

/// Why the files cannot be used; the configuration in use stays. Never quotes contents of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or others could read a key.
    #[error("`{role}`: {source}")]
    Unreadable {
        /// What it is for.
        role: Role,
        /// What the disk says.
        source: disk::Error,
    },
    /// It is not PEM, or broken.
    #[error("`{role}`: {} is not a PEM file: {why}", path.display())]
    NotPem {
        /// What it is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
        /// What would be right.
        help: &'static str,
    },
    /// It is PEM without the needed section.
    #[error("`{role}`: {} holds no {wanted}{found}", path.display())]
    Absent {
        /// What it is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// The sections in it, in words; may be empty.
        found: String,
    },
    /// A certificate in it cannot be read.
    #[error("`{role}`: the {what} number {number} in {} cannot be read: {why}", path.display())]
    Malformed {
        /// What the file is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// `certificate` or `revocation list`.
        what: &'static str,
        /// Which one in the file, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The key is of an unsupported kind.
    #[error("`{role}`: the key in {} cannot be used: {why}", path.display())]
    Key {
        /// What it is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Key and certificate do not match.
    #[error("`{role}`: the key in {} does not belong to the first certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// What the key is for.
        role: Role,
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A new certificate that is not valid now; an error at a reload only.
    #[error("`{role}`: the new certificate of {subject} in {} is not valid now: {}", path.display(), period(*not_before, *not_after))]
    OutOfDate {
        /// What it is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Whose certificate it is.
        subject: String,
        /// From when on it is valid.
        not_before: SystemTime,
        /// Until when.
        not_after: SystemTime,
    },
    /// The list is not signed by a trusted CA.
    #[error("`{role}`: the revocation list of {issuer} in {} is not to be believed: {why}", path.display())]
    Revocation {
        /// What it is for.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Who has made the list.
        issuer: String,
        /// What is wrong with it.
        why: &'static str,
        /// What would be right.
        help: &'static str,
    },
    /// There is no CA for servers.
    #[error("no CA is known that vouches for servers: {0}")]
    NoRoots(String),
    /// An unexpected error of rustls.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Error {
    /// The role of the file concerned, if there is one.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Unreadable { role, .. }
            | Self::NotPem { role, .. }
            | Self::Absent { role, .. }
            | Self::Malformed { role, .. }
            | Self::Key { role, .. }
            | Self::Mismatch { role, .. }
            | Self::OutOfDate { role, .. }
            | Self::Revocation { role, .. } => Some(*role),
            Self::NoRoots(_) => Some(Role::ServerCa),
            Self::Setup(_) => None,
        }
    }
}

faults! { Error {
    Self::Unreadable { source, .. } => source.fault(),
    Self::NotPem { help, .. } | Self::Revocation { help, .. } => Fault::operator(*help),
    Self::Absent { .. } => Fault::operator("name the PEM file that holds it"),
    Self::Malformed { .. } => Fault::operator("ask whoever issued it for a new one"),
    Self::Key { .. } => Fault::operator("use an ECDSA (P-256, P-384, P-521), Ed25519 or RSA key (2048 bits or more) without a passphrase"),
    Self::Mismatch { .. } => Fault::operator("name the key that the certificate was made for, and put that certificate first in its file"),
    Self::OutOfDate { .. } => Fault::operator("the old one stays in use, put a valid one there"),
    Self::NoRoots(_) => Fault::operator("set `ca` in [server-tls] to the PEM file of the CA that signs the servers' certificates"),
    Self::Setup(_) => Fault::defect("report this as a defect of keyway"),
} }

fn period(from: SystemTime, to: SystemTime) -> String {
    format!("it is valid from {} to {}", date(from), date(to))
}
