//! The status reports for operators.

use std::time::Duration;

use jiff::Timestamp;

use crate::catalogue::{Mark, State, Version};
use crate::envelope::{Commitment, Kid, Suite, Volume};
use crate::policy::{Clients, KeyringName};

use super::OrderError;
use super::engine::{KeyringState, Now, Outlook};
use super::terms::{Retain, Terms};

/// The outcome of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The keyring.
    pub keyring: KeyringName,
    /// The label of the version that sealed until now.
    pub from: Option<String>,
    /// The label of the version that seals from now on.
    pub to: String,
    /// Its kid.
    pub kid: Kid,
}

/// Every keyring, and the faults of catalogue and audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The keyrings.
    pub keyrings: Vec<KeyringStatus>,
    /// Why a full disk may keep a revocation from being written: the audit log has no reserve.
    pub unreserved: Option<String>,
    /// Which record on disk is older than the one in force: a rollback.
    pub rolled_back: Option<String>,
    /// Why the records on disk cannot be read; what was read before is in force.
    pub unread: Option<String>,
}

/// A keyring, its versions, and its outlook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringStatus {
    /// Its name.
    pub keyring: KeyringName,
    /// Its terms.
    pub terms: Terms,
    /// Its subjects.
    pub subjects: Vec<String>,
    /// Who may publish on them.
    pub publish_by: Clients,
    /// Who may receive what is sealed under it.
    pub deliver_to: Clients,
    /// Oldest first.
    pub versions: Vec<VersionStatus>,
    /// When the next rotation is due, and what delays it.
    pub outlook: Outlook,
    /// Why publishes on its subjects wait; `None`: they do not, or no gateway runs.
    pub stopped: Option<PublishStall>,
}

/// Why publishes on the subjects of a keyring wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishStall {
    /// No version is active.
    NoVersion,
    /// The active version was revoked or suspended, which could not be written down yet.
    Halted,
    /// The secret of the active version cannot be unwrapped.
    NotLoaded,
    /// The limit of the active version is reached, and its successor is not active yet.
    UsedUp,
    /// All that is reserved of its limit is sealed, and no more can be reserved.
    NotReserved,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is told by itself")]
pub struct VersionStatus {
    /// Its number in the keyring.
    pub number: u32,
    /// Its label.
    pub label: String,
    /// Its key id in envelopes.
    pub kid: Kid,
    /// The commitment to its secret.
    pub commitment: Commitment,
    /// The suite it seals with.
    pub suite: Suite,
    /// Its lifecycle state.
    pub state: State,
    /// When it was generated.
    pub created: Timestamp,
    /// When it entered its state.
    pub since: Timestamp,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// When it stopped sealing for good.
    pub deactivated: Option<Timestamp>,
    /// When its overlap ends, while it lasts.
    pub overlap_ends: Option<Timestamp>,
    /// How long it has been in its state, the active one since it first became active; independent of changes of the wall clock.
    pub age: Duration,
    /// What is known to have been sealed under it.
    pub sealed: Volume,
    /// What counts against its limit: sealed, and reserved by processes that were killed.
    pub used: Volume,
    /// What may still be sealed under it.
    pub left: Volume,
    /// Whether its hard limit is reached, or no more of it can be reserved.
    pub exhausted: bool,
    /// Whether it was revoked or suspended and its record could not be written yet: nothing is sealed under it.
    pub halted: bool,
    /// Granted to lanes and not sealed yet.
    pub outstanding: Volume,
    /// Lanes drawn under it.
    pub lanes: u64,
    /// What this process has opened; `None` when it is not loaded.
    pub opened: Option<Opened>,
    /// Why it is not destroyed yet, where that was checked.
    pub kept: Option<String>,
}

/// What this process has opened under a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Envelopes opened.
    pub messages: u64,
    /// Envelopes of this version that did not open.
    pub failed: u64,
    /// How long ago the last one was opened, to the tick (200 ms).
    pub ago: Option<Duration>,
}

