//! Keyrings and key versions as JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::catalogue::State;
use crate::envelope::Volume;
use crate::rotation::{self, KeyringStatus, VersionStatus};

/// A keyring and its key versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Keyring {
    /// Its name.
    pub keyring: String,
    /// The suite of new versions.
    pub suite: String,
    /// What is sealed under it.
    pub subjects: Vec<String>,
    /// Who may publish on them: `KIND:NAME`, or `KIND:*`; `null`: everybody.
    pub publish_by: Option<Vec<String>>,
    /// Who may get what is sealed under it.
    pub deliver_to: Option<Vec<String>>,
    /// When its versions are replaced, and what becomes of them.
    pub terms: Terms,
    /// What is to be expected.
    pub outlook: Outlook,
    /// Why publishes on its subjects wait: `no-version`, `halted`, `not-loaded`, `used-up`, `not-reserved`; `null`: they do not.
    #[serde(default)]
    pub stopped: Option<String>,
    /// Oldest first.
    pub versions: Vec<KeyVersion>,
}

/// When the versions of a keyring are replaced, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the JSON")]
pub struct Terms {
    /// The cryptoperiod.
    pub rotate_after_seconds: u64,
    /// How much shorter it may be, in percent.
    pub rotate_jitter_percent: u8,
    /// How much is sealed under a version before it is replaced.
    pub rotate: Amount,
    /// What is never exceeded.
    pub limit: Amount,
    /// How long a replaced version still opens without being asked for.
    pub overlap_seconds: u64,
    /// What becomes of it then: `destroy`, `archive`, `shred`.
    pub retain: String,
    /// How long after the overlap the gateway destroys nothing by itself.
    pub hold_seconds: u64,
    /// Who has to agree to a destruction: `automatic`, `approved`.
    pub destroy: String,
    /// Whether a suspended version opens.
    pub open_suspended: bool,
    /// Whether a compromised version opens.
    pub open_compromised: bool,
}

/// What is to be expected of a keyring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    /// When the cryptoperiod of the active version ends, RFC 3339.
    pub rotates: Option<String>,
    /// The same in seconds from now; 0 when it is over.
    pub rotates_in_seconds: Option<u64>,
    /// How long the soft thresholds last at the present rate; `null`: nothing is sealed.
    pub threshold_in_seconds: Option<u64>,
    /// How long the hard limit lasts at the present rate.
    pub limit_in_seconds: Option<u64>,
    /// How far a rotation has come: `none`, `generate`, `distribute`, `prove`, `activate`.
    pub stage: String,
    /// Why it does not get on; it is tried again.
    pub failure: Option<String>,
}

/// A key version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the JSON")]
pub struct KeyVersion {
    /// Its number in the keyring, from 1.
    pub number: u32,
    /// Its name for people.
    pub label: String,
    /// Its name in envelopes, hex.
    pub kid: String,
    /// What only its secret produces, hex.
    pub commitment: String,
    /// The suite it seals with.
    pub suite: String,
    /// Where it is in its life.
    pub state: String,
    /// The same in the words of NIST SP 800-57.
    pub nist: String,
    /// When it was drawn, RFC 3339.
    pub created: String,
    /// When it entered its state, RFC 3339.
    pub since: String,
    /// When it first became active, RFC 3339.
    pub activated: Option<String>,
    /// When it stopped sealing for good, RFC 3339.
    pub deactivated: Option<String>,
    /// When its overlap ends, while it lasts, RFC 3339.
    pub overlap_ends: Option<String>,
    /// How long it has been in its state, of the active one since it first became active: time that has passed, whatever the wall
    /// clock was set to.
    #[serde(default)]
    pub age_seconds: u64,
    /// What is known to have been sealed under it.
    pub sealed: Amount,
    /// What counts against its limit: that, and what a process that was killed had reserved.
    pub used: Amount,
    /// What may still be sealed under it; nothing when it does not seal.
    pub left: Amount,
    /// What lanes hold of it and have not sealed yet.
    pub outstanding: Amount,
    /// Whether publishes wait, because its limit is reached or no more of it can be reserved.
    pub exhausted: bool,
    /// Whether it was revoked or suspended and seals nothing, although that could not be written down yet.
    #[serde(default)]
    pub halted: bool,
    /// Lanes drawn under it.
    pub lanes: u64,
    /// What this process has opened; `null` when the version is not loaded.
    pub opened: Option<Opened>,
    /// Why it is not destroyed yet, where that was asked.
    pub kept: Option<String>,
}

/// Messages, and bytes of their plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Plaintext bytes.
    pub bytes: u64,
}

/// What this process has opened under a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opened {
    /// Envelopes opened.
    pub messages: u64,
    /// Envelopes that named the version and did not open.
    pub failed: u64,
    /// How long ago the last one was opened; `null`: never.
    pub seconds_ago: Option<u64>,
}

/// What keeps a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// The version.
    pub label: String,
    /// Where it is in its life.
    pub state: String,
    /// Each reason, in words; none: it is about to be destroyed, or can be.
    pub reasons: Vec<String>,
}

