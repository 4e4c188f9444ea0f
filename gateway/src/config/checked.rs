//! What a configuration says once it has been checked: plain values, ready to use.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::admin::Config as Admin;
use crate::control;
use crate::custody::PassphraseSource;
use crate::dataplane;
use crate::envelope::Suite;
use crate::policy::{KeyringName, Policy};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Listeners, servers, and the limits of the message path.
    pub dataplane: dataplane::Config,
    /// Where the catalogue and, unless custody says otherwise, the KEK are kept. Absolute, or relative to the working directory.
    pub state: PathBuf,
    /// Section `[admin]`.
    pub admin: Admin,
    /// Section `[log]`.
    pub log: Log,
    /// Section `[custody]`.
    pub custody: Custody,
    /// Section `[control]`; `None` without it.
    pub control: Option<control::Config>,
    /// Which subjects are sealed, compiled from the keyrings.
    pub policy: Policy,
    /// The keys of each keyring, in the order of [`Policy::keyrings`].
    pub keyrings: Vec<Keyring>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least important level that is logged.
    pub level: tracing::Level,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object.
    Json,
}

/// Who guards the key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Custody {
    /// A file in the state directory.
    File,
    /// Derived from a passphrase.
    Passphrase(PassphraseSource),
}

/// The keys of a keyring: how they are made, and when they are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// Its name.
    pub name: KeyringName,
    /// What new key versions seal with.
    pub suite: Suite,
    /// When a version is replaced.
    pub rotate: Rotate,
    /// What a version may seal at most.
    pub limit: Limit,
    /// How long a replaced version still opens.
    pub overlap: Duration,
    /// What becomes of it afterwards.
    pub retain: Retain,
}

/// Soft thresholds: the first one reached starts a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// The cryptoperiod.
    pub after: Duration,
    /// Messages sealed.
    pub messages: u64,
    /// Bytes of payload sealed.
    pub bytes: u64,
}

/// Hard limits: never exceeded by one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Messages sealed.
    pub messages: u64,
    /// Bytes of payload sealed.
    pub bytes: u64,
}

/// What becomes of a key version after its overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    /// Destroyed once nothing stored can need it.
    Destroy,
    /// Never destroyed by itself.
    Archive,
    /// Destroyed at the end of the overlap, whatever is stored.
    Shred,
}
