//! New key versions and their steps through life, each one a compare-and-set.
//!
//! A switch takes three: the new version is durable, then ready, then active while its predecessor stops sealing. Killed between
//! any two, calling again goes on from there; the old version seals until the last one.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use super::view::context;
use super::{Catalogue, Label, Record, RotateError, SetError, State, Version};
use crate::clock::Clock;
use crate::envelope::{Suite, VersionKey};
use crate::policy::KeyringName;
use crate::secret::Secret;

/// Which version seals now, and which did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The number of the version that seals.
    pub active: u32,
    /// The number of the version that sealed until now.
    pub predecessor: Option<u32>,
}

impl Catalogue {
    /// The number of the version that seals; makes and activates the first one if there is none.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn ensure_active(
        &mut self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<u32, RotateError> {
        match self.view.record(keyring).and_then(Record::active) {
            Some(version) => Ok(version.number),
            None => Ok(self.rotate(keyring, suite, clock)?.active),
        }
    }

    /// Switches to a new version now: [`Catalogue::prepare`] and [`Catalogue::activate`].
    ///
    /// # Errors
    /// [`RotateError`]; call again to go on.
    pub fn rotate(
        &mut self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<Switched, RotateError> {
        let number = self.prepare(keyring, suite, clock)?;
        self.activate(keyring, number, clock)
    }

    /// The number of a version that waits to be activated. One that an interrupted switch left is taken up again; without one
    /// a new secret is drawn, wrapped, made durable and read back.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn prepare(
        &mut self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<u32, RotateError> {
        let now = timestamp(clock)?;
        let mut record = self.current(keyring);
        let waits = |v: &&Version| matches!(v.state, State::PreActive | State::Ready);
        if let Some(version) = record
            .versions
            .iter()
            .find(|v| waits(v) && v.suite == suite)
        {
            return Ok(version.number);
        }
        // Made for a suite that is no longer configured: never used, so nothing is lost.
        for version in &mut record.versions {
            if waits(&&*version) {
                version.enter(State::Destroyed, now);
            }
        }
        let number = record
            .next_number()
            .ok_or_else(|| RotateError::NoNumber(keyring.clone()))?;
        let version = self.mint(keyring, number, suite, now)?;
        record.versions.push(version);
        self.compare_and_set(record.epoch, record)?;
        Ok(number)
    }

    /// Makes a prepared version ready, then active; the version that was active becomes decrypt-only in the same step.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn activate(
        &mut self,
        keyring: &KeyringName,
        number: u32,
        clock: &Clock,
    ) -> Result<Switched, RotateError> {
        let now = timestamp(clock)?;
        let state = self.state_of(keyring, number)?;
        match state {
            State::PreActive => {
                self.set_state(keyring, number, State::Ready, clock)?;
            }
            State::Ready => {}
            State::Active => {
                return Ok(Switched {
                    active: number,
                    predecessor: None,
                });
            }
            State::DecryptOnly
            | State::Archived
            | State::Suspended
            | State::Compromised
            | State::Destroyed => {
                return Err(RotateError::NotReady {
                    keyring: keyring.clone(),
                    number,
                    state,
                });
            }
        }
        let mut record = self.current(keyring);
        let predecessor = record.active().map(|v| v.number);
        for version in &mut record.versions {
            if version.state.seals() {
                version.enter(State::DecryptOnly, now);
            } else if version.number == number {
                version.enter(State::Active, now);
            }
        }
        self.compare_and_set(record.epoch, record)?;
        Ok(Switched {
            active: number,
            predecessor,
        })
    }

    /// Takes one version to another state. The table of states decides whether that may be; `destroyed` drops the secret.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn set_state(
        &mut self,
        keyring: &KeyringName,
        number: u32,
        state: State,
        clock: &Clock,
    ) -> Result<(), RotateError> {
        let now = timestamp(clock)?;
        let mut record = self.current(keyring);
        let version = record
            .version_mut(number)
            .ok_or_else(|| unknown(keyring, number))?;
        let from = version.state;
        version.enter(state, now);
        // Here as well as in the record's check: a secret dropped by a forbidden step must not even be proposed.
        if !from.may_become(state) {
            return Err(SetError::Refused {
                keyring: keyring.clone(),
                rule: super::Invalid::Transition {
                    number,
                    from,
                    to: state,
                },
            }
            .into());
        }
        self.compare_and_set(record.epoch, record)?;
        Ok(())
    }

    fn mint(
        &self,
        keyring: &KeyringName,
        number: u32,
        suite: Suite,
        now: Timestamp,
    ) -> Result<Version, RotateError> {
        let root = Secret::random()?;
        let commitment = VersionKey::derive(keyring.as_str(), number, &root).commitment();
        let wrapped = self
            .view
            .custodian
            .wrap(&root, &context(keyring, number, &commitment.0))?;
        Ok(Version {
            number,
            label: Label::new(keyring, now, number),
            kid: commitment.kid(),
            commitment,
            suite,
            state: State::PreActive,
            created: now,
            since: now,
            activated: None,
            deactivated: None,
            wrapped: Some(wrapped),
        })
    }

    fn current(&self, keyring: &KeyringName) -> Record {
        let record = self.view.record(keyring).cloned();
        record.unwrap_or_else(|| Record::empty(keyring.clone()))
    }

    fn state_of(&self, keyring: &KeyringName, number: u32) -> Result<State, RotateError> {
        let record = self.view.record(keyring);
        let version = record.and_then(|r| r.version(number));
        version
            .map(|v| v.state)
            .ok_or_else(|| unknown(keyring, number))
    }
}

fn unknown(keyring: &KeyringName, number: u32) -> RotateError {
    RotateError::Unknown {
        keyring: keyring.clone(),
        number,
    }
}

/// The wall clock, in whole milliseconds: what records keep.
fn timestamp(clock: &Clock) -> Result<Timestamp, RotateError> {
    let round = TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(RoundMode::Trunc);
    Timestamp::try_from(clock.wall())
        .and_then(|now| now.round(round))
        .map_err(|_out_of_range| RotateError::Clock)
}