/// What may be known to whoever has a version's secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the JSON")]
pub struct Exposure {
    /// The keyring.
    pub keyring: String,
    /// The version.
    pub label: String,
    /// Its name in envelopes, hex.
    pub kid: String,
    /// Where it is in its life.
    pub state: String,
    /// What it may have sealed.
    pub subjects: Vec<String>,
    /// When it began to seal, RFC 3339; `null`: it never did.
    pub from: Option<String>,
    /// When it stopped, RFC 3339; `null`: it seals, or its record says so.
    pub until: Option<String>,
    /// Whether nothing is sealed under it although its record says so: it was revoked or suspended, and that could not be written yet.
    #[serde(default)]
    pub halted: bool,
    /// What was sealed under it, at most.
    pub sealed: Amount,
    /// Whether that is exact.
    pub exact: bool,
    /// Lanes drawn under it, at least.
    pub lanes: u64,
    /// Whether what was sealed under it still opens here.
    pub opens: bool,
}

/// A part of a rehearsal and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rehearsal {
    /// What was tried.
    pub what: String,
    /// Why it failed; `null`: it works.
    pub failed: Option<String>,
    /// How long it took.
    pub microseconds: u64,
}

impl Keyring {
    /// A keyring as it is at `now`.
    #[must_use]
    pub fn at(now: Timestamp, status: KeyringStatus) -> Self {
        Self {
            keyring: status.keyring.to_string(),
            suite: status.terms.suite.name().to_owned(),
            subjects: status.subjects,
            publish_by: status.publish_by.listed(),
            deliver_to: status.deliver_to.listed(),
            terms: Terms::from(&status.terms),
            outlook: Outlook::at(now, status.outlook),
            stopped: status.stopped.map(|stopped| stopped.word().to_owned()),
            versions: status.versions.into_iter().map(Into::into).collect(),
        }
    }

    /// The version that seals.
    #[must_use]
    pub fn active(&self) -> Option<&KeyVersion> {
        let active = State::Active.name();
        self.versions.iter().find(|version| version.state == active)
    }
}

impl From<&rotation::Terms> for Terms {
    fn from(terms: &rotation::Terms) -> Self {
        Self {
            rotate_after_seconds: terms.rotate.after.as_secs(),
            rotate_jitter_percent: terms.rotate.jitter,
            rotate: Amount {
                messages: terms.rotate.messages,
                bytes: terms.rotate.bytes,
            },
            limit: Amount {
                messages: terms.limit.messages,
                bytes: terms.limit.bytes,
            },
            overlap_seconds: terms.overlap.as_secs(),
            retain: <&str>::from(terms.retain).to_owned(),
            hold_seconds: terms.hold.as_secs(),
            destroy: <&str>::from(terms.destroy).to_owned(),
            open_suspended: terms.open.includes(State::Suspended),
            open_compromised: terms.open.includes(State::Compromised),
        }
    }
}

impl Outlook {
    fn at(now: Timestamp, outlook: rotation::engine::Outlook) -> Self {
        let until = |due: Timestamp| due.as_second().saturating_sub(now.as_second());
        Self {
            rotates: outlook.rotates.map(text),
            rotates_in_seconds: outlook
                .rotates
                .map(|due| u64::try_from(until(due)).unwrap_or(0)),
            threshold_in_seconds: outlook.threshold.map(|left| left.as_secs()),
            limit_in_seconds: outlook.limit.map(|left| left.as_secs()),
            stage: outlook.stage.word().to_owned(),
            failure: outlook.failure,
        }
    }
}

impl From<VersionStatus> for KeyVersion {
    fn from(status: VersionStatus) -> Self {
        Self {
            number: status.number,
            label: status.label,
            kid: status.kid.to_string(),
            commitment: status.commitment.to_string(),
            suite: status.suite.name().to_owned(),
            state: status.state.name().to_owned(),
            nist: status.state.nist().to_owned(),
            created: text(status.created),
            since: text(status.since),
            activated: status.activated.map(text),
            deactivated: status.deactivated.map(text),
            overlap_ends: status.overlap_ends.map(text),
            age_seconds: status.age.as_secs(),
            sealed: status.sealed.into(),
            used: status.used.into(),
            left: status.left.into(),
            outstanding: status.outstanding.into(),
            exhausted: status.exhausted,
            halted: status.halted,
            lanes: status.lanes,
            opened: status.opened.map(|opened| Opened {
                messages: opened.messages,
                failed: opened.failed,
                seconds_ago: opened.ago.map(|ago| ago.as_secs()),
            }),
            kept: status.kept,
        }
    }
}

impl From<Volume> for Amount {
    fn from(used: Volume) -> Self {
        Self {
            messages: used.messages,
            bytes: used.bytes,
        }
    }
}

impl From<rotation::RetentionReasons> for Kept {
    fn from(kept: rotation::RetentionReasons) -> Self {
        Self {
            label: kept.label,
            state: kept.state.name().to_owned(),
            reasons: kept.reasons,
        }
    }
}

impl From<rotation::Exposure> for Exposure {
    fn from(exposure: rotation::Exposure) -> Self {
        Self {
            keyring: exposure.keyring.to_string(),
            label: exposure.label,
            kid: exposure.kid.to_string(),
            state: exposure.state.name().to_owned(),
            subjects: exposure.subjects,
            from: exposure.from.map(text),
            until: exposure.until.map(text),
            halted: exposure.halted,
            sealed: exposure.used.into(),
            exact: exposure.exact,
            lanes: exposure.lanes,
            opens: exposure.opens,
        }
    }
}

impl From<rotation::Rehearsal> for Rehearsal {
    fn from(part: rotation::Rehearsal) -> Self {
        Self {
            what: part.what.to_owned(),
            failed: part.failed,
            microseconds: u64::try_from(part.took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// RFC 3339, to the second.
fn text(time: Timestamp) -> String {
    format!("{time:.0}")
}
