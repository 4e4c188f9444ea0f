//! Decides the next actions from the state alone.

use std::time::Duration;

use crate::audit::Trigger;
use crate::catalogue::{Proposal, State};
use crate::rotation::reason::{DestroyBasis, Reason};
use crate::rotation::terms::{DestroyApproval, Retain};

use super::order::{Order, OrderRequest, Refused};
use super::state::{DestroyCheck, KeyringState, RetentionVerdict, Work};
use super::version::{Now, VersionView, later};
use super::{Action, Step};
use crate::fleet::Member;

/// How long a member has to prove that it holds a version before it is asked again.
const PROOF: Duration = Duration::from_secs(5);

/// How far ahead the members of a fleet agree to change over; a gateway alone needs no agreement.
const AGREED: Duration = Duration::from_secs(2);

impl KeyringState {
    /// The actions to take now; they are noted as under way.
    pub(super) fn plan(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        self.end_backoff(now);
        if self.work == Work::Idle {
            self.drop_void_orders(now);
            self.begin(now);
            if let Some(action) = self.next(now) {
                self.work = Work::Doing(action.step.clone());
                actions.push(action);
            } else {
                actions.extend(self.challenge(now));
            }
        }
        actions.extend(self.inspect(now));
        actions
    }

    fn end_backoff(&mut self, now: Now) {
        if let Work::BackingOff(backoff) = &self.work
            && backoff.until <= now.elapsed
        {
            self.work = Work::Idle;
        }
    }

    /// Drops orders that have been met, or have become impossible, since they were accepted.
    fn drop_void_orders(&mut self, now: Now) {
        while let Some(front) = self.orders.front()
            && front.step(self, now).is_none()
        {
            if front.order == Order::Abort && self.active().is_some() {
                self.rotation = None;
            }
            self.orders.pop_front();
        }
    }

    /// Begins a rotation when the active version is due for a successor, or when there is none.
    fn begin(&mut self, now: Now) {
        if self.rotation.is_some() {
            return;
        }
        let reason = match (self.active(), self.successor()) {
            (None, _) => {
                let why = "the keyring has no active key version";
                Some(Reason::of_gateway(Trigger::Start, why))
            }
            // A rotation that a crash interrupted.
            (Some(_), Some(successor)) if self.leftover != Some(successor.number) => {
                let why = "a rotation that was cut off goes on";
                Some(Reason::of_gateway(Trigger::Start, why))
            }
            (Some(active), _) => self.is_due(active, now),
        };
        if let Some(reason) = reason {
            self.begin_rotation(now, reason);
        }
    }

    /// Why a version is due for a successor.
    fn is_due(&self, active: &VersionView, now: Now) -> Option<Reason> {
        let used = self
            .usage
            .trigger(active.number, now, (&self.terms, self.lead));
        used.or_else(|| self.past_cryptoperiod(active, now))
    }

    /// Whether an aborted rotation would not begin again at once.
    ///
    /// # Errors
    /// Why not.
    pub fn may_abort(&self, now: Now) -> Result<(), Refused> {
        let due = self.active().and_then(|active| self.is_due(active, now));
        due.map_or(Ok(()), |reason| Err(Refused::Due(reason.why.to_string())))
    }

    fn past_cryptoperiod(&self, active: &VersionView, now: Now) -> Option<Reason> {
        let due = self.due(active, now);
        (now.wall >= due).then(|| {
            let why = match active.activated {
                Some(activated) if active.ahead(now).is_some() => {
                    format!("it became active at {activated:.0}, which is yet to come: the clock was ahead then, or is behind now")
                }
                _ => format!("the cryptoperiod ended at {due}"),
            };
            Reason::of_gateway(Trigger::Time, why)
        })
    }

