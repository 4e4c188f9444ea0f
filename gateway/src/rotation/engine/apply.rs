//! Applies events to the state of a keyring.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::Trigger;
use crate::catalogue::State;
use crate::fault::Failure;
use crate::rotation::reason::Reason;

use super::event::Event;
use super::order::{Order, OrderRequest};
use super::state::{
    Backoff, FIRST_LEAD, FIRST_PAUSE, KeyringState, OngoingRotation, RetentionVerdict, Work,
};
use super::step::Step;
use super::usage::UsageReport;
use super::version::{Now, VersionView};
use crate::fleet::Member;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause between two questions about one version.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

impl KeyringState {
    pub(super) fn apply(&mut self, now: Now, event: Event) {
        match event {
            Event::Tick => {}
            Event::Usage {
                number,
                sealed,
                used,
                failed_opens,
                headroom,
            } => {
                let report = UsageReport {
                    number,
                    sealed,
                    used,
                    failed_opens,
                    headroom,
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
            Event::Ordered(asked) => self.accept(now, asked),
            Event::Withdrawn(Order::Rotate) => self.withdraw_rotation(),
            Event::Withdrawn(order) => {
                let stays = |asked: &OrderRequest| asked.order != order || asked.stops_sealing();
                self.orders.retain(stays);
            }
            Event::LeftOver(number) => self.leftover = Some(number),
            Event::Ended(outcome, versions) => self.ended(now, outcome, versions),
            Event::Record(versions) => self.set_versions(versions),
            Event::Inspected(number, verdict) => self.inspected(now, number, verdict),
            Event::Terms(terms) => self.terms = terms,
        }
    }

    fn proven(&mut self, member: Member, number: u32) {
        if let Some(rotation) = &mut self.rotation
            && rotation.distributed == Some(number)
        {
            rotation.proven.insert(member);
        }
    }

    fn accept(&mut self, now: Now, asked: OrderRequest) {
        if asked.stops_sealing() {
            // A revocation is not undone by what was asked for before it.
            let undoes = |before: &OrderRequest| {
                matches!(before.order, Order::Restore(_))
                    && before.order.number() == asked.order.number()
            };
            self.orders.retain(|before| !undoes(before));
        }
        match asked.order {
            Order::Rotate => self.begin_rotation(now, asked.reason),
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
        if let Work::BackingOff(_) = self.work {
            self.work = Work::Idle;
        }
    }

    /// Begins a rotation, or adds a reason to the one under way.
    pub(super) fn begin_rotation(&mut self, now: Now, reason: Reason) {
        self.leftover = None;
        match &mut self.rotation {
            Some(rotation) => rotation.reasons.push(reason),
            None => {
                self.rotation = Some(OngoingRotation {
                    reasons: vec![reason],
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
        let Some(rotation) = &mut self.rotation else {
            return;
        };
        rotation
            .reasons
            .retain(|reason| !is_asked_for_by_a_person(reason));
        if !rotation.reasons.is_empty() {
            return;
        }
        self.rotation = None;
        self.leftover = self.successor().map(|version| version.number);
        // Its successor is discarded at once, if the disk allows it.
        if self.leftover.is_some() && matches!(self.work, Work::BackingOff(_)) {
            self.work = Work::Idle;
        }
    }

    fn set_versions(&mut self, versions: Vec<VersionView>) {
        self.versions = versions;
        self.destroy_checks.retain(|number, _check| {
            let version = self
                .versions
                .iter()
                .find(|version| version.number == *number);
            version.is_some_and(|version| version.state == State::Archived)
        });
    }

    fn ended(&mut self, now: Now, outcome: Result<(), Failure>, versions: Vec<VersionView>) {
        self.set_versions(versions);
        let work = std::mem::replace(&mut self.work, Work::Idle);
        let Work::Doing(step) = work else {
            self.work = work;
            return;
        };
        match outcome {
            Ok(()) => self.done(now, &step),
            Err(failure) => self.failed(now, failure),
        }
    }

    fn done(&mut self, now: Now, step: &Step) {
        self.pause = FIRST_PAUSE;
        self.ends_first = false;
        match step {
            Step::Distribute(number) => {
                if let Some(rotation) = &mut self.rotation {
                    rotation.distributed_to_all(*number);
                }
            }
            Step::Activate(_) => {
                if let Some(rotation) = self.rotation.take() {
                    let took = now.elapsed.saturating_sub(rotation.begun);
                    self.lead = took.max(FIRST_LEAD);
                }
            }
            Step::Discard(_) => self.abort(),
            Step::Generate
            | Step::Challenge(..)
            | Step::Admit(_)
            | Step::Archive(_)
            | Step::Inspect(_)
            | Step::Propose(..)
            | Step::Destroy(_)
            | Step::Compromise(_)
            | Step::Suspend(_)
            | Step::Restore(..) => {}
        }
        if self
            .orders
            .front()
            .is_some_and(|asked| asked.is_met_by(step))
            && let Some(asked) = self.orders.pop_front()
            && asked.stops_sealing()
            && self.active().is_none()
        {
            self.begin_rotation(now, asked.reason);
        }
    }

    fn failed(&mut self, now: Now, failure: Failure) {
        // A revocation is retried until it succeeds; other orders fail.
        if self
            .orders
            .front()
            .is_some_and(|asked| !asked.stops_sealing())
        {
            self.orders.pop_front();
        }
        self.ends_first = !self.ends_first;
        self.work = Work::BackingOff(Backoff {
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
            self.rotation = None;
        }
    }

    fn inspected(&mut self, now: Now, number: u32, verdict: RetentionVerdict) {
        if let Some(destroy_check) = self.destroy_checks.get_mut(&number) {
            destroy_check.verdict = Some(verdict);
            destroy_check.asking = false;
            destroy_check.again = now.elapsed.saturating_add(destroy_check.wait);
            destroy_check.wait = destroy_check.wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }
}

/// Whether a person has asked for it, rather than a threshold or the start of the gateway.
const fn is_asked_for_by_a_person(reason: &Reason) -> bool {
    matches!(
        reason.trigger,
        Trigger::Manual | Trigger::Personnel | Trigger::Deployment | Trigger::Compromise
    )
}
