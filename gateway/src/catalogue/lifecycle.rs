//! New key versions and their state transitions, each one change of a record.
//!
//! A switch takes three: the new version is durable, then ready, then active while its predecessor stops sealing. After a crash
//! between two of them the record says which is next; the old version seals until the last one.

use super::records::{RecordChange, Remember};
use super::time::{Moment, Monotonic};
use super::view::context;
use super::{
    Invalid, KeyError, Label, Proposal, Record, RotateError, SetError, State, Version, View,
};
use crate::clock::Clock;
use crate::custodian::{Custodian, UnwrapFailed};
use crate::envelope::{Suite, VersionKey, Volume};
use crate::policy::KeyringName;
use crate::secret::Secret;

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

/// A new version whose wrapped secret was shown to unwrap.
pub struct WrappedVersion(Version);

impl DrawnVersion {
    /// The version, without its wrapped secret.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// Has the custodian wrap the secret, and unwrap it again: what cannot be unwrapped must not be recorded.
    ///
    /// # Errors
    /// [`RotateError`].
    pub async fn wrap(
        &self,
        keyring: &KeyringName,
        custodian: &dyn Custodian,
    ) -> Result<WrappedVersion, RotateError> {
        let Self { version, root } = self;
        let context = context(keyring, version.number, &version.commitment.0);
        let wrapped = custodian.wrap(root, &context).await?;
        let unwrapped = custodian.unwrap(&wrapped, &context).await?;
        let key = VersionKey::derive(keyring.as_str(), version.number, &unwrapped);
        if key.commitment() != version.commitment {
            return Err(KeyError::Commitment(keyring.clone(), version.number).into());
        }
        Ok(WrappedVersion(Version {
            wrapped: Some(wrapped),
            ..version.clone()
        }))
    }
}

/// Has the custodian wrap and unwrap an unused secret.
///
/// # Errors
/// What would keep a new version from being made.
pub async fn rehearse_custody(custodian: &dyn Custodian) -> Result<(), RotateError> {
    const CONTEXT: &[u8] = b"rehearsal";
    let secret = Secret::random()?;
    let wrapped = custodian.wrap(&secret, CONTEXT).await?;
    let unwrapped = custodian.unwrap(&wrapped, CONTEXT).await?;
    if unwrapped.expose() == secret.expose() {
        Ok(())
    } else {
        Err(UnwrapFailed::Damaged.into())
    }
}

/// What is written next: a change of the record as this view has it.
impl View {
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

    /// Adds a new version, whose secret is wrapped. It is pre-active.
    #[must_use]
    pub fn generated(
        &self,
        keyring: &KeyringName,
        WrappedVersion(version): WrappedVersion,
    ) -> RecordChange {
        let mut record = self.current(keyring);
        let proven = Some(version.number);
        record.versions.push(version);
        RecordChange {
            proven,
            ..self.change(record, Remember::Later)
        }
    }

    /// Makes a pre-active version ready, and in the same write reserves the first part of its budget and sets its subjects.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn admitted(
        &self,
        keyring: &KeyringName,
        (usage, served): (VersionUsage, Vec<String>),
        clock: &Clock,
    ) -> Result<RecordChange, RotateError> {
        let now = self.moment(clock)?;
        let mut record = self.current(keyring);
        let version = record
            .version_mut(usage.number)
            .ok_or_else(|| unknown(keyring, usage.number))?;
        version.enter(State::Ready, now);
        version.reserved = usage.reserved;
        version.served = served;
        Ok(self.change(record, Remember::Later))
    }

    /// Makes a ready version active and its predecessor decrypt-only, in one write.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn activated(
        &self,
        keyring: &KeyringName,
        number: u32,
        clock: &Clock,
    ) -> Result<RecordChange, RotateError> {
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
        for version in &mut record.versions {
            if version.state.seals() {
                version.enter(State::DecryptOnly, now);
            } else if version.number == number {
                version.enter(State::Active, now);
            }
        }
        Ok(self.change(record, Remember::Now))
    }

    /// Records the use of versions. A larger reservation must be recorded before any of it is sealed.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn used(
        &self,
        keyring: &KeyringName,
        usages: &[VersionUsage],
    ) -> Result<RecordChange, RotateError> {
        let mut record = self.current(keyring);
        for usage in usages {
            let version = record
                .version_mut(usage.number)
                .ok_or_else(|| unknown(keyring, usage.number))?;
            version.reserved = usage.reserved;
            version.sealed = usage.sealed;
            version.lanes = version.lanes.max(usage.lanes);
        }
        Ok(self.change(record, Remember::Now))
    }

    /// Adds the subjects that the keyring serves now to every version that seals or may still seal.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn serving(
        &self,
        keyring: &KeyringName,
        subjects: &[String],
    ) -> Result<Option<RecordChange>, RotateError> {
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
        Ok(news.then(|| self.change(record, Remember::Now)))
    }

    /// Records that the destruction of a version is proposed.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn proposed(
        &self,
        keyring: &KeyringName,
        number: u32,
        proposal: &Proposal,
    ) -> Result<RecordChange, RotateError> {
        let mut record = self.current(keyring);
        let version = record
            .version_mut(number)
            .ok_or_else(|| unknown(keyring, number))?;
        version.proposed = Some(proposal.clone());
        Ok(self.change(record, Remember::Now))
    }

    /// Takes a version to another state that [`State::next`] allows; `destroyed` drops the secret.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn in_state(
        &self,
        keyring: &KeyringName,
        number: u32,
        state: State,
        clock: &Clock,
    ) -> Result<RecordChange, RotateError> {
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
                rule: Invalid::Transition {
                    number,
                    from,
                    to: state,
                },
            }
            .into());
        }
        Ok(self.change(record, Remember::Now))
    }

    /// Replaces times in the future, which a clock that was ahead or is lost has written, by now: periods counted from them would
    /// never end.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn capped_times(
        &self,
        keyring: &KeyringName,
        clock: &Clock,
    ) -> Result<Option<RecordChange>, RotateError> {
        let now = self.moment(clock)?.monotonic;
        let mut record = self.current(keyring);
        let mut news = false;
        for version in &mut record.versions {
            news |= version.state != State::Destroyed && version.cap_future_times(now);
        }
        Ok(news.then(|| self.change(record, Remember::Now)))
    }

    /// The next record in place of the one that this view has.
    fn change(&self, mut record: Record, remember: Remember) -> RecordChange {
        record.audited = self.audit_head.clone().or(record.audited);
        RecordChange {
            expected: record.epoch,
            record,
            remember,
            proven: None,
        }
    }

    fn moment(&self, clock: &Clock) -> Result<Moment, RotateError> {
        self.anchor(clock).stamp(clock).ok_or(RotateError::Clock)
    }

    fn current(&self, keyring: &KeyringName) -> Record {
        let record = self.record(keyring).cloned();
        record.unwrap_or_else(|| Record::empty(keyring.clone()))
    }

    fn state_of(&self, keyring: &KeyringName, number: u32) -> Result<State, RotateError> {
        let record = self.record(keyring);
        let version = record.and_then(|r| r.version(number));
        version
            .map(|v| v.state)
            .ok_or_else(|| unknown(keyring, number))
    }
}

fn unknown(keyring: &KeyringName, number: u32) -> RotateError {
    RotateError::Unknown(keyring.clone(), number)
}
