//! Carries out the actions of the engine on catalogue, snapshot and audit log.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::audit::{Action as Audited, IntendedUse, Outcome, RecordRef};
use crate::catalogue::{DrawnVersion, RotateError, SetError, State, Version, VersionUsage};
use crate::envelope::{Claim, Volume};
use crate::fault::Faulty;
use crate::policy::{KeyringName, Pattern, Rule};
use crate::printable::Count;
use crate::retention::{RetentionAnswer, RetentionQuestion};
use crate::rotation::drain::DrainMessage;
use crate::rotation::engine::{Action, Event, Failure, Member, RetentionVerdict, Step};
use crate::rotation::external::Inspection;
use crate::rotation::reason::Reason;
use crate::rotation::report::{KeyringStatus, RetentionReasons};
use crate::rotation::{DestroyRequest, OrderError};

use super::Driver;
use super::journal::AuditIntent;
use super::loaded::Halt;

/// A question to JetStream that is under way.
pub(super) type PendingInspection = Pin<Box<dyn Future<Output = InspectionResult> + Send>>;

/// The answer of JetStream about a version, and what it is for.
pub(super) struct InspectionResult {
    pub(super) index: usize,
    pub(super) number: u32,
    pub(super) stored: RetentionAnswer,
    pub(super) purpose: InspectionPurpose,
}

/// A destruction that an operator has ordered.
pub(super) struct DestroyOrder {
    pub(super) request: DestroyRequest,
    pub(super) reason: Reason,
}

/// A write that failed.
struct FailedWrite {
    error: RotateError,
    /// Whether it certainly has not taken effect.
    known: bool,
}

/// What a question to JetStream is for.
pub(super) enum InspectionPurpose {
    /// The engine, before it destroys the version.
    Engine,
    /// An order to destroy the version if nothing needs it.
    Destroy(
        DestroyOrder,
        oneshot::Sender<Result<KeyringStatus, OrderError>>,
    ),
    /// A query why the version is kept.
    Why(oneshot::Sender<Result<RetentionReasons, OrderError>>),
}

impl Driver {
    /// Carries out an action; yields the events that follow at once.
    pub(super) fn perform(&mut self, index: usize, action: Action) -> Vec<Event> {
        let Action { step, reason } = action;
        match step {
            Step::Challenge(number, members) => {
                self.challenged(index);
                self.challenge(index, number, &members)
            }
            Step::Inspect(number) => self.inspect(index, number),
            Step::Distribute(_)
            | Step::Generate
            | Step::Admit(_)
            | Step::Activate(_)
            | Step::Discard(_)
            | Step::Archive(_)
            | Step::Propose(..)
            | Step::Destroy(_)
            | Step::Compromise(_)
            | Step::Suspend(_)
            | Step::Restore(..) => {
                let begun = self.start_timer(index, &step);
                let outcome = if let Step::Distribute(number) = step {
                    let given = self.distribute(index, number);
                    // An operator may have repaired a record meanwhile. A failed transition reads by itself.
                    given.inspect_err(|_failed| self.refresh_catalogue())
                } else {
                    self.transition(index, &step, &reason)
                };
                let ended = outcome.as_ref().copied();
                self.record_outcome(index, (&step, &reason), &begun, ended);
                vec![self.ended(index, outcome)]
            }
        }
    }

