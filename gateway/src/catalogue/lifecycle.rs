//! New key versions and their state transitions, each one a compare-and-set.
//!
//! A switch takes three: the new version is durable, then ready, then active while its predecessor stops sealing. After a crash
//! between two of them the record says which is next; the old version seals until the last one.

use super::store::Remember;
use super::time::{Moment, Monotonic};
use super::view::context;
use super::{Catalogue, Label, Proposal, Record, RotateError, SetError, State, Version};
use crate::clock::Clock;
use crate::envelope::{Suite, VersionKey, Volume};
use crate::policy::KeyringName;
use crate::secret::Secret;

/// The outcome of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The number of the version that seals.
    pub active: u32,
    /// The number of the version that sealed until now.
    pub predecessor: Option<u32>,
}

/// The use of a version, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionUsage {
    /// The version's number.
    pub number: u32,
    /// No more than this is sealed under it before the next report.
    pub reserved: Volume,
    /// At least this was sealed under it.
    pub sealed: Volume,
    /// Lanes drawn under it.
    pub lanes: u64,
}

/// A new version and its secret, which is neither wrapped nor stored yet: the audit log's intent names it first.
pub struct DrawnVersion {
    version: Version,
    root: Secret,
}

impl DrawnVersion {
    /// The version, without its wrapped secret.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }
}

impl Catalogue {
    /// Draws the secret of a new version. Writes nothing.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn draw(
        &self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<DrawnVersion, RotateError> {
        let now = self.moment(clock)?;
        let number = self.current(keyring).next_number();
        let number = number.ok_or_else(|| RotateError::NoNumber(keyring.clone()))?;
        let root = Secret::random()?;
        let commitment = VersionKey::derive(keyring.as_str(), number, &root).commitment();
        let version = Version {
            number,
            label: Label::new(keyring, now.wall, number),
            kid: commitment.kid(),
            commitment,
            suite,
            state: State::PreActive,
            created: now.wall,
            since: now.wall,
            activated: None,
            deactivated: None,
            monotonic: Monotonic {
                since: now.monotonic_if_different(),
                ..Monotonic::default()
            },
            reserved: Volume::default(),
            sealed: Volume::default(),
            lanes: 0,
            served: Vec::new(),
            proposed: None,
            wrapped: None,
        };
        Ok(DrawnVersion { version, root })
    }

    /// Wraps a drawn version's secret, writes it durably and reads it back. The version is pre-active.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn generate(
        &mut self,
        keyring: &KeyringName,
        drawn: &DrawnVersion,
    ) -> Result<u32, RotateError> {
        let DrawnVersion { version, root } = drawn;
        let context = context(keyring, version.number, &version.commitment.0);
        let wrapped = self.view.custodian.wrap(root, &context)?;
        let mut record = self.current(keyring);
        record.versions.push(Version {
            wrapped: Some(wrapped),
            ..version.clone()
        });
        self.set(record.epoch, record, Remember::Later)?;
        Ok(version.number)
    }

    /// Makes a pre-active version ready, and in the same write reserves the first part of its budget and sets its subjects.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn admit(
        &mut self,
        keyring: &KeyringName,
        (usage, served): (VersionUsage, Vec<String>),
        clock: &Clock,
    ) -> Result<(), RotateError> {
        let now = self.moment(clock)?;
        let mut record = self.current(keyring);
        let version = record
            .version_mut(usage.number)
            .ok_or_else(|| unknown(keyring, usage.number))?;
        version.enter(State::Ready, now);
        version.reserved = usage.reserved;
        version.served = served;
        self.set(record.epoch, record, Remember::Later)?;
        Ok(())
    }

    /// Makes a ready version active and its predecessor decrypt-only, in one write.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn activate(
        &mut self,
        keyring: &KeyringName,
        number: u32,
        clock: &Clock,
    ) -> Result<Switched, RotateError> {
        let now = self.moment(clock)?;
        let state = self.state_of(keyring, number)?;
        if state != State::Ready {
            return Err(RotateError::NotReady {
                keyring: keyring.clone(),
                number,
                state,
            });
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

    /// Records the use of versions. A larger reservation must be recorded before any of it is sealed.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn record_usage(
        &mut self,
        keyring: &KeyringName,
        usages: &[VersionUsage],
    ) -> Result<(), RotateError> {
        let mut record = self.current(keyring);
        for usage in usages {
            let version = record
                .version_mut(usage.number)
                .ok_or_else(|| unknown(keyring, usage.number))?;
            version.reserved = usage.reserved;
            version.sealed = usage.sealed;
            version.lanes = version.lanes.max(usage.lanes);
        }
        self.compare_and_set(record.epoch, record)?;
        Ok(())
    }

    /// Adds the subjects that the keyring serves now to every version that seals or may still seal.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn record_subjects(
        &mut self,
        keyring: &KeyringName,
        subjects: &[String],
    ) -> Result<(), RotateError> {
        let mut record = self.current(keyring);
        let mut news = false;
        let sealing = |version: &&mut Version| {
            matches!(
                version.state,
                State::PreActive | State::Ready | State::Active | State::Suspended
            )
        };
        for version in record.versions.iter_mut().filter(sealing) {
            let known = |subject: &&String| !version.served.contains(subject);
            let new: Vec<_> = subjects.iter().filter(known).cloned().collect();
            news |= !new.is_empty();
            version.served.extend(new);
        }
        if news {
            self.compare_and_set(record.epoch, record)?;
        }
        Ok(())
    }

    /// Records that the destruction of a version is proposed.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn record_proposal(
        &mut self,
        keyring: &KeyringName,
        number: u32,
        proposal: &Proposal,
    ) -> Result<(), RotateError> {
        let mut record = self.current(keyring);
        let version = record
            .version_mut(number)
            .ok_or_else(|| unknown(keyring, number))?;
        version.proposed = Some(proposal.clone());
        self.compare_and_set(record.epoch, record)?;
        Ok(())
    }

    /// Takes a version to another state that [`State::next`] allows; `destroyed` drops the secret.
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
        let now = self.moment(clock)?;
        let mut record = self.current(keyring);
        let version = record
            .version_mut(number)
            .ok_or_else(|| unknown(keyring, number))?;
        let from = version.state;
        version.enter(state, now);
        // Checked here, too, and not only in the record's check: a forbidden step has dropped the secret already.
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

    /// Replaces times in the future, which a clock that was ahead or is lost has written, by now: periods counted from them would
    /// never end.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn cap_times(&mut self, keyring: &KeyringName, clock: &Clock) -> Result<(), RotateError> {
        let now = self.moment(clock)?.monotonic;
        let mut record = self.current(keyring);
        let mut news = false;
        for version in &mut record.versions {
            news |= version.state != State::Destroyed && version.cap_future_times(now);
        }
        if news {
            self.compare_and_set(record.epoch, record)?;
        }
        Ok(())
    }

    fn moment(&self, clock: &Clock) -> Result<Moment, RotateError> {
        self.anchor(clock).stamp(clock).ok_or(RotateError::Clock)
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
    RotateError::Unknown(keyring.clone(), number)
}
