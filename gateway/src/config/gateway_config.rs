//! The values of a checked configuration.

use std::path::PathBuf;

use super::restart_values::RestartValues;
use super::words::LogFormat;
pub use crate::admin::AdminConfig as Admin;
use crate::custody::Custody;
use crate::dataplane;
use crate::policy::{KeyringName, Policy};
use crate::retention;
pub use crate::rotation::{DestroyApproval, Limit, OpenPolicy, Retain, Rotate, Terms};

/// A gateway's configuration, checked.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Listeners, servers, and the limits of the message path.
    pub dataplane: dataplane::Config,
    /// Where the catalogue and, unless custody says otherwise, the KEK are kept. Absolute, or relative to the working directory.
    pub state: PathBuf,
    /// Whether memory is locked; `None`: where the limit of locked memory is infinite.
    pub lock_memory: Option<bool>,
    /// Section `[admin]`.
    pub admin: Admin,
    /// Section `[log]`.
    pub log: Log,
    /// Section `[custody]`.
    pub custody: Custody,
    /// Section `[control]`; `None` without it.
    pub control: Option<retention::Config>,
    /// The file of the nkey seed that makes the gateway a trusted proxy; `None` without one.
    pub proxy_seed: Option<PathBuf>,
    /// Which subjects are sealed, compiled from the keyrings.
    pub policy: Policy,
    /// The keys of each keyring, in the order of [`Policy::keyrings`].
    pub keyrings: Vec<Keyring>,
    /// What a reload compares.
    pub restart_values: RestartValues,
}

/// Log format and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least important level that is logged.
    pub level: tracing::Level,
}

/// Key management of a keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// Its name.
    pub name: KeyringName,
    /// Suite, rotation, limits, retention and destruction of its versions.
    pub terms: Terms,
}