    fn ended(&self, index: usize, outcome: Result<(), Failure>) -> Event {
        let keyring = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone());
        let versions = keyring.map(|keyring| self.versions(&keyring));
        Event::Ended(outcome, versions.unwrap_or_default())
    }

    /// Reads the catalogue after a failure: a write may have taken effect all the same, and then counts for the message path,
    /// too. Repeated at every tick until it succeeds.
    pub(super) fn refresh_catalogue(&mut self) {
        let read = self.catalogue.refresh();
        self.in_doubt = read.is_err();
        self.watch_for_rollback(&read);
        let now = self.clock.instant();
        if let Err(error) = read
            && let Some(left_out) = self.read_errors.admit(now)
        {
            tracing::warn!(%error, left_out, "the catalogue cannot be read again; going on with what was read before");
        }
        // Outcomes in doubt are resolved for each keyring by itself: an unreadable record must not block the others.
        for index in 0..self.keyrings.len() {
            if let Err(error) = self.resolve_outcome(index) {
                tracing::debug!(%error, "what came of a key event is not known yet");
            }
        }
        self.install();
    }

    /// One transition of a record: intent in the audit log, compare-and-set, outcome, new snapshot.
    fn transition(&mut self, index: usize, step: &Step, reason: &Reason) -> Result<(), Failure> {
        self.resolve_outcome(index)?;
        if self.is_already_done(index, step) {
            return Ok(());
        }
        let drawn = self.draw(index, step).map_err(|error| failure(&error))?;
        let made = drawn.as_ref().map(DrawnVersion::version);
        // The wall clock may have been set since the last action.
        self.check_wall_clock();
        let statement = self.statement((index, step), made, reason);
        let act = statement.map(AuditIntent::act);
        let wall = self.wall();
        let pending = act.map(|act| self.journal.begin(act, wall)).transpose();
        let pending = pending.map_err(|error| failure(&error))?;
        self.catalogue.set_audit_head(self.journal.head());
        self.stop_drainers(index, step);
        self.unaudited.take_if(|unaudited| unaudited == reason);
        let mut outcome = self.attempt((index, step), drawn.as_ref());
        let full = |undone: &FailedWrite| undone.known && undone.error.is_full();
        if step.is_urgent() && outcome.as_ref().is_err_and(full) {
            self.journal.release(wall);
            outcome = self.attempt((index, step), drawn.as_ref());
        }
        if let Some(pending) = pending {
            self.check_wall_clock();
            let completed = self.wall();
            let record = outcome.is_ok().then(|| self.record_now(index)).flatten();
            let said = outcome
                .as_ref()
                .map_or_else(FailedWrite::outcome, |()| Outcome::Done);
            let exposure = self.exposed(index, step);
            self.journal.finish(
                pending.with_record(record).with_exposure(exposure),
                said,
                completed,
            );
        }
        let kid = step.number().and_then(|number| self.kid(index, number));
        self.drop_marks(|marked| Some(marked) == kid);
        self.install();
        self.drainers.broadcast(DrainMessage::CatalogueChanged);
        let outcome = outcome.map_err(|undone| failure(&undone.error));
        self.log_event((index, step), made, reason, outcome.as_ref().err());
        outcome
    }

    /// The present record, as the audit log names it.
    fn record_now(&self, index: usize) -> Option<RecordRef> {
        self.catalogue.reference(&self.keyrings.get(index)?.keyring)
    }

    /// Resolves an unknown outcome before anything more is done to a keyring.
    pub(super) fn resolve_outcome(&mut self, index: usize) -> Result<(), Failure> {
        let keyring = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone());
        let Some(keyring) = keyring.filter(|keyring| self.journal.has_unknown_outcome(keyring))
        else {
            return Ok(());
        };
        let read = self.catalogue.refresh_one(&keyring);
        // The record may have been read although something after that failed.
        self.install();
        read.map_err(|error| failure(&RotateError::from(SetError::from(error))))?;
        let wall = self.wall();
        self.journal
            .settle_from_record(&self.catalogue, &keyring, wall);
        Ok(())
    }

    /// Whether the record shows the step as done, by a write that failed and took effect; the engine does not know yet.
    fn is_already_done(&self, index: usize, step: &Step) -> bool {
        let Some((keyring, engine)) = self.engine(index) else {
            return false;
        };
        let (known, versions) = (engine.versions(), self.versions(keyring));
        if known == versions {
            return false;
        }
        if *step == Step::Generate {
            versions.len() > known.len()
        } else {
            self.took_effect(index, step, None)
        }
    }

    /// Generates the secret of a new version before the intent, which names it.
    fn draw(&self, index: usize, step: &Step) -> Result<Option<DrawnVersion>, RotateError> {
        let Some((keyring, engine)) = self.engine(index).filter(|_engine| *step == Step::Generate)
        else {
            return Ok(None);
        };
        let drawn = self
            .catalogue
            .draw(keyring, engine.terms().suite, &self.clock);
        drawn.map(Some)
    }

    /// Writes the record. A write that failed and took effect all the same counts as done.
    fn attempt(
        &mut self,
        (index, step): (usize, &Step),
        drawn: Option<&DrawnVersion>,
    ) -> Result<(), FailedWrite> {
        let Err(error) = self.write(index, step, drawn) else {
            return Ok(());
        };
        self.refresh_catalogue();
        let keyring = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone());
        let read = |keyring: KeyringName| self.catalogue.refresh_one(&keyring).is_ok();
        let known = !self.in_doubt || !error.is_in_doubt() || keyring.is_some_and(read);
        if self.took_effect(index, step, drawn) {
            return Ok(());
        }
        Err(FailedWrite { error, known })
    }

    fn took_effect(&self, index: usize, step: &Step, drawn: Option<&DrawnVersion>) -> bool {
        let Some(record) = self.record(index) else {
            return false;
        };
        if let Some(drawn) = drawn {
            let made = drawn.version();
            return record
                .version(made.number)
                .is_some_and(|version| version.kid == made.kid);
        }
        let version = step.number().and_then(|number| record.version(number));
        version.is_some_and(|version| {
            if let Step::Propose(_, proposal) = step {
                version.proposed.as_ref() == Some(proposal)
            } else {
                Some(version.state) == step.enters()
            }
        })
    }

    /// The compare-and-set of the record.
    fn write(
        &mut self,
        index: usize,
        step: &Step,
        drawn: Option<&DrawnVersion>,
    ) -> Result<(), RotateError> {
        let Some(keyring) = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone())
        else {
            return Ok(());
        };
        let clock = self.clock.clone();
        match step {
            Step::Generate => drawn.map_or(Ok(()), |drawn| {
                self.catalogue.generate(&keyring, drawn).map(drop)
            }),
            Step::Admit(number) => {
                let part = self.first_part(index);
                let usage = VersionUsage {
                    number: *number,
                    reserved: part,
                    sealed: Volume::default(),
                    lanes: 0,
                };
                let served = self.subjects(&keyring);
                self.catalogue.admit(&keyring, (usage, served), &clock)?;
                self.extend(index, *number, part);
                Ok(())
            }
            Step::Activate(number) => self.catalogue.activate(&keyring, *number, &clock).map(drop),
            Step::Restore(number, state) => {
                // Before the write, because that may fail and take effect all the same. Until then the record prevents sealing.
                if let Some(kid) = self.kid(index, *number) {
                    self.loaded.release(kid, Halt::Ordered);
                    self.drainers.broadcast(DrainMessage::Restored(kid));
                }
                self.catalogue.set_state(&keyring, *number, *state, &clock)
            }
            Step::Archive(number) => {
                self.settle(index, *number)?;
                let set = (*number, State::Archived);
                self.catalogue.set_state(&keyring, set.0, set.1, &clock)?;
                if let Some(kid) = self.kid(index, *number) {
                    self.loaded.touch(kid);
                }
                Ok(())
            }
            Step::Propose(number, proposal) => {
                self.catalogue.record_proposal(&keyring, *number, proposal)
            }
            Step::Discard(number)
            | Step::Destroy(number)
            | Step::Compromise(number)
            | Step::Suspend(number) => {
                let state = step.enters().unwrap_or(State::Suspended);
                self.catalogue.set_state(&keyring, *number, state, &clock)
            }
            Step::Distribute(_) | Step::Challenge(..) | Step::Inspect(_) => Ok(()),
        }
    }

    /// Rotation, part 2: this gateway loads the version; others of a fleet read it from the catalogue.
    fn distribute(&mut self, index: usize, number: u32) -> Result<(), Failure> {
        let Some(keyring) = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone())
        else {
            return Ok(());
        };
        let held = self.loaded.load_prepared(&self.catalogue, &keyring, number);
        held.map(drop).map_err(|error| failure(&error))
    }

    /// Rotation, part 3: members prove possession of the secret, for this record and a fresh challenge.
    fn challenge(&self, index: usize, number: u32, members: &[Member]) -> Vec<Event> {
        let Some(record) = self.record(index) else {
            return Vec::new();
        };
        let held = record
            .version(number)
            .and_then(|version| self.loaded.get(version.kid));
        let Some(held) = held else {
            return Vec::new();
        };
        let key = &held.version.key;
        let claims = members.iter().filter_map(|member| {
            let mut challenge = [0; 32];
            aws_lc_rs::rand::fill(&mut challenge).ok()?;
            let claim = Claim {
                member: &member.0,
                epoch: record.epoch,
                challenge,
            };
            let proof = self.fleet.prove(&claim, number, key)?;
            key.verify(&claim, &proof).ok()?;
            Some(Event::Proven(member.clone(), number))
        });
        claims.collect()
    }

    /// Before a version is destroyed: what was opened here recently, and what JetStream still holds.
    fn inspect(&self, index: usize, number: u32) -> Vec<Event> {
        if let Some(recent) = self.opened_recently(index, number) {
            return vec![Event::Inspected(number, RetentionVerdict::Held(recent))];
        }
        match self.inquire(index, number) {
            None => Vec::new(),
            Some(Inspection::Answered(answer)) => {
                vec![Event::Inspected(number, verdict(&answer))]
            }
            Some(Inspection::Later(answer)) => {
                self.await_answer((index, number), InspectionPurpose::Engine, answer);
                Vec::new()
            }
        }
    }

    /// Queues a question for the event loop.
    pub(super) fn await_answer(
        &self,
        (index, number): (usize, u32),
        purpose: InspectionPurpose,
        answer: Pin<Box<dyn Future<Output = RetentionAnswer> + Send>>,
    ) {
        let inspection = async move {
            InspectionResult {
                index,
                number,
                stored: answer.await,
                purpose,
            }
        };
        self.inspections.push(Box::pin(inspection));
    }

    /// The question to JetStream about a version.
    pub(super) fn question(&self, index: usize, number: u32) -> Option<RetentionQuestion> {
        let (keyring, _engine) = self.engine(index)?;
        let version = self.record(index)?.version(number)?;
        let id = self.policy.by_name(keyring.as_str())?;
        let rule = self.policy.keyring(id)?;
        let (activated, deactivated) = self.now().sealing_span(version);
        Some(RetentionQuestion {
            keyring: keyring.clone(),
            subjects: subjects_ever_served(rule, version),
            kid: version.kid,
            activated,
            deactivated,
        })
    }

    /// The audit entry of a step; `None` for those that change no record.
    fn statement<'d>(
        &'d self,
        (index, step): (usize, &Step),
        made: Option<&'d Version>,
        reason: &Reason,
    ) -> Option<AuditIntent<'d>> {
        let (what, intended_use) = match step {
            Step::Generate => (Audited::Generate, IntendedUse::Nothing),
            Step::Admit(_) => (Audited::Admit, IntendedUse::Open),
            Step::Activate(_) => (Audited::Activate, IntendedUse::SealAndOpen),
            Step::Discard(_) => (Audited::Abort, IntendedUse::Nothing),
            Step::Archive(_) => (Audited::Archive, IntendedUse::Open),
            Step::Propose(..) => (Audited::DestroyRequested, IntendedUse::Nothing),
            Step::Destroy(_) => (Audited::Destroy, IntendedUse::Nothing),
            Step::Compromise(_) => (Audited::Compromise, IntendedUse::Nothing),
            Step::Suspend(_) => (Audited::Suspend, IntendedUse::Nothing),
            Step::Restore(_, State::Active) => (Audited::Resume, IntendedUse::SealAndOpen),
            Step::Restore(..) => (Audited::Resume, IntendedUse::Open),
            Step::Distribute(_) | Step::Challenge(..) | Step::Inspect(_) => return None,
        };
        let (keyring, engine) = self.engine(index)?;
        let known = || self.record(index)?.version(step.number()?);
        Some(AuditIntent {
            what,
            reason: reason.clone(),
            keyring,
            rule: self
                .policy
                .by_name(keyring.as_str())
                .and_then(|id| self.policy.keyring(id)),
            version: made.or_else(known),
            intended_use,
            expiry: engine.expiry(step.number(), self.now()),
        })
    }

    fn log_event(
        &self,
        (index, step): (usize, &Step),
        made: Option<&Version>,
        reason: &Reason,
        failed: Option<&Failure>,
    ) {
        let Some((keyring, _engine)) = self.engine(index) else {
            return;
        };
        let known = || self.record(index)?.version(step.number()?);
        let version = made.or_else(known);
        let version = version.map(|version| version.label.to_string());
        let version = version.unwrap_or_default();
        let (step, why) = (step.word(), reason.why.printable());
        let trigger = reason.trigger.word();
        match failed {
            None => tracing::info!(%keyring, version, deed = step, trigger, why, "key event"),
            Some(error) => {
                tracing::error!(%keyring, version, deed = step, trigger, why, %error, "key event failed");
            }
        }
    }
}