/// Why a version is not destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionReasons {
    /// The version.
    pub label: String,
    /// Its lifecycle state.
    pub state: State,
    /// Each reason, in words.
    pub reasons: Vec<String>,
}

/// What a leaked version exposes.
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
    /// Its key id in envelopes.
    pub kid: Kid,
    /// Its lifecycle state.
    pub state: State,
    /// What it may have sealed.
    pub subjects: Vec<String>,
    /// When it began to seal.
    pub from: Option<Timestamp>,
    /// When it stopped; `None`: it seals according to its record.
    pub until: Option<Timestamp>,
    /// Whether it was revoked or suspended and its record could not be written yet: nothing is sealed under it.
    pub halted: bool,
    /// Messages and bytes sealed under it, at most.
    pub used: Volume,
    /// Whether that is exact: no process that was killed had reserved some of it.
    pub exact: bool,
    /// Lanes drawn under it, at least.
    pub lanes: u64,
    /// Whether this gateway still opens what was sealed under it.
    pub opens: bool,
}

/// One part of a rehearsal and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// What was tried.
    pub what: &'static str,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl KeyringStatus {
    /// The active version. Whether it seals: see [`Self::stopped`].
    #[must_use]
    pub fn active(&self) -> Option<&VersionStatus> {
        self.versions.iter().find(|version| version.state.seals())
    }

    /// Why publishes wait, and the remedy; `None` while they do not wait.
    #[must_use]
    pub fn standstill(&self) -> Option<String> {
        let stopped = self.stopped?;
        let keyring = &self.keyring;
        let label = self.active().map_or("", |active| active.label.as_str());
        let failure = self.outlook.failure.as_ref();
        let failed = failure.map_or_else(String::new, |failure| format!(" ({failure})"));
        let again = format!("`keyway rotate {keyring} --why …` tries again at once");
        let (what, help) = match stopped {
            PublishStall::NoVersion => (
                format!("has no active key version{failed}"),
                format!("`keyway rotate {keyring} --why …` makes one"),
            ),
            PublishStall::Halted => (
                format!(
                    "{label} was revoked or suspended and seals nothing, which could not be written down yet{failed}"
                ),
                "it is tried again until it can be, also after a restart, unless the answer to the order says otherwise"
                    .to_owned(),
            ),
            PublishStall::NotLoaded => (
                format!("{label} is to seal and cannot be loaded{failed}"),
                "it is tried again every second".to_owned(),
            ),
            PublishStall::UsedUp => (
                format!(
                    "nothing is left of the limit of {label}, and its successor is not active yet{failed}"
                ),
                again,
            ),
            PublishStall::NotReserved => (
                format!(
                    "nothing is left of what is reserved of the limit of {label}, and no more can be reserved{failed}"
                ),
                again,
            ),
        };
        Some(format!(
            "keyring `{keyring}`: {what}: publishes on its subjects wait; {help}"
        ))
    }
}

impl PublishStall {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NoVersion,
        Self::Halted,
        Self::NotLoaded,
        Self::UsedUp,
        Self::NotReserved,
    ];

    /// The name in status, metrics and log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoVersion => "no-version",
            Self::Halted => "halted",
            Self::NotLoaded => "not-loaded",
            Self::UsedUp => "used-up",
            Self::NotReserved => "not-reserved",
        }
    }
}

