//! Errors of starting rotation and of orders.

use std::fmt::Display;
use std::io;

use crate::audit::WriteFailed;
use crate::catalogue::KeyError;
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::policy::KeyringName;

use super::engine::{Failure, Refused};

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
        "the configuration protects less than the one that was in force last, and that cannot be written down: {0}; put the configuration back, or the audit log in order"
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
    #[error("there is no keyring `{asked}`; the configuration has {known}")]
    UnknownKeyring {
        /// The name given.
        asked: String,
        /// The names that exist.
        known: String,
    },
    /// The keyring has no version of that number or label.
    #[error("keyring `{keyring}` has no version `{asked}`; it has {known}")]
    UnknownVersion {
        /// The keyring.
        keyring: String,
        /// The name given.
        asked: String,
        /// The names that exist.
        known: String,
    },
    /// No version is named, and none is active.
    #[error("keyring `{0}` has no active version; name the version that is meant")]
    NoneActive(String),
    /// Not possible in the present state.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Stored messages may need the version: the evidence.
    #[error(
        "{0}; consume or purge what is stored, wait until it expires, or force it with a reason"
    )]
    Held(String),
    /// It was tried and failed.
    #[error(transparent)]
    Failed(Failure),
    /// Nothing is sealed under the version any more; the record is still to be written.
    #[error(
        "nothing is sealed under {version} any more, but that could not be written down: {failure}; it is tried again until it can be: until then the version opens as before, and a restart {restart}"
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
    #[error("the rotation was aborted before the new version was active; ask for another")]
    Aborted,
    /// Still under way; it goes on by itself.
    #[error(
        "it is under way: not every member of the fleet has proven yet that it holds the new version; `keyway status` shows how far it is"
    )]
    UnderWay,
    /// A reload would remove a keyring, or change the order.
    #[error(
        "the running gateway has the keyrings {0}, in this order, and the new configuration leaves some out; restart the gateway to take a keyring away"
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

impl Faulty for StartError {
    fn fault(&self) -> Fault {
        match self {
            Self::NoActiveVersion { source, .. } => source.fault,
            Self::Key(error) => error.fault(),
            Self::Unwritten(error) => error.fault(),
            Self::Thread(_) => Fault {
                who: Who::Operator,
                retry: Retry::Later,
            },
        }
    }
}

impl Faulty for OrderError {
    fn fault(&self) -> Fault {
        let fault = |who, retry| Fault { who, retry };
        match self {
            Self::UnknownKeyring { .. } | Self::Places(_) => fault(Who::Operator, Retry::Never),
            Self::UnknownVersion { .. } | Self::NoneActive(_) => fault(Who::Client, Retry::Never),
            Self::Refused(refused) => refused.fault(),
            Self::Held(_) => fault(Who::Operator, Retry::Never),
            Self::Failed(failure) | Self::Halted { failure, .. } => failure.fault,
            Self::Aborted | Self::UnderWay | Self::Stopping => fault(Who::Operator, Retry::Later),
        }
    }
}
