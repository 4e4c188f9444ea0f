//! A keyring's record: all its key versions, and the rules that no record may break.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::State;
use super::time::{Moment, Monotonic};
use crate::audit::Head;
use crate::custodian::Wrapped;
use crate::envelope::{Commitment, Kid, Suite, Volume};
use crate::policy::KeyringName;

/// A keyring's key versions. One record, so that one write switches from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The keyring.
    pub keyring: KeyringName,
    /// Grows by one with every write; 0 before the first. [`super::Records::set`] fills it in.
    pub epoch: u64,
    /// How far the audit log had come before it was written. [`super::Records::set`] fills it in.
    pub audited: Option<Head>,
    /// Oldest first, by growing number; none is ever removed.
    pub versions: Vec<Version>,
}

/// A key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1, grows within the keyring.
    pub number: u32,
    /// The name for people.
    pub label: Label,
    /// The id in envelopes: the first 8 bytes of the commitment.
    pub kid: Kid,
    /// Commits to the secret, keyring and number.
    pub commitment: Commitment,
    /// The AEAD that seals under it.
    pub suite: Suite,
    /// Its state.
    pub state: State,
    /// When the secret was drawn.
    pub created: Timestamp,
    /// When it entered its present state.
    pub since: Timestamp,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// When it stopped sealing for good: in favour of a successor, or because it was revoked.
    pub deactivated: Option<Timestamp>,
    /// The same by catalogue time, where it differs.
    pub monotonic: Monotonic,
    /// The reserved part of its budget: no more than this was ever sealed under it.
    pub reserved: Volume,
    /// At least this was sealed under it, when the record was written.
    pub sealed: Volume,
    /// At least so many lanes were drawn under it, when the record was written.
    pub lanes: u64,
    /// The subject patterns that the keyring has served since the version was made, until it stopped sealing.
    pub served: Vec<String>,
    /// A destruction that waits for a second person's approval.
    pub proposed: Option<Proposal>,
    /// The root secret under the KEK; gone once destroyed.
    pub wrapped: Option<Wrapped>,
}

/// A proposed destruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Who proposes it, in the audit log's notation.
    pub who: String,
    /// Why.
    pub why: String,
    /// Whether it is to be destroyed although stored messages may need it.
    #[serde(default)]
    pub forced: bool,
}

/// A key version's name for people: keyring, UTC date of creation, number, as in `agents-2026-11-23.3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// A rule that a record breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Two versions seal.
    #[error("versions {0} and {1} are both active; at most one may be")]
    TwoActive(u32, u32),
    /// Numbers do not grow from 1.
    #[error("version {0} follows version {1}; numbers start at 1 and grow")]
    Order(u32, u32),
    /// The kid is not the commitment's.
    #[error("the kid of version {0} is not the first 8 bytes of its commitment")]
    Kid(u32),
    /// Two versions, one kid.
    #[error("version {0} has the kid of another version")]
    SameKid(u32),
    /// Its secret changes, and nobody has shown that the new one unwraps.
    #[error(
        "nobody has shown that the secret of version {0} unwraps: this is a defect, please report it"
    )]
    Unproven(u32),
    /// The label does not say keyring, date and number.
    #[error("the label of version {0} does not say its keyring, date and number")]
    Label(u32),
    /// Destroyed with a secret, or not destroyed and without one.
    #[error("version {0}: a secret must be there until the version is destroyed, and not after")]
    Secret(u32),
    /// Times that its state cannot have.
    #[error("version {0}: an active version has a time of activation and none of deactivation")]
    Times(u32),
    /// A version of the old record is not in the new one.
    #[error("version {0} is left out; a record keeps every version")]
    LeftOut(u32),
    /// A second commitment, or another change of what never changes.
    #[error(
        "version {0} would change its commitment, suite, label or a time in its past; those are for good"
    )]
    Rewritten(u32),
    /// The table of states forbids it.
    #[error("version {number} cannot go from {from} to {to}")]
    Transition {
        /// Which version.
        number: u32,
        /// Its state.
        from: State,
        /// What it cannot become.
        to: State,
    },
    /// A new version that is not pre-active.
    #[error("version {0} is new and must be pre-active")]
    NewNotPreActive(u32),
}

impl Record {
    /// The record of a keyring that has no versions yet.
    #[must_use]
    pub const fn empty(keyring: KeyringName) -> Self {
        Self {
            keyring,
            epoch: 0,
            audited: None,
            versions: Vec::new(),
        }
    }

    /// The version that seals.
    #[must_use]
    pub fn active(&self) -> Option<&Version> {
        self.versions.iter().find(|v| v.state.seals())
    }

    /// The version of this number.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|v| v.number == number)
    }

    pub(super) fn version_mut(&mut self, number: u32) -> Option<&mut Version> {
        self.versions.iter_mut().find(|v| v.number == number)
    }

    /// The number of the next version; `None` after `u32::MAX`.
    #[must_use]
    pub fn next_number(&self) -> Option<u32> {
        self.versions
            .last()
            .map_or(0, |last| last.number)
            .checked_add(1)
    }

    /// Checks the rules that hold for a record alone.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_after(&[])
    }

    /// The same; versions that equal those of `checked` at the same index are not checked again.
    pub(super) fn check_after(&self, checked: &[Version]) -> Result<(), Invalid> {
        let mut last = 0;
        let mut active = None;
        let mut kids = std::collections::HashSet::new();
        for (index, version) in self.versions.iter().enumerate() {
            let number = version.number;
            if number <= last {
                return Err(Invalid::Order(number, last));
            }
            last = number;
            if checked.get(index) != Some(version) {
                version.check(&self.keyring)?;
            }
            if !kids.insert(version.kid) {
                return Err(Invalid::SameKid(number));
            }
            if version.state.seals()
                && let Some(other) = active.replace(number)
            {
                return Err(Invalid::TwoActive(other, number));
            }
        }
        Ok(())
    }

    /// Checks the rules between a record and the one that it replaces.
    ///
    /// # Errors
    /// The first rule that the step breaks.
    pub fn check_step(&self, old: &Self) -> Result<(), Invalid> {
        let mut new = self.versions.iter();
        for before in &old.versions {
            let left_out = Invalid::LeftOut(before.number);
            let after = new.next().ok_or(left_out)?;
            if after.number != before.number {
                return Err(left_out);
            }
            after.check_step(before)?;
        }
        match new.find(|version| version.state != State::PreActive) {
            Some(version) => Err(Invalid::NewNotPreActive(version.number)),
            None => Ok(()),
        }
    }
}

