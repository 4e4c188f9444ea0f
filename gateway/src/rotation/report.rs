//! What operators are told.

use std::time::Duration;

use jiff::Timestamp;

use crate::catalogue::State;
use crate::envelope::{Commitment, Kid, Suite, Used};
use crate::policy::KeyringName;

use super::engine::Outlook;
use super::terms::Terms;

/// A keyring, its versions, and what is to be expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringStatus {
    /// Its name.
    pub keyring: KeyringName,
    /// Its terms.
    pub terms: Terms,
    /// Its subjects.
    pub subjects: Vec<String>,
    /// Oldest first.
    pub versions: Vec<VersionStatus>,
    /// When the next rotation is due, what keeps it.
    pub outlook: Outlook,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionStatus {
    /// Its number in the keyring.
    pub number: u32,
    /// Its name for people.
    pub label: String,
    /// Its name in envelopes.
    pub kid: Kid,
    /// What only its secret produces.
    pub commitment: Commitment,
    /// The suite it seals with.
    pub suite: Suite,
    /// Where it is in its life.
    pub state: State,
    /// When it was drawn.
    pub created: Timestamp,
    /// When it entered its state.
    pub since: Timestamp,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// When it stopped sealing for good.
    pub deactivated: Option<Timestamp>,
    /// When its overlap ends, while it lasts.
    pub overlap_ends: Option<Timestamp>,
    /// What has been sealed under it: exact for this process, at most this much before it.
    pub used: Used,
    /// What may still be sealed under it.
    pub left: Used,
    /// What lanes hold of its budget and have not sealed yet.
    pub outstanding: Used,
    /// Lanes drawn under it.
    pub lanes: u64,
    /// What this process has opened; `None` when it is not loaded.
    pub opened: Option<Opened>,
    /// Why it is not destroyed yet, where that was asked.
    pub kept: Option<String>,
}

/// What this process has opened under a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Envelopes opened.
    pub messages: u64,
    /// Envelopes that named the version and did not open.
    pub failed: u64,
    /// How long ago the last one was opened, to the tick.
    pub ago: Option<Duration>,
}

/// What keeps a version alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The version.
    pub label: String,
    /// Where it is in its life.
    pub state: State,
    /// Each reason, in words.
    pub reasons: Vec<String>,
}

/// What may be known to whoever has a version's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a line of the report"
)]
pub struct Exposure {
    /// The keyring.
    pub keyring: KeyringName,
    /// The version.
    pub label: String,
    /// Its name in envelopes.
    pub kid: Kid,
    /// Where it is in its life.
    pub state: State,
    /// What it may have sealed.
    pub subjects: Vec<String>,
    /// When it began to seal.
    pub from: Option<Timestamp>,
    /// When it stopped; `None`: it seals.
    pub until: Option<Timestamp>,
    /// Messages and bytes sealed under it, at most.
    pub used: Used,
    /// Whether that is exact: nothing of it was reserved by a process that ended without saying what it used.
    pub exact: bool,
    /// Lanes drawn under it, at least.
    pub lanes: u64,
    /// Whether what was sealed under it is still opened here.
    pub opens: bool,
}

/// A part of a rehearsal and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// What was tried.
    pub what: &'static str,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// How long it took.
    pub took: Duration,
}
