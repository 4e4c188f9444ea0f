//! Carries out the actions of the engine on catalogue, snapshot and audit log.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::audit::{Action as Audited, IntendedUse, Outcome, RecordRef};
use crate::catalogue::{Account, Drawn, RotateError, SetError, State, Version};
use crate::control::{Answer, Question};
use crate::envelope::{Claim, Used};
use crate::fault::Faulty;
use crate::policy::{KeyringName, Pattern, Rule};
use crate::printable::Count;
use crate::rotation::because::Because;
use crate::rotation::drain::Said;
use crate::rotation::engine::{Action, Deed, Event, Failure, Member, Verdict};
use crate::rotation::report::{Kept, KeyringStatus};
use crate::rotation::seams::Inspection;
use crate::rotation::{OrderError, Wish};

use super::Driver;
use super::journal::Statement;
use super::loaded::Halt;

/// A question to JetStream that is under way.
pub(super) type Inquiry = Pin<Box<dyn Future<Output = Told> + Send>>;

/// The answer of JetStream about a version, and what it is for.
pub(super) struct Told {
    pub(super) index: usize,
    pub(super) number: u32,
    pub(super) stored: Answer,
    pub(super) then: Then,
}

/// A destruction that an operator has ordered.
pub(super) struct Wanted {
    pub(super) wish: Wish,
    pub(super) because: Because,
}

/// A write that failed.
struct Undone {
    error: RotateError,
    /// Whether it certainly has not taken effect.
    known: bool,
}

/// What a question to JetStream is for.
pub(super) enum Then {
    /// The engine, before it destroys the version.
    Engine,
    /// An order to destroy the version if nothing needs it.
    Destroy(Wanted, oneshot::Sender<Result<KeyringStatus, OrderError>>),
    /// A query why the version is kept.
    Why(oneshot::Sender<Result<Kept, OrderError>>),
}

impl Driver {
    /// Carries out an action; yields the events that follow at once.
    pub(super) fn perform(&mut self, index: usize, action: Action) -> Vec<Event> {
        let Action { deed, because } = action;
        match deed {
            Deed::Challenge(number, members) => {
                self.challenged(index);
                self.challenge(index, number, &members)
            }
            Deed::Inspect(number) => self.inspect(index, number),
            Deed::Distribute(_)
            | Deed::Generate
            | Deed::Admit(_)
            | Deed::Activate(_)
            | Deed::Discard(_)
            | Deed::Archive(_)
            | Deed::Propose(..)
            | Deed::Destroy(_)
            | Deed::Compromise(_)
            | Deed::Suspend(_)
            | Deed::Restore(..) => {
                let begun = self.begin(index, &deed);
                let outcome = if let Deed::Distribute(number) = deed {
                    let given = self.distribute(index, number);
                    // An operator may have repaired a record meanwhile. A failed transition reads by itself.
                    given.inspect_err(|_failed| self.read_anew())
                } else {
                    self.transition(index, &deed, &because)
                };
                let ended = outcome.as_ref().copied();
                self.ends(index, (&deed, &because), &begun, ended);
                vec![self.ended(index, outcome)]
            }
        }
    }

    fn ended(&self, index: usize, outcome: Result<(), Failure>) -> Event {
        let keyring = self.rings.get(index).map(|driven| driven.keyring.clone());
        let lives = keyring.map(|keyring| self.lives(&keyring));
        Event::Ended(outcome, lives.unwrap_or_default())
    }

    /// Reads the catalogue after a failure: a write may have taken effect all the same, and then counts for the message path,
    /// too. Repeated at every tick until it succeeds.
    pub(super) fn read_anew(&mut self) {
        let read = self.catalogue.refresh();
        self.in_doubt = read.is_err();
        self.watch_for_rollback(&read);
        let now = self.clock.instant();
        if let Err(error) = read
            && let Some(left_out) = self.doubts.admit(now)
        {
            tracing::warn!(%error, left_out, "the catalogue cannot be read again; going on with what was read before");
        }
        // Outcomes in doubt are resolved for each keyring by itself: an unreadable record must not block the others.
        for index in 0..self.rings.len() {
            if let Err(error) = self.must_know(index) {
                tracing::debug!(%error, "what came of a key event is not known yet");
            }
        }
        self.install();
    }

