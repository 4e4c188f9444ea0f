//! Applies events to the state of a keyring.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::Trigger;
use crate::catalogue::State;
use crate::rotation::because::Because;

use super::life::{Life, Member, Now};
use super::order::{Asked, Order};
use super::ring::{FIRST_LEAD, FIRST_PAUSE, Failure, Rest, Ring, Succession, Verdict, Work};
use super::usage::Report;
use super::{Deed, Event};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause between two questions about one version.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

impl Ring {
    pub(super) fn take(&mut self, now: Now, event: Event) {
        match event {
            Event::Tick => {}
            Event::Usage {
                number,
                sealed,
                used,
                failed_opens,
                supply,
            } => {
                let report = Report {
                    number,
                    sealed,
                    used,
                    failed_opens,
                    supply,
                };
                self.usage.report(now, report);
            }
            Event::Joined(member) => {
                self.members.insert(member);
            }
            Event::Left(member) => {
                self.members.remove(&member);
            }
            Event::Proven(member, number) => self.proven(member, number),
            Event::Asked(asked) => self.ask(now, asked),
            Event::Withdrawn(Order::Rotate) => self.withdraw_rotation(),
            Event::Withdrawn(order) => {
                let stays = |asked: &Asked| asked.order != order || asked.takes_away();
                self.orders.retain(stays);
            }
            Event::LeftOver(number) => self.leftover = Some(number),
            Event::Ended(outcome, lives) => self.ended(now, outcome, lives),
            Event::Record(lives) => self.learn(lives),
            Event::Inspected(number, verdict) => self.inspected(now, number, verdict),
            Event::Terms(terms) => self.terms = terms,
        }
    }

    fn proven(&mut self, member: Member, number: u32) {
        if let Some(succession) = &mut self.succession
            && succession.distributed == Some(number)
        {
            succession.proven.insert(member);
        }
    }

    fn ask(&mut self, now: Now, asked: Asked) {
        if asked.takes_away() {
            // A revocation is not undone by what was asked for before it.
            let undoes = |before: &Asked| {
                matches!(before.order, Order::Restore(_))
                    && before.order.number() == asked.order.number()
            };
            self.orders.retain(|before| !undoes(before));
        }
        match asked.order {
            Order::Rotate => self.succeed(now, asked.because),
            Order::Compromise(_)
            | Order::Suspend(_)
            | Order::Restore(_)
            | Order::Archive(_)
            | Order::Destroy(_)
            | Order::Propose(..)
            | Order::Approve(_)
            | Order::Abort => self.orders.push_back(asked),
        }
        // An order is tried at once: the operator may have removed what made the last attempt fail.
        if let Work::Resting(_) = self.work {
            self.work = Work::Idle;
        }
    }

    /// Begins a rotation, or adds a reason to the one under way.
    pub(super) fn succeed(&mut self, now: Now, because: Because) {
        self.leftover = None;
        match &mut self.succession {
            Some(succession) => succession.reasons.push(because),
            None => {
                self.succession = Some(Succession {
                    reasons: vec![because],
                    begun: now.elapsed,
                    distributed: None,
                    proven: BTreeSet::new(),
                    challenged: None,
                    at: None,
                });
            }
        }
    }

    /// A rotation of which an operator was told that it failed must not go on, unless the gateway has a reason of its own or
    /// there is no active version.
    fn withdraw_rotation(&mut self) {
        if self.active().is_none() {
            return;
        }
        let Some(succession) = &mut self.succession else {
            return;
        };
        succession.reasons.retain(|because| !is_ordered(because));
        if !succession.reasons.is_empty() {
            return;
        }
        self.succession = None;
        self.leftover = self.successor().map(|life| life.number);
        // Its successor is discarded at once, if the disk allows it.
        if self.leftover.is_some() && matches!(self.work, Work::Resting(_)) {
            self.work = Work::Idle;
        }
    }

    fn learn(&mut self, lives: Vec<Life>) {
        self.lives = lives;
        self.gates.retain(|number, _gate| {
            let life = self.lives.iter().find(|life| life.number == *number);
            life.is_some_and(|life| life.state == State::Archived)
        });
    }

    fn ended(&mut self, now: Now, outcome: Result<(), Failure>, lives: Vec<Life>) {
        self.learn(lives);
        let work = std::mem::replace(&mut self.work, Work::Idle);
        let Work::Doing(deed) = work else {
            self.work = work;
            return;
        };
        match outcome {
            Ok(()) => self.done(now, &deed),
            Err(failure) => self.failed(now, failure),
        }
    }

    fn done(&mut self, now: Now, deed: &Deed) {
        self.pause = FIRST_PAUSE;
        self.ends_first = false;
        match deed {
            Deed::Distribute(number) => {
                if let Some(succession) = &mut self.succession {
                    succession.given(*number);
                }
            }
            Deed::Activate(_) => {
                if let Some(succession) = self.succession.take() {
                    let took = now.elapsed.saturating_sub(succession.begun);
                    self.lead = took.max(FIRST_LEAD);
                }
            }
            Deed::Discard(_) => self.abort(),
            Deed::Generate
            | Deed::Challenge(..)
            | Deed::Admit(_)
            | Deed::Archive(_)
            | Deed::Inspect(_)
            | Deed::Propose(..)
            | Deed::Destroy(_)
            | Deed::Compromise(_)
            | Deed::Suspend(_)
            | Deed::Restore(..) => {}
        }
        if self.orders.front().is_some_and(|asked| asked.met_by(deed))
            && let Some(asked) = self.orders.pop_front()
            && asked.takes_away()
            && self.active().is_none()
        {
            self.succeed(now, asked.because);
        }
    }

    fn failed(&mut self, now: Now, failure: Failure) {
        // A revocation is retried until it succeeds; other orders fail.
        if self.orders.front().is_some_and(|asked| !asked.takes_away()) {
            self.orders.pop_front();
        }
        self.ends_first = !self.ends_first;
        self.work = Work::Resting(Rest {
            until: now.elapsed.saturating_add(self.pause),
            failure,
        });
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// Ends an aborted rotation, unless there is no active version.
    fn abort(&mut self) {
        let asked = self
            .orders
            .front()
            .is_some_and(|asked| asked.order == Order::Abort);
        if asked && self.active().is_some() {
            self.succession = None;
        }
    }

    fn inspected(&mut self, now: Now, number: u32, verdict: Verdict) {
        if let Some(gate) = self.gates.get_mut(&number) {
            gate.verdict = Some(verdict);
            gate.asking = false;
            gate.again = now.elapsed.saturating_add(gate.wait);
            gate.wait = gate.wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }
}

/// Whether a person has asked for it, rather than a threshold or the start of the gateway.
const fn is_ordered(because: &Because) -> bool {
    matches!(
        because.trigger,
        Trigger::Manual | Trigger::Personnel | Trigger::Deployment | Trigger::Compromise
    )
}
