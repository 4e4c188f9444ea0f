//! Errors of starting rotation and of orders.

use std::fmt::Display;
use std::io;

use crate::audit::WriteFailed;
use crate::catalogue::KeyError;
use crate::fault::{Failure, Fault, faults};
use crate::policy::KeyringName;

use super::engine::Refused;

/// Rotation could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A keyring has no active version and none could be made.
    #[error("keyring `{keyring}` has no active key version and none can be made: {source}")]
    NoActiveVersion {
        /// The keyring.
        keyring: KeyringName,
        /// Why not.
        #[source]
        source: Failure,
    },
    /// A version that has to open could not be unwrapped.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration weakens protection, which cannot be written to the audit log.
    #[error(
        "the configuration protects less than the one that was in force last, and that cannot be written down: {0}"
    )]
    Unwritten(WriteFailed),
    /// The driver's thread could not be started.
    #[error("cannot start the rotation thread: {0}")]
    Thread(io::Error),
}

/// An order was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// There is no such keyring in the configuration.
    #[error("there is no keyring `{asked}`")]
    UnknownKeyring {
        /// The name given.
        asked: String,
        /// The names that exist.
        known: String,
    },
    /// The keyring has no version of that number or label.
    #[error("keyring `{keyring}` has no version `{asked}`")]
    UnknownVersion {
        /// The keyring.
        keyring: String,
        /// The name given.
        asked: String,
        /// The names that exist.
        known: String,
    },
    /// No version is named, and none is active.
    #[error("keyring `{0}` has no active version")]
    NoneActive(String),
    /// Not possible in the present state.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Stored messages may need the version: the evidence.
    #[error(transparent)]
    Held(Failure),
    /// It was tried and failed.
    #[error(transparent)]
    Failed(Failure),
    /// Nothing is sealed under the version any more; the record is still to be written.
    #[error(
        "nothing is sealed under {version} any more, but that could not be written down: {failure}"
    )]
    Halted {
        /// The version.
        version: String,
        /// Why not.
        failure: Failure,
        /// What a restart before that does.
        restart: &'static str,
    },
    /// The rotation was aborted meanwhile.
    #[error("the rotation was aborted before the new version was active")]
    Aborted,
    /// Still under way; it goes on by itself.
    #[error(
        "it is under way: not every member of the fleet has proven yet that it holds the new version"
    )]
    UnderWay,
    /// A reload would remove a keyring, or change the order.
    #[error(
        "the running gateway has the keyrings {0}, in this order, and the new configuration leaves some out"
    )]
    Places(String),
    /// The driver has ended: the gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

impl OrderError {
    /// Of a keyring that is none of `known`.
    pub fn unknown_keyring(asked: &str, known: impl Iterator<Item = impl Display>) -> Self {
        let known = known.map(|name| format!("`{name}`"));
        Self::UnknownKeyring {
            asked: asked.to_owned(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether the order was refused before anything was tried.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::UnknownKeyring { .. }
            | Self::UnknownVersion { .. }
            | Self::NoneActive(_)
            | Self::Refused(_)
            | Self::Held(_)
            | Self::Places(_) => true,
            Self::Failed(_)
            | Self::Halted { .. }
            | Self::Aborted
            | Self::UnderWay
            | Self::Stopping => false,
        }
    }
}

faults! { StartError {
    Self::NoActiveVersion { source, .. } => source.fault(),
    Self::Key(error) => error.fault(),
    Self::Unwritten(error) => error.fault().and("put the configuration back, or the audit log in order"),
    Self::Thread(_) => Fault::no_thread(),
} }

faults! { OrderError {
    Self::UnknownKeyring { known, .. } => Fault::operator(format!("the configuration has {known}")),
    Self::UnknownVersion { known, .. } => Fault::client(format!("it has {known}")),
    Self::NoneActive(_) => Fault::client("name the version that is meant"),
    Self::Refused(refused) => refused.fault(),
    Self::Held(evidence) => evidence.fault().and("consume or purge what is stored, wait until it expires, or force it with a reason"),
    Self::Failed(failure) => failure.fault(),
    Self::Halted { failure, restart, .. } => failure.fault().and(&format!(
        "it is tried again until it can be: until then the version opens as before, and a restart {restart}"
    )),
    Self::Aborted => Fault::operator_later("ask for another"),
    Self::UnderWay => Fault::operator_later("`keyway status` shows how far it is"),
    Self::Places(_) => Fault::operator("restart the gateway to take a keyring away"),
    Self::Stopping => Fault::operator_later("ask again once a gateway runs"),
} }
