//! What rotation is configured with.

use std::sync::Arc;

use crate::audit::{self, Settings};
use crate::catalogue::{Records, View};
use crate::fleet::Fleet;
use crate::policy::Policy;
use crate::retention::Inspector;

use super::drain::DrainLink;
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

/// The stores and connections that rotation owns.
pub struct Stores {
    /// The key versions, as they were read.
    pub view: View,
    /// Their writer.
    pub records: Box<dyn Records>,
    /// The audit log.
    pub audit: audit::Log,
    /// Who is asked what is stored.
    pub inspector: Box<dyn Inspector>,
    /// The gateways that share the key versions.
    pub fleet: Box<dyn Fleet>,
    /// Links to processes that drain after a take-over.
    pub drainers: Vec<DrainLink>,
    /// Which kind of process this is.
    pub user: ProcessKind,
}
