//! Carries out the actions of the engine on catalogue, snapshot and audit log.

use crate::audit::{Act, Action as Audited, IntendedUse, Outcome};
use crate::catalogue::{DrawnVersion, RotateError, State, Version, VersionUsage};
use crate::envelope::{Claim, Kid, Volume};
use crate::fault::{Failure, Faulty};
use crate::rotation::drain::DrainMessage;
use crate::rotation::engine::{Action, Event, Member, Step};
use crate::rotation::reason::{DestroyBasis, Reason};

use super::journal::act;
use super::keyring::ManagedKeyring;
use super::loaded::Halt;
use super::shared::Shared;

/// A write that failed.
struct FailedWrite {
    error: RotateError,
    /// Whether it certainly has not taken effect.
    known: bool,
}

impl ManagedKeyring {
    /// Carries out an action; yields the events that follow at once.
    pub(super) fn perform(&mut self, shared: &mut Shared, action: Action) -> Vec<Event> {
        let Action { step, reason } = action;
        match step {
            Step::Challenge(number, members) => {
                self.challenged
                    .get_or_insert_with(|| shared.clock.instant());
                self.challenge(shared, number, &members)
            }
            Step::Inspect(number) => self.inspect(shared, number),
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
                let begun = self.start_timer(shared, &step);
                let outcome = if let Step::Distribute(number) = step {
                    let given = self.distribute(shared, number);
                    // An operator may have repaired a record meanwhile. A failed transition reads by itself.
                    given.inspect_err(|_failed| shared.refresh_catalogue())
                } else {
                    self.transition(shared, &step, &reason)
                };
                let ended = outcome.as_ref().copied();
                self.record_outcome(shared, (&step, &reason), &begun, ended);
                vec![Event::Ended(outcome, shared.versions(&self.name))]
            }
        }
    }

    /// One transition of a record: intent in the audit log, compare-and-set, outcome, new snapshot.
    fn transition(
        &mut self,
        shared: &mut Shared,
        step: &Step,
        reason: &Reason,
    ) -> Result<(), Failure> {
        shared.resolve_outcome(&self.name)?;
        if self.is_already_done(shared, step) {
            return Ok(());
        }
        let drawn = self
            .draw(shared, step)
            .map_err(|error| Failure::of(&error))?;
        let made = drawn.as_ref().map(DrawnVersion::version);
        // The wall clock may have been set since the last action.
        shared.check_wall_clock();
        let act = self.statement(shared, step, made, reason);
        let wall = shared.wall();
        let pending = act.map(|act| shared.journal.begin(act, wall)).transpose();
        let pending = pending.map_err(|error| Failure::of(&error))?;
        shared.catalogue.set_audit_head(shared.journal.head());
        self.stop_drainers(shared, step);
        self.unaudited.take_if(|unaudited| unaudited == reason);
        let mut outcome = self.attempt(shared, step, drawn.as_ref());
        let full = |undone: &FailedWrite| undone.known && undone.error.is_full();
        if step.is_urgent() && outcome.as_ref().is_err_and(full) {
            shared.journal.release(wall);
            outcome = self.attempt(shared, step, drawn.as_ref());
        }
        if let Some(pending) = pending {
            shared.check_wall_clock();
            let completed = shared.wall();
            let record = outcome
                .is_ok()
                .then(|| shared.catalogue.reference(&self.name))
                .flatten();
            let said = outcome
                .as_ref()
                .map_or_else(FailedWrite::outcome, |()| Outcome::Done);
            let exposure = self.exposed(shared, step);
            shared.journal.finish(
                pending.with_record(record).with_exposure(exposure),
                said,
                completed,
            );
        }
        let kid = step.number().and_then(|number| self.kid(shared, number));
        shared.drop_marks(
            |marked| Some(marked) == kid,
            |_keyring, number| self.engine.leftover() == Some(number),
        );
        shared.install();
        shared.drainers.broadcast(DrainMessage::CatalogueChanged);
        let outcome = outcome.map_err(|undone| Failure::of(&undone.error));
        self.log_event(shared, step, made, reason, outcome.as_ref().err());
        outcome
    }

    /// Whether the record shows the step as done, by a write that failed and took effect; the engine does not know yet.
    fn is_already_done(&self, shared: &Shared, step: &Step) -> bool {
        let (known, versions) = (self.engine.versions(), shared.versions(&self.name));
        if known == versions {
            return false;
        }
        if *step == Step::Generate {
            versions.len() > known.len()
        } else {
            self.took_effect(shared, step, None)
        }
    }

    /// Generates the secret of a new version before the intent, which names it.
    fn draw(&self, shared: &Shared, step: &Step) -> Result<Option<DrawnVersion>, RotateError> {
        if *step != Step::Generate {
            return Ok(None);
        }
        let drawn = shared
            .catalogue
            .draw(&self.name, self.engine.terms().suite, &shared.clock);
        drawn.map(Some)
    }

    /// Writes the record. A write that failed and took effect all the same counts as done.
    fn attempt(
        &self,
        shared: &mut Shared,
        step: &Step,
        drawn: Option<&DrawnVersion>,
    ) -> Result<(), FailedWrite> {
        let Err(error) = self.write(shared, step, drawn) else {
            return Ok(());
        };
        shared.refresh_catalogue();
        let known = !shared.in_doubt
            || !error.is_in_doubt()
            || shared.catalogue.refresh_one(&self.name).is_ok();
        if self.took_effect(shared, step, drawn) {
            return Ok(());
        }
        Err(FailedWrite { error, known })
    }

    fn took_effect(&self, shared: &Shared, step: &Step, drawn: Option<&DrawnVersion>) -> bool {
        let Some(record) = self.record(shared) else {
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
        &self,
        shared: &mut Shared,
        step: &Step,
        drawn: Option<&DrawnVersion>,
    ) -> Result<(), RotateError> {
        let (keyring, clock) = (&self.name, shared.clock.clone());
        match step {
            Step::Generate => drawn.map_or(Ok(()), |drawn| {
                shared.catalogue.generate(keyring, drawn).map(drop)
            }),
            Step::Admit(number) => {
                let part = self.first_part();
                let usage = VersionUsage {
                    number: *number,
                    reserved: part,
                    sealed: Volume::default(),
                    lanes: 0,
                };
                let served = shared.subjects(keyring);
                shared.catalogue.admit(keyring, (usage, served), &clock)?;
                self.extend(shared, *number, part);
                Ok(())
            }
            Step::Activate(number) => shared
                .catalogue
                .activate(keyring, *number, &clock)
                .map(drop),
            Step::Restore(number, state) => {
                // Before the write, because that may fail and take effect all the same. Until then the record prevents sealing.
                if let Some(kid) = self.kid(shared, *number) {
                    shared.loaded.release(kid, Halt::Ordered);
                    shared.drainers.broadcast(DrainMessage::Restored(kid));
                }
                shared.catalogue.set_state(keyring, *number, *state, &clock)
            }
            Step::Archive(number) => {
                self.settle(shared, *number)?;
                let set = (*number, State::Archived);
                shared.catalogue.set_state(keyring, set.0, set.1, &clock)?;
                if let Some(kid) = self.kid(shared, *number) {
                    shared.loaded.touch(kid);
                }
                Ok(())
            }
            Step::Propose(number, proposal) => {
                shared.catalogue.record_proposal(keyring, *number, proposal)
            }
            Step::Discard(number)
            | Step::Destroy(number)
            | Step::Compromise(number)
            | Step::Suspend(number) => {
                let state = step.enters().unwrap_or(State::Suspended);
                shared.catalogue.set_state(keyring, *number, state, &clock)
            }
            Step::Distribute(_) | Step::Challenge(..) | Step::Inspect(_) => Ok(()),
        }
    }

    /// Rotation, part 2: this gateway loads the version; others of a fleet read it from the catalogue.
    fn distribute(&self, shared: &mut Shared, number: u32) -> Result<(), Failure> {
        let held = shared
            .loaded
            .load_prepared(&shared.catalogue, &self.name, number);
        held.map(drop).map_err(|error| Failure::of(&error))
    }

    /// Rotation, part 3: members prove possession of the secret, for this record and a fresh challenge.
    fn challenge(&self, shared: &Shared, number: u32, members: &[Member]) -> Vec<Event> {
        let Some(record) = self.record(shared) else {
            return Vec::new();
        };
        let held = record
            .version(number)
            .and_then(|version| shared.loaded.get(version.kid));
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
            let proof = shared.fleet.prove(&claim, number, key)?;
            key.verify(&claim, &proof).ok()?;
            Some(Event::Proven(member.clone(), number))
        });
        claims.collect()
    }

    /// Stops draining processes from sealing under a version, before its record says so.
    pub(super) fn stop_drainers(&self, shared: &mut Shared, step: &Step) {
        if let Some(kid) = self.stops(shared, step) {
            let Shared {
                drainers, loaded, ..
            } = shared;
            drainers.stop_and_wait(kid, loaded);
        }
    }

    /// The version that an action stops from sealing.
    fn stops(&self, shared: &Shared, step: &Step) -> Option<Kid> {
        let record = self.record(shared)?;
        let version = match step {
            Step::Activate(_) => record.active(),
            Step::Compromise(number) | Step::Suspend(number) => record.version(*number),
            Step::Generate
            | Step::Admit(_)
            | Step::Distribute(_)
            | Step::Challenge(..)
            | Step::Discard(_)
            | Step::Archive(_)
            | Step::Inspect(_)
            | Step::Propose(..)
            | Step::Destroy(_)
            | Step::Restore(..) => None,
        };
        let version = version.filter(|version| version.state == State::Active);
        version.map(|version| version.kid)
    }

    /// The audit entry of a step; `None` for those that change no record.
    fn statement(
        &self,
        shared: &Shared,
        step: &Step,
        made: Option<&Version>,
        reason: &Reason,
    ) -> Option<Act> {
        let what = match step {
            Step::Generate => Audited::Generate,
            Step::Admit(_) => Audited::Admit,
            Step::Activate(_) => Audited::Activate,
            Step::Discard(_) => Audited::Abort,
            Step::Archive(_) => Audited::Archive,
            Step::Propose(..) => Audited::DestroyRequested,
            Step::Destroy(_) => Audited::Destroy,
            Step::Compromise(_) => Audited::Compromise,
            Step::Suspend(_) => Audited::Suspend,
            Step::Restore(..) => Audited::Resume,
            Step::Distribute(_) | Step::Challenge(..) | Step::Inspect(_) => return None,
        };
        let mut reason = reason.clone();
        reason.basis.get_or_insert(DestroyBasis::Forced);
        let version = made.or_else(|| self.version(shared, step.number()?));
        let name = Some(self.name.as_str().into());
        let mut act = act(what, reason, name, shared.rule(&self.name), version);
        if matches!(step, Step::Restore(_, State::Active)) {
            act.intended_use = IntendedUse::SealAndOpen;
        }
        act.expiry = self.engine.expiry(step.number(), shared.now());
        Some(act)
    }

    fn log_event(
        &self,
        shared: &Shared,
        step: &Step,
        made: Option<&Version>,
        reason: &Reason,
        failed: Option<&Failure>,
    ) {
        let known = || self.version(shared, step.number()?);
        let version = made.or_else(known);
        let version = version.map(|version| version.label.to_string());
        let version = version.unwrap_or_default();
        let (keyring, step, why) = (&self.name, step.word(), reason.why.printable());
        let trigger = reason.trigger.word();
        match failed {
            None => tracing::info!(%keyring, version, deed = step, trigger, why, "key event"),
            Some(error) => {
                tracing::error!(%keyring, version, deed = step, trigger, why, error = %error.with_help(), "key event failed");
            }
        }
    }
}

impl FailedWrite {
    /// As the audit log records it.
    fn outcome(&self) -> Outcome {
        let error = self.error.with_help();
        if self.known {
            Outcome::Failed(error.into())
        } else {
            Outcome::Unknown(format!("{error}; whether it took effect cannot be read yet").into())
        }
    }
}