    /// The first of: an order, the next step of a rotation, archiving or destroying a version.
    fn next(&mut self, now: Now) -> Option<Action> {
        if let Some(front) = self.orders.front() {
            let reason = front.reason.clone();
            return front.step(self, now).map(|step| Action { step, reason });
        }
        self.agree_on_activation(now);
        if self.ends_first {
            return self.retire(now).or_else(|| self.advance(now));
        }
        self.advance(now).or_else(|| self.retire(now))
    }

    /// Sets the activation time once all members have proven possession. A clock that goes back does not defer it.
    fn agree_on_activation(&mut self, now: Now) {
        let alone = self.members.len() <= 1;
        let at = later(now.wall, if alone { Duration::ZERO } else { AGREED });
        let ready = self
            .successor()
            .is_some_and(|version| version.state == State::Ready);
        if let Some(rotation) = &mut self.rotation
            && ready
        {
            rotation.at = Some(rotation.at.map_or(at, |agreed| agreed.min(at)));
        }
    }

    fn advance(&self, now: Now) -> Option<Action> {
        let Some(rotation) = &self.rotation else {
            return self.discard();
        };
        let step = match self.successor() {
            None => Step::Generate,
            // Made for a suite that is no longer configured; it never sealed, so nothing is lost.
            Some(version) if version.suite != self.terms.suite => Step::Discard(version.number),
            Some(version) if rotation.distributed != Some(version.number) => {
                Step::Distribute(version.number)
            }
            Some(version) if version.state == State::Ready => {
                let agreed = rotation.at.is_none_or(|at| at <= now.wall);
                if !agreed || self.held_back(now).is_some() {
                    return None;
                }
                Step::Activate(version.number)
            }
            Some(version) if self.unproven_members().is_empty() => Step::Admit(version.number),
            Some(_) => return None,
        };
        Some(Action {
            step,
            reason: rotation.cause(),
        })
    }

    /// Discards the successor of a withdrawn rotation.
    fn discard(&self) -> Option<Action> {
        let number = self.successor()?.number;
        let why =
            "the rotation that it was made for has failed, and whoever asked for it was told so";
        Some(Action {
            step: Step::Discard(number),
            reason: Reason::of_gateway(Trigger::Manual, why),
        })
    }

    fn unproven_members(&self) -> Vec<Member> {
        let proven = |member: &&Member| {
            let rotation = self.rotation.as_ref();
            !rotation.is_some_and(|rotation| rotation.proven.contains(*member))
        };
        self.members.iter().filter(proven).cloned().collect()
    }

    /// Challenges the members that have yet to prove, repeatedly, as they may vanish and return.
    fn challenge(&mut self, now: Now) -> Option<Action> {
        let members = self.unproven_members();
        let number = self
            .successor()
            .filter(|version| version.state == State::PreActive)?
            .number;
        let rotation = self.rotation.as_mut()?;
        let asked = |at: Duration| now.elapsed.saturating_sub(at) < PROOF;
        if members.is_empty()
            || rotation.distributed != Some(number)
            || rotation.challenged.is_some_and(asked)
        {
            return None;
        }
        rotation.challenged = Some(now.elapsed);
        Some(Action {
            step: Step::Challenge(number, members),
            reason: rotation.cause(),
        })
    }

    /// Archives a version after its overlap, or destroys it once nothing stored needs it.
    fn retire(&self, now: Now) -> Option<Action> {
        self.versions
            .iter()
            .find_map(|version| self.retire_version(version, now))
    }

