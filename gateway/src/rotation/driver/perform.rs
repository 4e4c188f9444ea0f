//! Carries out the actions of the engine on catalogue, snapshot and audit log, each of them when what it asked for has come.

use crate::audit::{Act, Action as Audited, IntendedUse, Outcome, PendingEvent};
use crate::catalogue::{
    DrawnVersion, LoadError, RecordChange, RotateError, State, Version, VersionUsage,
    WrappedVersion,
};
use crate::envelope::{Claim, Kid, Volume};
use crate::fault::{Failure, Faulty};
use crate::fleet::Member;
use crate::rotation::drain::DrainMessage;
use crate::rotation::engine::{Action, Event, Step};
use crate::rotation::reason::{DestroyBasis, Reason};

use super::journal::act;
use super::keyring::{Actor, ManagedKeyring};
use super::loaded::{Halt, KeyLoad, load_key};
use super::shared::Shared;

/// A write that failed.
struct FailedWrite {
    error: RotateError,
    /// Whether it certainly has not taken effect.
    known: bool,
}

impl Actor {
    /// Carries out an action; yields the events that follow at once.
    pub(super) async fn perform(&self, action: Action) -> Vec<Event> {
        let Action { step, reason } = action;
        match step {
            Step::Challenge(number, members) => self.with(|keyring, shared| {
                keyring
                    .challenged
                    .get_or_insert_with(|| shared.clock.instant());
                keyring.challenge(shared, number, &members)
            }),
            Step::Inspect(number) => self.inspect(number),
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
                let begun = self.with(|keyring, shared| keyring.start_timer(shared, &step));
                let outcome = if let Step::Distribute(number) = step {
                    self.distribute(number).await
                } else {
                    self.transition(&step, &reason).await
                };
                self.with(|keyring, shared| {
                    let ended = outcome.as_ref().copied();
                    keyring.record_outcome(shared, (&step, &reason), &begun, ended);
                    vec![Event::Ended(outcome, shared.versions(&keyring.name))]
                })
            }
        }
    }

    /// Rotation, part 2: this gateway loads the version; others of a fleet read it from the catalogue.
    async fn distribute(&self, number: u32) -> Result<(), Failure> {
        let loaded = match self.with(|keyring, shared| keyring.prepare(shared, number)) {
            Some(load) => {
                let (kid, key) = load.await;
                self.with(|_keyring, shared| shared.loaded.take_key(&shared.view, kid, key))
            }
            None => Ok(()),
        };
        if loaded.is_err() {
            // An operator may have repaired a record meanwhile. A failed transition reads by itself.
            self.context.refresh().await;
        }
        loaded.map_err(|error| Failure::of(&error))
    }

    /// One transition of a record: intent in the audit log, secret, compare-and-set, outcome, new snapshot.
    async fn transition(&self, step: &Step, reason: &Reason) -> Result<(), Failure> {
        self.context.resolve_outcome(&self.name()).await?;
        if self.with(|keyring, shared| keyring.is_already_done(shared, step)) {
            return Ok(());
        }
        let intent = self.with(|keyring, shared| keyring.intend(shared, step, reason))?;
        let made = self.wrap(&intent).await;
        let turn = self.write_turn().await;
        if let Some(kid) = intent.stops {
            self.context.stop_drainers(kid).await;
        }
        let mut outcome = Box::pin(self.attempt(&intent, made)).await;
        let full = |undone: &FailedWrite| undone.known && undone.error.is_full();
        if step.is_urgent() && outcome.as_ref().is_err_and(full) {
            self.with(|_keyring, shared| shared.journal.release(shared.wall()));
            outcome = Box::pin(self.attempt(&intent, Ok(None))).await;
        }
        let outcome = self.with(|keyring, shared| keyring.conclude(shared, intent, outcome));
        drop(turn);
        outcome
    }

    /// Has the secret of a new version wrapped. Reservations go on meanwhile.
    async fn wrap(&self, intent: &Intent<'_>) -> Result<Option<WrappedVersion>, RotateError> {
        let Some(drawn) = &intent.drawn else {
            return Ok(None);
        };
        let custodian = self.with(|_keyring, shared| shared.view.custodian());
        drawn.wrap(&self.name(), &*custodian).await.map(Some)
    }

    /// Writes the record. A write that failed and took effect all the same counts as done.
    async fn attempt(
        &self,
        intent: &Intent<'_>,
        made: Result<Option<WrappedVersion>, RotateError>,
    ) -> Result<(), FailedWrite> {
        let Err(error) = self.write(intent.step, made).await else {
            return Ok(());
        };
        self.context.refresh().await;
        let known = !self.with(|_keyring, shared| shared.in_doubt)
            || !error.is_in_doubt()
            || self.read_record().await.is_ok();
        if self.with(|keyring, shared| keyring.took_effect(shared, intent)) {
            return Ok(());
        }
        Err(FailedWrite { error, known })
    }

    /// Reads this keyring's record again.
    async fn read_record(&self) -> Result<(), LoadError> {
        let which = Some(self.name());
        let read = self
            .with(|_keyring, shared| shared.records.read(which))
            .await;
        self.with(|_keyring, shared| shared.view.adopt(read))
    }

    /// The compare-and-set of the record.
    async fn write(
        &self,
        step: &Step,
        made: Result<Option<WrappedVersion>, RotateError>,
    ) -> Result<(), RotateError> {
        let made = made?;
        if let Step::Archive(number) = step {
            self.settle(*number).await?;
        }
        let change = self.with(|keyring, shared| keyring.change(shared, step, made))?;
        if let Some(change) = change {
            self.set(change).await?;
            self.with(|keyring, shared| keyring.written(shared, step));
        }
        Ok(())
    }

    /// Sets the record. The caller has the turn to write it.
    pub(super) async fn set(&self, change: RecordChange) -> Result<(), RotateError> {
        let set = self
            .with(|_keyring, shared| shared.records.set(change))
            .await;
        Ok(self.with(|_keyring, shared| {
            let set = shared.view.adopt(set);
            // A failure may have shown that an earlier write took effect.
            set.inspect_err(|_error| shared.install())
        })?)
    }
}

