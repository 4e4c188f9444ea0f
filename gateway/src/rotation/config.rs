//! What rotation is configured with.

use std::sync::Arc;

use crate::audit::Settings;
use crate::policy::Policy;

use super::reason::Reason;
use super::terms::Terms;

/// The configuration of rotation, at start and at each reload.
pub struct RotationConfig {
    /// Which subjects each keyring serves.
    pub policy: Arc<Policy>,
    /// The terms of each keyring, in the order of [`Policy::keyrings`].
    pub terms: Vec<Terms>,
    /// How many workers will seal: each has a counter of its own. Does not change later.
    pub workers: usize,
    /// The settings that the audit log records.
    pub settings: Settings,
}

/// A configuration that was read again.
pub struct Reload {
    /// What changed, in words.
    pub what: String,
    /// The reason, for the audit log.
    pub reason: Reason,
}

/// Which kind of process uses the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessKind {
    /// A gateway: the audit log records its start and stop.
    Gateway,
    /// A command while no gateway runs.
    Command,
}
