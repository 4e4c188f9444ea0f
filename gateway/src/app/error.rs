//! Why a gateway did not start.

use super::process::NotLocked;
use super::state::OpenError;
use crate::admin;
use crate::dataplane;
use crate::disk;
use crate::envelope::SelfTestFailed;
use crate::fault::{Fault, faults};
use crate::proxy::KeyError;
use crate::rotation;
use crate::tls;

/// Why a gateway did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The ciphers do not compute what they must; nothing may be sealed with them.
    #[error("the self-test failed: {0}")]
    SelfTest(#[from] SelfTestFailed),
    /// Memory was to be locked, and cannot be.
    #[error(transparent)]
    NotLocked(#[from] NotLocked),
    /// A certificate or key of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The state directory, the KEK or the catalogue cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// Rotation could not be started: there is no key to seal under.
    #[error(transparent)]
    Rotation(#[from] rotation::StartError),
    /// The message path could not be started.
    #[error(transparent)]
    Dataplane(#[from] dataplane::StartError),
    /// The nkey seed that makes the gateway a trusted proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] KeyError),
    /// The HTTP server of administration could not be started.
    #[error(transparent)]
    Admin(#[from] admin::StartError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Ports(#[from] disk::Error),
}

faults! { StartError {
    Self::SelfTest(_) => Fault::defect("this build or this machine must not be used"),
    Self::NotLocked(error) => error.fault(),
    Self::Tls(error) => error.fault(),
    Self::State(error) => error.fault(),
    Self::Rotation(error) => error.fault(),
    Self::Dataplane(error) => error.fault(),
    Self::Proxy(error) => error.fault(),
    Self::Admin(error) => error.fault(),
    Self::Ports(error) => error.fault(),
} }