    /// One transition of a record: intent in the audit log, compare-and-set, outcome, new snapshot.
    fn transition(&mut self, index: usize, deed: &Deed, because: &Because) -> Result<(), Failure> {
        self.must_know(index)?;
        if self.is_so(index, deed) {
            return Ok(());
        }
        let drawn = self.draw(index, deed).map_err(|error| failure(&error))?;
        let made = drawn.as_ref().map(Drawn::version);
        // The wall clock may have been set since the last action.
        self.look_at_clock();
        let statement = self.statement((index, deed), made, because);
        let act = statement.map(Statement::act);
        let wall = self.wall();
        let pending = act.map(|act| self.journal.begin(act, wall)).transpose();
        let pending = pending.map_err(|error| failure(&error))?;
        self.catalogue.audited(self.journal.head());
        self.stop_elsewhere(index, deed);
        self.unsaid.take_if(|unsaid| unsaid == because);
        let mut outcome = self.attempt((index, deed), drawn.as_ref());
        let full = |undone: &Undone| undone.known && undone.error.is_full();
        if deed.is_urgent() && outcome.as_ref().is_err_and(full) {
            self.journal.release(wall);
            outcome = self.attempt((index, deed), drawn.as_ref());
        }
        if let Some(pending) = pending {
            self.look_at_clock();
            let completed = self.wall();
            let record = outcome.is_ok().then(|| self.record_now(index)).flatten();
            let said = outcome
                .as_ref()
                .map_or_else(Undone::said, |()| Outcome::Done);
            let exposure = self.exposed(index, deed);
            self.journal
                .finish(pending.led_to(record).exposing(exposure), said, completed);
        }
        let kid = deed.number().and_then(|number| self.kid(index, number));
        self.drop_marks(|marked| Some(marked) == kid);
        self.install();
        self.drainers.tell(Said::Look);
        let outcome = outcome.map_err(|undone| failure(&undone.error));
        self.tell((index, deed), made, because, outcome.as_ref().err());
        outcome
    }

    /// The present record, as the audit log names it.
    fn record_now(&self, index: usize) -> Option<RecordRef> {
        self.catalogue.reference(&self.rings.get(index)?.keyring)
    }

    /// Resolves an unknown outcome before anything more is done to a keyring.
    fn must_know(&mut self, index: usize) -> Result<(), Failure> {
        let keyring = self.rings.get(index).map(|driven| driven.keyring.clone());
        let Some(keyring) = keyring.filter(|keyring| self.journal.doubts(keyring)) else {
            return Ok(());
        };
        let read = self.catalogue.refresh_one(&keyring);
        // The record may have been read although something after that failed.
        self.install();
        read.map_err(|error| failure(&RotateError::from(SetError::from(error))))?;
        let wall = self.wall();
        self.journal.settle_by(&self.catalogue, &keyring, wall);
        Ok(())
    }

    /// Whether the record shows the step as done, by a write that failed and took effect; the engine does not know yet.
    fn is_so(&self, index: usize, deed: &Deed) -> bool {
        let Some((keyring, ring)) = self.ring(index) else {
            return false;
        };
        let (known, lives) = (ring.lives(), self.lives(keyring));
        if known == lives {
            return false;
        }
        if *deed == Deed::Generate {
            lives.len() > known.len()
        } else {
            self.took_effect(index, deed, None)
        }
    }

    /// Generates the secret of a new version before the intent, which names it.
    fn draw(&self, index: usize, deed: &Deed) -> Result<Option<Drawn>, RotateError> {
        let Some((keyring, ring)) = self.ring(index).filter(|_ring| *deed == Deed::Generate) else {
            return Ok(None);
        };
        let drawn = self
            .catalogue
            .draw(keyring, ring.terms().suite, &self.clock);
        drawn.map(Some)
    }

    /// Writes the record. A write that failed and took effect all the same counts as done.
    fn attempt(
        &mut self,
        (index, deed): (usize, &Deed),
        drawn: Option<&Drawn>,
    ) -> Result<(), Undone> {
        let Err(error) = self.write(index, deed, drawn) else {
            return Ok(());
        };
        self.read_anew();
        let keyring = self.rings.get(index).map(|driven| driven.keyring.clone());
        let read = |keyring: KeyringName| self.catalogue.refresh_one(&keyring).is_ok();
        let known = !self.in_doubt || !error.is_in_doubt() || keyring.is_some_and(read);
        if self.took_effect(index, deed, drawn) {
            return Ok(());
        }
        Err(Undone { error, known })
    }