/// What is about to be done to a record, and is in the audit log.
struct Intent<'a> {
    step: &'a Step,
    reason: &'a Reason,
    /// The version to be made.
    drawn: Option<DrawnVersion>,
    /// The version that is to stop sealing.
    stops: Option<Kid>,
    /// The open line of the audit log; `None` for a step that changes no record.
    pending: Option<PendingEvent>,
}

impl ManagedKeyring {
    /// Draws what is to be made, and writes the intent.
    fn intend<'a>(
        &mut self,
        shared: &mut Shared,
        step: &'a Step,
        reason: &'a Reason,
    ) -> Result<Box<Intent<'a>>, Failure> {
        let drawn = self.draw(shared, step);
        let drawn = drawn.map_err(|error| Failure::of(&error))?;
        let made = drawn.as_ref().map(DrawnVersion::version);
        // The wall clock may have been set since the last action.
        shared.check_wall_clock();
        let act = self.statement(shared, step, made, reason);
        let wall = shared.wall();
        let pending = act.map(|act| shared.journal.begin(act, wall)).transpose();
        let pending = pending.map_err(|error| Failure::of(&error))?;
        shared.view.set_audit_head(shared.journal.head());
        self.unaudited.take_if(|unaudited| unaudited == reason);
        Ok(Box::new(Intent {
            stops: self.stops(shared, step),
            step,
            reason,
            drawn,
            pending,
        }))
    }

    /// Writes the outcome, and puts the record in force.
    fn conclude(
        &self,
        shared: &mut Shared,
        intent: Box<Intent<'_>>,
        outcome: Result<(), FailedWrite>,
    ) -> Result<(), Failure> {
        let step = intent.step;
        if let Some(pending) = intent.pending {
            shared.check_wall_clock();
            let completed = shared.wall();
            let record = outcome
                .is_ok()
                .then(|| shared.view.reference(&self.name))
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
        if let Some(kid) = intent.stops {
            shared.drainers.end_stop(kid);
        }
        shared.drainers.announce_change();
        let outcome = outcome.map_err(|undone| Failure::of(&undone.error));
        let made = intent.drawn.as_ref().map(DrawnVersion::version);
        self.log_event(shared, step, made, intent.reason, outcome.as_ref().err());
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
            self.shows(shared, step)
        }
    }

    /// Generates the secret of a new version before the intent, which names it.
    fn draw(&self, shared: &Shared, step: &Step) -> Result<Option<DrawnVersion>, RotateError> {
        if *step != Step::Generate {
            return Ok(None);
        }
        let drawn = shared
            .view
            .draw(&self.name, self.engine.terms().suite, &shared.clock);
        drawn.map(Some)
    }

    fn took_effect(&self, shared: &Shared, intent: &Intent<'_>) -> bool {
        if let Some(drawn) = &intent.drawn {
            let made = drawn.version();
            return self.kid(shared, made.number) == Some(made.kid);
        }
        self.shows(shared, intent.step)
    }

    /// Whether the record has the version as a step leaves it.
    fn shows(&self, shared: &Shared, step: &Step) -> bool {
        let version = step
            .number()
            .and_then(|number| self.version(shared, number));
        version.is_some_and(|version| {
            if let Step::Propose(_, proposal) = step {
                version.proposed.as_ref() == Some(proposal)
            } else {
                Some(version.state) == step.enters()
            }
        })
    }

    /// The change of the record that a step makes; `None` for one that changes none.
    fn change(
        &self,
        shared: &mut Shared,
        step: &Step,
        made: Option<WrappedVersion>,
    ) -> Result<Option<RecordChange>, RotateError> {
        let (keyring, clock) = (&self.name, shared.clock.clone());
        let view = &shared.view;
        Ok(Some(match step {
            Step::Generate => return Ok(made.map(|made| view.generated(keyring, made))),
            Step::Admit(number) => {
                let usage = VersionUsage {
                    number: *number,
                    reserved: self.first_part(),
                    sealed: Volume::default(),
                    lanes: 0,
                };
                view.admitted(keyring, (usage, shared.subjects(keyring)), &clock)?
            }
            Step::Activate(number) => view.activated(keyring, *number, &clock)?,
            Step::Restore(number, state) => {
                // Before the write, because that may fail and take effect all the same. Until then the record prevents sealing.
                // It stays halted where a revocation or suspension has been ordered meanwhile.
                let kid = self.kid(shared, *number);
                if let Some(kid) = kid.filter(|_kid| !self.stop_orders.contains(number)) {
                    shared.loaded.release(kid, Halt::Ordered);
                    shared.drainers.broadcast(DrainMessage::Restored(kid));
                }
                shared.view.in_state(keyring, *number, *state, &clock)?
            }
            Step::Archive(number) => view.in_state(keyring, *number, State::Archived, &clock)?,
            Step::Propose(number, proposal) => view.proposed(keyring, *number, proposal)?,
            Step::Discard(number)
            | Step::Destroy(number)
            | Step::Compromise(number)
            | Step::Suspend(number) => {
                let state = step.enters().unwrap_or(State::Suspended);
                view.in_state(keyring, *number, state, &clock)?
            }
            Step::Distribute(_) | Step::Challenge(..) | Step::Inspect(_) => return Ok(None),
        }))
    }

    /// What follows from a record that was written.
    fn written(&self, shared: &mut Shared, step: &Step) {
        match step {
            Step::Admit(number) => {
                // As it was recorded: what the first part is may have changed since.
                let admitted = self.version(shared, *number);
                let part = admitted.map_or_else(Volume::default, |version| version.reserved);
                self.extend(shared, *number, part);
            }
            Step::Archive(number) => {
                if let Some(kid) = self.kid(shared, *number) {
                    shared.loaded.touch(kid);
                }
            }
            Step::Generate
            | Step::Distribute(_)
            | Step::Challenge(..)
            | Step::Activate(_)
            | Step::Discard(_)
            | Step::Inspect(_)
            | Step::Propose(..)
            | Step::Destroy(_)
            | Step::Compromise(_)
            | Step::Suspend(_)
            | Step::Restore(..) => {}
        }
    }

    /// The load of a successor before its activation, which then cannot fail because its secret does not unwrap.
    fn prepare(&self, shared: &Shared, number: u32) -> Option<KeyLoad> {
        let version = self.version(shared, number)?;
        let is_loaded = shared.loaded.get(version.kid).is_some();
        (!is_loaded).then(|| load_key(&shared.view, &self.name, version))
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

    /// The version that an action stops from sealing.
    pub(super) fn stops(&self, shared: &Shared, step: &Step) -> Option<Kid> {
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
        let (keyring, step, why) = (&self.name, <&str>::from(step), reason.why.printable());
        let trigger = <&str>::from(reason.trigger);
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