impl FailedWrite {
    /// As the audit log records it.
    fn outcome(&self) -> Outcome {
        let error = &self.error;
        if self.known {
            Outcome::Failed(error.to_string().into())
        } else {
            Outcome::Unknown(format!("{error}; whether it took effect cannot be read yet").into())
        }
    }
}

/// Every pattern that the keyring serves, and those that it served while the version sealed.
fn subjects_ever_served(rule: &Rule, version: &Version) -> Vec<Pattern> {
    let mut reach = rule.subjects.clone();
    let served = version
        .served
        .iter()
        .filter_map(|pattern| pattern.parse().ok());
    for pattern in served {
        if !reach.contains(&pattern) {
            reach.push(pattern);
        }
    }
    reach
}

pub(super) fn failure(error: &impl Faulty) -> Failure {
    Failure {
        text: error.to_string(),
        fault: error.fault(),
    }
}

pub(super) fn verdict(answer: &RetentionAnswer) -> RetentionVerdict {
    match answer {
        RetentionAnswer::NothingStored { streams } => {
            let streams = Count(*streams, "stream");
            RetentionVerdict::Clear(format!(
                "JetStream holds nothing that needs it, in {streams}"
            ))
        }
        RetentionAnswer::Stored(holders) => {
            let held = holders.iter().map(|holder| {
                format!(
                    "stream {} holds message {} on {}, stored {}",
                    holder.stream, holder.sequence, holder.subject, holder.stored
                )
            });
            // No semicolon: it separates the cause from the remedy.
            RetentionVerdict::Held(held.collect::<Vec<_>>().join(", and "))
        }
        RetentionAnswer::Unknown(why) => RetentionVerdict::Held(format!(
            "it cannot be proven that nothing stored needs it: {why}"
        )),
    }
}