    fn took_effect(&self, index: usize, deed: &Deed, drawn: Option<&Drawn>) -> bool {
        let Some(record) = self.record(index) else {
            return false;
        };
        if let Some(drawn) = drawn {
            let made = drawn.version();
            return record
                .version(made.number)
                .is_some_and(|version| version.kid == made.kid);
        }
        let version = deed.number().and_then(|number| record.version(number));
        version.is_some_and(|version| {
            if let Deed::Propose(_, proposal) = deed {
                version.proposed.as_ref() == Some(proposal)
            } else {
                Some(version.state) == deed.enters()
            }
        })
    }

    /// The compare-and-set of the record.
    fn write(
        &mut self,
        index: usize,
        deed: &Deed,
        drawn: Option<&Drawn>,
    ) -> Result<(), RotateError> {
        let Some(keyring) = self.rings.get(index).map(|driven| driven.keyring.clone()) else {
            return Ok(());
        };
        let clock = self.clock.clone();
        match deed {
            Deed::Generate => drawn.map_or(Ok(()), |drawn| {
                self.catalogue.generate(&keyring, drawn).map(drop)
            }),
            Deed::Admit(number) => {
                let part = self.first_part(index);
                let account = Account {
                    number: *number,
                    reserved: part,
                    sealed: Used::default(),
                    lanes: 0,
                };
                let served = self.subjects(&keyring);
                self.catalogue.admit(&keyring, (account, served), &clock)?;
                self.extend(index, *number, part);
                Ok(())
            }
            Deed::Activate(number) => self.catalogue.activate(&keyring, *number, &clock).map(drop),
            Deed::Restore(number, state) => {
                // Before the write, because that may fail and take effect all the same. Until then the record prevents sealing.
                if let Some(kid) = self.kid(index, *number) {
                    self.loaded.release(kid, Halt::Ordered);
                    self.drainers.tell(Said::Restored(kid));
                }
                self.catalogue.set_state(&keyring, *number, *state, &clock)
            }
            Deed::Archive(number) => {
                self.settle(index, *number)?;
                let set = (*number, State::Archived);
                self.catalogue.set_state(&keyring, set.0, set.1, &clock)?;
                if let Some(kid) = self.kid(index, *number) {
                    self.loaded.remember(kid);
                }
                Ok(())
            }
            Deed::Propose(number, proposal) => self.catalogue.propose(&keyring, *number, proposal),
            Deed::Discard(number)
            | Deed::Destroy(number)
            | Deed::Compromise(number)
            | Deed::Suspend(number) => {
                let state = deed.enters().unwrap_or(State::Suspended);
                self.catalogue.set_state(&keyring, *number, state, &clock)
            }
            Deed::Distribute(_) | Deed::Challenge(..) | Deed::Inspect(_) => Ok(()),
        }
    }

    /// Rotation, part 2: this gateway loads the version; others of a fleet read it from the catalogue.
    fn distribute(&mut self, index: usize, number: u32) -> Result<(), Failure> {
        let Some(keyring) = self.rings.get(index).map(|driven| driven.keyring.clone()) else {
            return Ok(());
        };
        let held = self.loaded.hold_prepared(&self.catalogue, &keyring, number);
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
        if let Some(recent) = self.opened_of_late(index, number) {
            return vec![Event::Inspected(number, Verdict::Held(recent))];
        }
        match self.inquire(index, number) {
            None => Vec::new(),
            Some(Inspection::Answered(answer)) => {
                vec![Event::Inspected(number, verdict(&answer))]
            }
            Some(Inspection::Later(answer)) => {
                self.await_answer((index, number), Then::Engine, answer);
                Vec::new()
            }
        }
    }

    /// Queues a question for the event loop.
    pub(super) fn await_answer(
        &self,
        (index, number): (usize, u32),
        then: Then,
        answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    ) {
        let inquiry = async move {
            Told {
                index,
                number,
                stored: answer.await,
                then,
            }
        };
        self.inquiries.push(Box::pin(inquiry));
    }

