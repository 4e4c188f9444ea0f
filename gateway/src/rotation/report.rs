//! Reports for people and scripts: made here, sent by the API and read by commands as they are. Fields are only ever added.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::catalogue::{Mark, State, Version};
use crate::envelope::Volume;
use crate::policy::{KeyringName, Rule};

use super::OrderError;
use super::engine::{KeyringState, Now, Outlook, RotationStage};
use super::terms::{Retain, Terms};

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

/// A keyring and its key versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Keyring)]
pub struct KeyringStatus {
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
    pub terms: TermsReport,
    /// What is to be expected.
    pub outlook: OutlookReport,
    /// Why publishes on its subjects wait: `no-version`, `halted`, `not-loaded`, `used-up`, `not-reserved`; `null`: they do not.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub stopped: Option<PublishStall>,
    /// Oldest first.
    pub versions: Vec<VersionStatus>,
}

/// Why publishes on the subjects of a keyring wait.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
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

/// When the versions of a keyring are replaced, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the JSON")]
#[schema(as = Terms)]
pub struct TermsReport {
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Outlook)]
pub struct OutlookReport {
    /// When the cryptoperiod of the active version ends, RFC 3339.
    #[schema(value_type = Option<String>)]
    pub rotates: Option<Time>,
    /// The same in seconds from now; 0 when it is over.
    pub rotates_in_seconds: Option<u64>,
    /// How long the soft thresholds last at the present rate; `null`: nothing is sealed.
    pub threshold_in_seconds: Option<u64>,
    /// How long the hard limit lasts at the present rate.
    pub limit_in_seconds: Option<u64>,
    /// How far a rotation has come: `none`, `generate`, `distribute`, `prove`, `activate`.
    #[schema(value_type = String)]
    pub stage: RotationStage,
    /// Why it does not get on; it is tried again.
    pub failure: Option<String>,
}

/// A key version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the JSON")]
#[schema(as = KeyVersion)]
pub struct VersionStatus {
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
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub state: State,
    /// The same in the words of NIST SP 800-57.
    pub nist: String,
    /// When it was drawn, RFC 3339.
    #[schema(value_type = String)]
    pub created: Time,
    /// When it entered its state, RFC 3339.
    #[schema(value_type = String)]
    pub since: Time,
    /// When it first became active, RFC 3339.
    #[schema(value_type = Option<String>)]
    pub activated: Option<Time>,
    /// When it stopped sealing for good, RFC 3339.
    #[schema(value_type = Option<String>)]
    pub deactivated: Option<Time>,
    /// When its overlap ends, while it lasts, RFC 3339.
    #[schema(value_type = Option<String>)]
    pub overlap_ends: Option<Time>,
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
#[schema(as = Kept)]
pub struct RetentionReasons {
    /// The version.
    pub label: String,
    /// Where it is in its life.
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub state: State,
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
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub state: State,
    /// What it may have sealed.
    pub subjects: Vec<String>,
    /// When it began to seal, RFC 3339; `null`: it never did.
    #[schema(value_type = Option<String>)]
    pub from: Option<Time>,
    /// When it stopped, RFC 3339; `null`: it seals, or its record says so.
    #[schema(value_type = Option<String>)]
    pub until: Option<Time>,
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

/// The switch was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Switch)]
pub struct Rotated {
    /// The keyring.
    pub keyring: String,
    /// The label of the version that sealed until now.
    pub from: Option<String>,
    /// The label of the version that seals from now on.
    pub to: String,
    /// Its kid, hex.
    pub kid: String,
}

/// A time; RFC 3339 in JSON, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Time(pub Timestamp);

impl KeyringStatus {
    /// Of a keyring without versions.
    #[must_use]
    pub fn new(
        keyring: &KeyringName,
        rule: Option<&Rule>,
        terms: &Terms,
        outlook: OutlookReport,
    ) -> Self {
        Self {
            keyring: keyring.to_string(),
            suite: terms.suite.name().to_owned(),
            subjects: subjects(rule),
            publish_by: rule.and_then(|rule| rule.publish_by.listed()),
            deliver_to: rule.and_then(|rule| rule.deliver_to.listed()),
            terms: terms.into(),
            outlook,
            stopped: None,
            versions: Vec::new(),
        }
    }

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
                "has no active key version".to_owned(),
                format!("`keyway rotate {keyring} --why …` makes one"),
            ),
            PublishStall::Halted => (
                format!("{label} was revoked or suspended and seals nothing, which could not be written down yet"),
                "it is tried again until it can be, also after a restart, unless the answer to the order says otherwise"
                    .to_owned(),
            ),
            PublishStall::NotLoaded => (
                format!("{label} is to seal and cannot be loaded"),
                "it is tried again every second".to_owned(),
            ),
            PublishStall::UsedUp => (
                format!("nothing is left of the limit of {label}, and its successor is not active yet"),
                again,
            ),
            PublishStall::NotReserved => (
                format!("nothing is left of what is reserved of the limit of {label}, and no more can be reserved"),
                again,
            ),
        };
        Some(format!(
            "keyring `{keyring}`: {what}{failed}: publishes on its subjects wait; {help}"
        ))
    }
}