impl VersionStatus {
    /// From the record alone; what was reserved counts as used.
    pub(super) fn of_record(state: &KeyringState, version: &Version, now: Now) -> Self {
        let limit = state.terms().limit;
        let limit = Volume {
            messages: limit.messages,
            bytes: limit.bytes,
        };
        let seals = version.state.seals();
        let began = version.monotonic_activated().filter(|_began| seals);
        let left = limit.minus(version.reserved);
        Self {
            number: version.number,
            label: version.label.as_str().to_owned(),
            kid: version.kid,
            commitment: version.commitment,
            suite: version.suite,
            state: version.state,
            created: version.created,
            since: version.since,
            activated: version.activated,
            deactivated: version.deactivated,
            overlap_ends: state.overlap_ends(version.number, now),
            age: now.ago(began.unwrap_or_else(|| version.monotonic_since())),
            sealed: version.sealed,
            used: version.reserved,
            left: if seals { left } else { Volume::default() },
            exhausted: seals && (left.messages == 0 || left.bytes == 0),
            halted: false,
            outstanding: Volume::default(),
            lanes: version.lanes,
            opened: None,
            kept: None,
        }
    }
}

impl RetentionReasons {
    /// From the record and the mark that is ahead of it.
    pub(super) fn of_record(
        state: &KeyringState,
        version: &Version,
        (now, mark): (Now, Option<Mark>),
    ) -> Self {
        let reason = mark.map(unwritten).or_else(|| reason(state, version, now));
        Self {
            label: version.label.to_string(),
            state: version.state,
            reasons: reason.into_iter().collect(),
        }
    }
}

/// What a mark says that the record does not.
fn unwritten(mark: Mark) -> String {
    match mark {
        Mark::Revoked | Mark::Suspended => format!(
            "it was {}, which could not be written down yet: nothing is sealed under it",
            mark.word()
        ),
        Mark::Withdrawn => {
            "the rotation that it was made for has failed: it is discarded once that can be written down"
                .to_owned()
        }
    }
}

/// Why a version in its state is kept.
fn reason(state: &KeyringState, version: &Version, now: Now) -> Option<String> {
    let reason = match version.state {
        State::PreActive | State::Ready => "it is about to become active".to_owned(),
        State::Active => "it is active: everything new is sealed under it".to_owned(),
        State::DecryptOnly => {
            let ends = state
                .overlap_ends(version.number, now)
                .map(|ends| format!("{ends:.0}"));
            format!("its overlap lasts until {}", ends.unwrap_or_default())
        }
        State::Archived => match state.terms().retain {
            Retain::Archive => "retain = \"archive\": it is never destroyed by itself".to_owned(),
            Retain::Destroy | Retain::Shred => return None,
        },
        State::Suspended => "it is suspended: an operator decides what becomes of it".to_owned(),
        State::Compromised => {
            "it is compromised: an operator destroys it when it is no longer needed as evidence"
                .to_owned()
        }
        State::Destroyed => "nothing: its secret is gone, only its record is left".to_owned(),
    };
    Some(reason)
}

/// The number of the version that is named by number or label; the active one's without a name.
///
/// # Errors
/// [`OrderError`] when there is none.
pub fn number(
    keyrings: &[KeyringStatus],
    keyring: &str,
    named: Option<&str>,
) -> Result<u32, OrderError> {
    let found = keyrings
        .iter()
        .find(|status| status.keyring.as_str() == keyring);
    let status = found.ok_or_else(|| {
        let known = keyrings
            .iter()
            .map(|status| format!("`{}`", status.keyring));
        OrderError::UnknownKeyring {
            asked: keyring.to_owned(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    })?;
    let Some(named) = named else {
        let active = status.active().map(|version| version.number);
        return active.ok_or_else(|| OrderError::NoneActive(status.keyring.clone()));
    };
    // A number in its canonical form only, not `01` or `+1`.
    let is_meant =
        |version: &&VersionStatus| version.label == named || version.number.to_string() == named;
    let meant = status.versions.iter().find(is_meant);
    meant.map(|version| version.number).ok_or_else(|| {
        let known = status.versions.iter().map(|version| version.label.as_str());
        let known: Vec<_> = known.collect();
        OrderError::UnknownVersion {
            keyring: status.keyring.clone(),
            asked: named.to_owned(),
            known: if known.is_empty() {
                "none yet".to_owned()
            } else {
                known.join(", ")
            },
        }
    })
}