    /// The question to JetStream about a version.
    pub(super) fn question(&self, index: usize, number: u32) -> Option<Question> {
        let (keyring, _ring) = self.ring(index)?;
        let version = self.record(index)?.version(number)?;
        let id = self.policy.by_name(keyring.as_str())?;
        let rule = self.policy.keyring(id)?;
        let (activated, deactivated) = self.now().span(version);
        Some(Question {
            keyring: keyring.clone(),
            subjects: reach(rule, version),
            kid: version.kid,
            activated,
            deactivated,
        })
    }

    /// The audit entry of a step; `None` for those that change no record.
    fn statement<'d>(
        &'d self,
        (index, deed): (usize, &Deed),
        made: Option<&'d Version>,
        because: &Because,
    ) -> Option<Statement<'d>> {
        let (what, intended_use) = match deed {
            Deed::Generate => (Audited::Generate, IntendedUse::Nothing),
            Deed::Admit(_) => (Audited::Admit, IntendedUse::Open),
            Deed::Activate(_) => (Audited::Activate, IntendedUse::SealAndOpen),
            Deed::Discard(_) => (Audited::Abort, IntendedUse::Nothing),
            Deed::Archive(_) => (Audited::Archive, IntendedUse::Open),
            Deed::Propose(..) => (Audited::DestroyRequested, IntendedUse::Nothing),
            Deed::Destroy(_) => (Audited::Destroy, IntendedUse::Nothing),
            Deed::Compromise(_) => (Audited::Compromise, IntendedUse::Nothing),
            Deed::Suspend(_) => (Audited::Suspend, IntendedUse::Nothing),
            Deed::Restore(_, State::Active) => (Audited::Resume, IntendedUse::SealAndOpen),
            Deed::Restore(..) => (Audited::Resume, IntendedUse::Open),
            Deed::Distribute(_) | Deed::Challenge(..) | Deed::Inspect(_) => return None,
        };
        let (keyring, ring) = self.ring(index)?;
        let known = || self.record(index)?.version(deed.number()?);
        Some(Statement {
            what,
            because: because.clone(),
            keyring,
            rule: self
                .policy
                .by_name(keyring.as_str())
                .and_then(|id| self.policy.keyring(id)),
            version: made.or_else(known),
            intended_use,
            expiry: ring.expiry(deed.number(), self.now()),
        })
    }

    fn tell(
        &self,
        (index, deed): (usize, &Deed),
        made: Option<&Version>,
        because: &Because,
        failed: Option<&Failure>,
    ) {
        let Some((keyring, _ring)) = self.ring(index) else {
            return;
        };
        let known = || self.record(index)?.version(deed.number()?);
        let version = made.or_else(known);
        let version = version.map(|version| version.label.to_string());
        let version = version.unwrap_or_default();
        let (deed, why) = (deed.word(), because.why.printable());
        let trigger = because.trigger.word();
        match failed {
            None => tracing::info!(%keyring, version, deed, trigger, why, "key event"),
            Some(error) => {
                tracing::error!(%keyring, version, deed, trigger, why, %error, "key event failed");
            }
        }
    }
}

impl Undone {
    /// As the audit log records it.
    fn said(&self) -> Outcome {
        let error = &self.error;
        if self.known {
            Outcome::Failed(error.to_string().into())
        } else {
            Outcome::Unknown(format!("{error}; whether it took effect cannot be read yet").into())
        }
    }
}

/// Every pattern that the keyring serves, and those that it served while the version sealed.
fn reach(rule: &Rule, version: &Version) -> Vec<Pattern> {
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

pub(super) fn verdict(answer: &Answer) -> Verdict {
    match answer {
        Answer::Clear { streams } => {
            let streams = Count(*streams, "stream");
            Verdict::Clear(format!(
                "JetStream holds nothing that needs it, in {streams}"
            ))
        }
        Answer::Held(holders) => {
            let held = holders.iter().map(|holder| {
                format!(
                    "stream {} holds message {} on {}, stored {}",
                    holder.stream, holder.sequence, holder.subject, holder.stored
                )
            });
            // No semicolon: it separates the cause from the remedy.
            Verdict::Held(held.collect::<Vec<_>>().join(", and "))
        }
        Answer::Unknown(why) => Verdict::Held(format!(
            "it cannot be proven that nothing stored needs it: {why}"
        )),
    }
}