impl VersionStatus {
    /// From the record alone; what was reserved counts as used.
    pub(super) fn of_record(state: &KeyringState, version: &Version, now: Now) -> Self {
        let limit = state.terms().limit.volume();
        let seals = version.state.seals();
        let began = version.monotonic_activated().filter(|_began| seals);
        let age = now.ago(began.unwrap_or_else(|| version.monotonic_since()));
        let left = limit.minus(version.reserved);
        Self {
            number: version.number,
            label: version.label.as_str().to_owned(),
            kid: version.kid.to_string(),
            commitment: version.commitment.to_string(),
            suite: version.suite.name().to_owned(),
            state: version.state,
            nist: version.state.nist().to_owned(),
            created: Time(version.created),
            since: Time(version.since),
            activated: version.activated.map(Time),
            deactivated: version.deactivated.map(Time),
            overlap_ends: state.overlap_ends(version.number, now).map(Time),
            age_seconds: age.as_secs(),
            sealed: version.sealed.into(),
            used: version.reserved.into(),
            left: if seals {
                left.into()
            } else {
                Amount::default()
            },
            exhausted: seals && (left.messages == 0 || left.bytes == 0),
            halted: false,
            outstanding: Amount::default(),
            lanes: version.lanes,
            opened: None,
            kept: None,
        }
    }
}

impl Exposure {
    /// From the record alone, of a version that does not open; what was reserved counts as sealed.
    pub(super) fn of_record(keyring: &KeyringName, rule: Option<&Rule>, version: &Version) -> Self {
        Self {
            keyring: keyring.to_string(),
            label: version.label.to_string(),
            kid: version.kid.to_string(),
            state: version.state,
            subjects: subjects(rule),
            from: version.activated.map(Time),
            until: version.stopped_sealing().map(Time),
            halted: false,
            sealed: version.reserved.into(),
            exact: version.sealed == version.reserved,
            lanes: version.lanes,
            opens: false,
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

impl OutlookReport {
    pub(super) fn at(now: Timestamp, outlook: Outlook) -> Self {
        let until = |due: Timestamp| {
            let seconds = due.as_second().saturating_sub(now.as_second());
            u64::try_from(seconds).unwrap_or(0)
        };
        Self {
            rotates: outlook.rotates.map(Time),
            rotates_in_seconds: outlook.rotates.map(until),
            threshold_in_seconds: outlook.threshold.map(|left| left.as_secs()),
            limit_in_seconds: outlook.limit.map(|left| left.as_secs()),
            stage: outlook.stage,
            failure: outlook.failure,
        }
    }
}

impl From<&Terms> for TermsReport {
    fn from(terms: &Terms) -> Self {
        Self {
            rotate_after_seconds: terms.rotate.after.as_secs(),
            rotate_jitter_percent: terms.rotate.jitter,
            rotate: terms.rotate.volume().into(),
            limit: terms.limit.volume().into(),
            overlap_seconds: terms.overlap.as_secs(),
            retain: <&str>::from(terms.retain).to_owned(),
            hold_seconds: terms.hold.as_secs(),
            destroy: <&str>::from(terms.destroy).to_owned(),
            open_suspended: terms.open.includes(State::Suspended),
            open_compromised: terms.open.includes(State::Compromised),
        }
    }
}

impl From<Volume> for Amount {
    fn from(Volume { messages, bytes }: Volume) -> Self {
        Self { messages, bytes }
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        format!("{:.0}", time.0)
    }
}

impl TryFrom<String> for Time {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, jiff::Error> {
        text.parse().map(Self)
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
        State::PreActive | State::Ready => "it is about to become active",
        State::Active => "it is active: everything new is sealed under it",
        State::DecryptOnly => {
            let ends = state.overlap_ends(version.number, now);
            let ends = ends.map(|ends| format!("{ends:.0}"));
            &format!("its overlap lasts until {}", ends.unwrap_or_default())
        }
        State::Archived => match state.terms().retain {
            Retain::Archive => "retain = \"archive\": it is never destroyed by itself",
            Retain::Destroy | Retain::Shred => return None,
        },
        State::Suspended => "it is suspended: an operator decides what becomes of it",
        State::Compromised => {
            "it is compromised: an operator destroys it when it is no longer needed as evidence"
        }
        State::Destroyed => "nothing: its secret is gone, only its record is left",
    };
    Some(reason.to_owned())
}

/// The keyring of this name.
///
/// # Errors
/// [`OrderError`] when there is none.
pub fn find<'k>(
    keyrings: &'k [KeyringStatus],
    name: &str,
) -> Result<&'k KeyringStatus, OrderError> {
    let found = keyrings.iter().find(|status| status.keyring == name);
    found.ok_or_else(|| {
        let names = keyrings.iter().map(|status| &status.keyring);
        OrderError::unknown_keyring(name, names)
    })
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
    let KeyringStatus {
        keyring, versions, ..
    } = find(keyrings, keyring)?;
    // A number in its canonical form only, not `01` or `+1`.
    let meant = versions.iter().find(|version| match named {
        Some(named) => version.label == named || version.number.to_string() == named,
        None => version.state.seals(),
    });
    meant.map(|version| version.number).ok_or_else(|| {
        let keyring = keyring.clone();
        let Some(named) = named else {
            return OrderError::NoneActive(keyring);
        };
        let known: Vec<_> = versions
            .iter()
            .map(|version| version.label.as_str())
            .collect();
        OrderError::UnknownVersion {
            keyring,
            asked: named.to_owned(),
            known: if known.is_empty() {
                "none yet".to_owned()
            } else {
                known.join(", ")
            },
        }
    })
}

/// The subjects of a keyring.
pub(super) fn subjects(rule: Option<&Rule>) -> Vec<String> {
    let subjects = rule.into_iter().flat_map(|rule| &rule.subjects);
    subjects.map(ToString::to_string).collect()
}

/// A value as its text in JSON.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