    fn retire_version(&self, version: &VersionView, now: Now) -> Option<Action> {
        let reason = |why: &str| Reason::of_gateway(Trigger::Time, why);
        let automatic = self.terms.destroy == DestroyApproval::Automatic;
        match (version.state, self.terms.retain) {
            (State::DecryptOnly, retain) if version.age(now) >= self.terms.overlap => {
                let step = match retain {
                    Retain::Shred if automatic => Step::Destroy(version.number),
                    Retain::Shred | Retain::Destroy | Retain::Archive => {
                        Step::Archive(version.number)
                    }
                };
                let why = format!("the overlap is over, retain = \"{}\"", <&str>::from(retain));
                Some(Action {
                    step,
                    reason: reason(&why).with_basis(DestroyBasis::Configured),
                })
            }
            (State::Archived, Retain::Shred) if automatic => Some(Action {
                step: Step::Destroy(version.number),
                reason: reason("the overlap is over, retain = \"shred\"")
                    .with_basis(DestroyBasis::Configured),
            }),
            (State::Archived, Retain::Destroy) if automatic && !self.is_held(version, now) => {
                let RetentionVerdict::Clear(found) =
                    self.destroy_checks.get(&version.number)?.verdict.as_ref()?
                else {
                    return None;
                };
                let basis = DestroyBasis::Proven(found.as_str().into());
                Some(Action {
                    step: Step::Destroy(version.number),
                    reason: reason("nothing stored can need it").with_basis(basis),
                })
            }
            _ => None,
        }
    }

    /// Asks JetStream about a version that may be destroyed, one at a time.
    fn inspect(&mut self, now: Now) -> Option<Action> {
        if self.terms.retain != Retain::Destroy
            || self
                .destroy_checks
                .values()
                .any(|destroy_check| destroy_check.asking)
        {
            return None;
        }
        let due = |version: &&VersionView| {
            let destroy_check = self.destroy_checks.get(&version.number);
            version.state == State::Archived
                && !self.is_held(version, now)
                && destroy_check.is_none_or(|destroy_check| destroy_check.again <= now.elapsed)
        };
        let number = self.versions.iter().find(due)?.number;
        self.destroy_checks
            .entry(number)
            .or_insert_with(DestroyCheck::asking)
            .asking = true;
        Some(Action {
            step: Step::Inspect(number),
            reason: Reason::of_gateway(Trigger::Time, "the overlap is over"),
        })
    }
}

impl OrderRequest {
    /// The step that carries the order out; `None` when it is done already, or has become impossible.
    pub(super) fn step(&self, state: &KeyringState, now: Now) -> Option<Step> {
        let number = match self.order {
            Order::Abort => {
                state
                    .successor()
                    .filter(|_| state.active().is_some())?
                    .number
            }
            Order::Rotate
            | Order::Compromise(_)
            | Order::Suspend(_)
            | Order::Restore(_)
            | Order::Archive(_)
            | Order::Destroy(_)
            | Order::Propose(..)
            | Order::Approve(_) => self.order.number()?,
        };
        let version = state.version(number)?;
        self.order.check_state(version.state).ok()?;
        state.check_approval(self.order).ok()?;
        match self.order {
            Order::Compromise(number) => Some(Step::Compromise(number)),
            Order::Suspend(number) => Some(Step::Suspend(number)),
            Order::Archive(number) => Some(Step::Archive(number)),
            Order::Destroy(number) => Some(Step::Destroy(number)),
            Order::Propose(number, forced) => {
                let proposal = Proposal {
                    who: self.reason.who.to_string(),
                    why: self.reason.why.to_string(),
                    forced,
                };
                let news = version.proposed.as_ref() != Some(&proposal);
                news.then_some(Step::Propose(number, proposal))
            }
            Order::Approve(number) => {
                state.may_approve(number, &self.reason.who, now).ok()?;
                Some(Step::Destroy(number))
            }
            Order::Restore(number) => Some(Step::Restore(number, state.restored_state(version))),
            Order::Abort => Some(Step::Discard(number)),
            Order::Rotate => None,
        }
    }
}

impl KeyringState {
    /// The state after a suspension: active only if the version was never replaced; otherwise its overlap begins anew.
    fn restored_state(&self, version: &VersionView) -> State {
        let replaced = version.activated.is_none() || version.deactivated.is_some();
        if replaced || self.active().is_some() {
            State::DecryptOnly
        } else {
            State::Active
        }
    }
}
