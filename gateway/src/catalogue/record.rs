//! A keyring's record: all its key versions, and the rules that no record may break.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::State;
use super::time::{Moment, Monotonic};
use crate::audit::Head;
use crate::custody::Wrapped;
use crate::envelope::{Commitment, Kid, Suite, Used};
use crate::policy::KeyringName;

/// Everything that is known about a keyring's key versions. One record, so that one write hands over from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose versions they are.
    pub keyring: KeyringName,
    /// Grows by one with every write; 0 before the first. [`super::Catalogue::compare_and_set`] fills it in.
    pub epoch: u64,
    /// How far the audit log had come before it was written. [`super::Catalogue::compare_and_set`] fills it in.
    pub audited: Option<Head>,
    /// Oldest first; numbers grow; none is ever left out.
    pub versions: Vec<Version>,
}

/// A key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1, grows within the keyring.
    pub number: u32,
    /// What people call it.
    pub label: Label,
    /// What envelopes call it: the first 8 bytes of the commitment.
    pub kid: Kid,
    /// What only this secret, keyring and number produce.
    pub commitment: Commitment,
    /// The AEAD that seals under it.
    pub suite: Suite,
    /// Where it is in its life.
    pub state: State,
    /// When the secret was drawn.
    pub created: Timestamp,
    /// When it entered its present state.
    pub since: Timestamp,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// When it stopped sealing for good: in favour of a successor, or because it was revoked.
    pub deactivated: Option<Timestamp>,
    /// The same by the catalogue's own time, where the wall clock showed another.
    pub monotonic: Monotonic,
    /// What has been reserved of its budget: no more than this was ever sealed under it.
    pub reserved: Used,
    /// What is known to have been sealed of that, when its record was last written: no less than this was.
    pub sealed: Used,
    /// How many lanes have been drawn under it, when its record was last written.
    pub lanes: u64,
    /// The patterns of the subjects that the keyring has served while the version was or might be sealing.
    pub served: Vec<String>,
    /// That somebody has asked for its destruction, which takes a second person.
    pub proposed: Option<Proposal>,
    /// The root secret under the KEK; gone once destroyed.
    pub wrapped: Option<Wrapped>,
}

/// A destruction that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who asks, as the audit log has it.
    pub who: String,
    /// Why.
    pub why: String,
    /// Whether it is to go although something stored may need it.
    pub forced: bool,
}

/// What people call a key version: keyring, UTC date of its making, number, as in `agents-2026-11-23.3`.
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
    /// The label does not say keyring, date and number.
    #[error("the label of version {0} does not say its keyring, date and number")]
    Label(u32),
    /// Destroyed but there, or there but destroyed.
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
    /// A version starts its life elsewhere than at the start.
    #[error("version {0} is new and must be pre-active")]
    Born(u32),
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

    /// The number of the next version; `None` after four thousand million.
    #[must_use]
    pub fn next_number(&self) -> Option<u32> {
        self.versions
            .last()
            .map_or(0, |last| last.number)
            .checked_add(1)
    }

    /// The rules that a record must keep by itself.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_after(&[])
    }

    /// The same, in a keyring of which these versions were checked: one that is still the same, in its place, keeps its own rules.
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

    /// The rules between a record and the one that it replaces.
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
            Some(version) => Err(Invalid::Born(version.number)),
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

    /// When it stopped sealing; `None`: it seals, or never has.
    #[must_use]
    pub fn stopped(&self) -> Option<Timestamp> {
        // One that was suspended while it was ready may be deactivated without ever having sealed.
        self.activated?;
        let left = (!self.state.seals()).then_some(self.since);
        self.deactivated.or(left)
    }

    /// Enters a state at a time; what the state asks of the other fields follows. Says nothing about whether it may.
    pub fn enter(&mut self, state: State, now: impl Into<Moment>) {
        if self.state == state {
            return;
        }
        let now = now.into();
        // What is suspended or compromised does not seal: it stopped when it became so.
        let stopped = match self.state {
            State::Suspended | State::Compromised => (self.since, self.monotonic.since),
            State::PreActive
            | State::Ready
            | State::Active
            | State::DecryptOnly
            | State::Archived
            | State::Destroyed => (now.wall, now.apart()),
        };
        self.state = state;
        self.since = now.wall;
        self.monotonic.since = now.apart();
        match state {
            State::Active if self.activated.is_none() => {
                self.activated = Some(now.wall);
                self.monotonic.activated = now.apart();
            }
            State::DecryptOnly | State::Archived if self.deactivated.is_none() => {
                self.deactivated = Some(now.wall);
                self.monotonic.deactivated = now.apart();
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
        // What is looked into, or comes back from that, is asked for anew.
        if !matches!(state, State::Archived | State::Destroyed) {
            self.proposed = None;
        }
    }
}

impl Version {
    /// When it entered its present state, by the catalogue's own time.
    #[must_use]
    pub fn entered(&self) -> Timestamp {
        self.monotonic.since.unwrap_or(self.since)
    }

    /// When it first became active, by the catalogue's own time.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.monotonic.activated.or(self.activated)
    }

    /// When it stopped sealing for good, by the catalogue's own time.
    #[must_use]
    pub fn ceased(&self) -> Option<Timestamp> {
        self.monotonic.deactivated.or(self.deactivated)
    }

    /// Whatever was entered later than now, by a clock that nobody believes any more, is entered now. Whether anything was.
    pub(super) fn cap(&mut self, now: Timestamp) -> bool {
        let later = |at: Option<Timestamp>| at.filter(|at| *at > now).map(|_at| now);
        let since = later(Some(self.entered()));
        let (activated, deactivated) = (later(self.began()), later(self.ceased()));
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

    /// A label as a record has it; [`Record::check`] compares it with what it should be.
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