impl Version {
    fn check(&self, keyring: &KeyringName) -> Result<(), Invalid> {
        let number = self.number;
        if self.kid != self.commitment.kid() {
            return Err(Invalid::Kid(number));
        }
        if self.label != Label::new(keyring, self.created, number) {
            return Err(Invalid::Label(number));
        }
        if self.wrapped.is_some() == (self.state == State::Destroyed) {
            return Err(Invalid::Secret(number));
        }
        if self.state.seals() && (self.activated.is_none() || self.deactivated.is_some()) {
            return Err(Invalid::Times(number));
        }
        Ok(())
    }

    fn check_step(&self, before: &Self) -> Result<(), Invalid> {
        let kept = |was: Option<Timestamp>, is| was.is_none() || was == is;
        let same = self.commitment == before.commitment
            && self.suite == before.suite
            && self.label == before.label
            && self.created == before.created
            && kept(before.activated, self.activated)
            && kept(before.deactivated, self.deactivated);
        if !same {
            return Err(Invalid::Rewritten(self.number));
        }
        if before.state.may_become(self.state) {
            return Ok(());
        }
        Err(Invalid::Transition {
            number: self.number,
            from: before.state,
            to: self.state,
        })
    }

    /// When it stopped sealing; `None`: it seals, or never did.
    #[must_use]
    pub fn stopped_sealing(&self) -> Option<Timestamp> {
        // A version suspended while ready may be deactivated without ever having sealed.
        self.activated?;
        let left = (!self.state.seals()).then_some(self.since);
        self.deactivated.or(left)
    }

    /// Sets the state and the fields that depend on it. Does not check that the transition is allowed.
    pub fn enter(&mut self, state: State, now: impl Into<Moment>) {
        if self.state == state {
            return;
        }
        let now = now.into();
        // A suspended or compromised version stopped sealing when it entered that state.
        let stopped = match self.state {
            State::Suspended | State::Compromised => (self.since, self.monotonic.since),
            State::PreActive
            | State::Ready
            | State::Active
            | State::DecryptOnly
            | State::Archived
            | State::Destroyed => (now.wall, now.monotonic_if_different()),
        };
        self.state = state;
        self.since = now.wall;
        self.monotonic.since = now.monotonic_if_different();
        match state {
            State::Active if self.activated.is_none() => {
                self.activated = Some(now.wall);
                self.monotonic.activated = now.monotonic_if_different();
            }
            State::DecryptOnly | State::Archived if self.deactivated.is_none() => {
                self.deactivated = Some(now.wall);
                self.monotonic.deactivated = now.monotonic_if_different();
            }
            State::Compromised | State::Destroyed
                if self.activated.is_some() && self.deactivated.is_none() =>
            {
                self.deactivated = Some(stopped.0);
                self.monotonic.deactivated = stopped.1;
            }
            State::PreActive
            | State::Ready
            | State::Active
            | State::DecryptOnly
            | State::Archived
            | State::Suspended
            | State::Compromised
            | State::Destroyed => {}
        }
        if state == State::Destroyed {
            self.wrapped = None;
        }
        // A proposal ends with a suspension, and with the return from one: it must be made again.
        if !matches!(state, State::Archived | State::Destroyed) {
            self.proposed = None;
        }
    }

    /// When it entered its present state, by catalogue time.
    #[must_use]
    pub fn monotonic_since(&self) -> Timestamp {
        self.monotonic.since.unwrap_or(self.since)
    }

    /// When it first became active, by catalogue time.
    #[must_use]
    pub fn monotonic_activated(&self) -> Option<Timestamp> {
        self.monotonic.activated.or(self.activated)
    }

    /// When it stopped sealing for good, by catalogue time.
    #[must_use]
    pub fn monotonic_deactivated(&self) -> Option<Timestamp> {
        self.monotonic.deactivated.or(self.deactivated)
    }

    /// Replaces times later than `now` by `now`: a clock that was ahead wrote them. Returns whether there were any.
    pub(super) fn cap_future_times(&mut self, now: Timestamp) -> bool {
        let later = |at: Option<Timestamp>| at.filter(|at| *at > now).map(|_at| now);
        let since = later(Some(self.monotonic_since()));
        let (activated, deactivated) = (
            later(self.monotonic_activated()),
            later(self.monotonic_deactivated()),
        );
        let times = &mut self.monotonic;
        times.since = since.or(times.since);
        times.activated = activated.or(times.activated);
        times.deactivated = deactivated.or(times.deactivated);
        since.or(activated).or(deactivated).is_some()
    }
}

impl Label {
    /// The label of a version.
    #[must_use]
    pub fn new(keyring: &KeyringName, created: Timestamp, number: u32) -> Self {
        let date = TimeZone::UTC.to_datetime(created).date();
        Self(format!("{keyring}-{date}.{number}"))
    }

    /// A label read from a record; [`Record::check`] compares it with the expected one.
    pub(super) const fn from_record(text: String) -> Self {
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
