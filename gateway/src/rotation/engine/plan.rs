//! Decides the next actions from the state alone.

use std::time::Duration;

use crate::audit::Trigger;
use crate::catalogue::{Proposal, State};
use crate::rotation::because::{Because, Ground};
use crate::rotation::terms::{Consent, Retain};

use super::life::{Life, Member, Now, later};
use super::order::{Asked, Order, Refused};
use super::ring::{Gate, Ring, Verdict, Work};
use super::{Action, Deed};

/// How long a member has to prove that it holds a version before it is asked again.
const PROOF: Duration = Duration::from_secs(5);

/// How far ahead the members of a fleet agree to change over; a gateway alone needs no agreement.
const AGREED: Duration = Duration::from_secs(2);

impl Ring {
    /// The actions to take now; they are noted as under way.
    pub(super) fn decide(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        self.wake(now);
        if self.work == Work::Idle {
            self.drop_void_orders(now);
            self.begin(now);
            if let Some(action) = self.next(now) {
                self.work = Work::Doing(action.deed.clone());
                actions.push(action);
            } else {
                actions.extend(self.challenge(now));
            }
        }
        actions.extend(self.inspect(now));
        actions
    }

    fn wake(&mut self, now: Now) {
        if let Work::Resting(rest) = &self.work
            && rest.until <= now.elapsed
        {
            self.work = Work::Idle;
        }
    }

    /// Drops orders that have been met, or have become impossible, since they were accepted.
    fn drop_void_orders(&mut self, now: Now) {
        while let Some(front) = self.orders.front()
            && front.deed(self, now).is_none()
        {
            if front.order == Order::Abort && self.active().is_some() {
                self.succession = None;
            }
            self.orders.pop_front();
        }
    }

    /// Begins a rotation when the active version is due for a successor, or when there is none.
    fn begin(&mut self, now: Now) {
        if self.succession.is_some() {
            return;
        }
        let because = match (self.active(), self.successor()) {
            (None, _) => {
                let why = "the keyring has no active key version";
                Some(Because::of_gateway(Trigger::Start, why))
            }
            // A rotation that a crash interrupted.
            (Some(_), Some(successor)) if self.leftover != Some(successor.number) => {
                let why = "a rotation that was cut off goes on";
                Some(Because::of_gateway(Trigger::Start, why))
            }
            (Some(active), _) => self.is_due(active, now),
        };
        if let Some(because) = because {
            self.succeed(now, because);
        }
    }

    /// Why a version is due for a successor.
    fn is_due(&self, active: &Life, now: Now) -> Option<Because> {
        let used = self
            .usage
            .trigger(active.number, now, (&self.terms, self.lead));
        used.or_else(|| self.over(active, now))
    }

    /// Whether an aborted rotation would not begin again at once.
    ///
    /// # Errors
    /// Why not.
    pub fn may_abort(&self, now: Now) -> Result<(), Refused> {
        let due = self.active().and_then(|active| self.is_due(active, now));
        due.map_or(Ok(()), |because| Err(Refused::Due(because.why.to_string())))
    }

    fn over(&self, active: &Life, now: Now) -> Option<Because> {
        let due = self.due(active, now);
        (now.wall >= due).then(|| {
            let why = match active.activated {
                Some(activated) if active.ahead(now).is_some() => {
                    format!("it became active at {activated:.0}, which is yet to come: the clock was ahead then, or is behind now")
                }
                _ => format!("the cryptoperiod ended at {due}"),
            };
            Because::of_gateway(Trigger::Time, why)
        })
    }

    /// The first of: an order, the next step of a rotation, archiving or destroying a version.
    fn next(&mut self, now: Now) -> Option<Action> {
        if let Some(front) = self.orders.front() {
            let because = front.because.clone();
            return front.deed(self, now).map(|deed| Action { deed, because });
        }
        self.agree(now);
        if self.ends_first {
            return self.end(now).or_else(|| self.advance(now));
        }
        self.advance(now).or_else(|| self.end(now))
    }

    /// Sets the activation time once all members have proven possession. A clock that goes back does not defer it.
    fn agree(&mut self, now: Now) {
        let alone = self.members.len() <= 1;
        let at = later(now.wall, if alone { Duration::ZERO } else { AGREED });
        let ready = self
            .successor()
            .is_some_and(|life| life.state == State::Ready);
        if let Some(succession) = &mut self.succession
            && ready
        {
            succession.at = Some(succession.at.map_or(at, |agreed| agreed.min(at)));
        }
    }

    fn advance(&self, now: Now) -> Option<Action> {
        let Some(succession) = &self.succession else {
            return self.discard();
        };
        let deed = match self.successor() {
            None => Deed::Generate,
            // Made for a suite that is no longer configured; it never sealed, so nothing is lost.
            Some(life) if life.suite != self.terms.suite => Deed::Discard(life.number),
            Some(life) if succession.distributed != Some(life.number) => {
                Deed::Distribute(life.number)
            }
            Some(life) if life.state == State::Ready => {
                let agreed = succession.at.is_none_or(|at| at <= now.wall);
                if !agreed || self.held_back(now).is_some() {
                    return None;
                }
                Deed::Activate(life.number)
            }
            Some(life) if self.missing().is_empty() => Deed::Admit(life.number),
            Some(_) => return None,
        };
        Some(Action {
            deed,
            because: succession.cause(),
        })
    }

    /// Discards the successor of a withdrawn rotation.
    fn discard(&self) -> Option<Action> {
        let number = self.successor()?.number;
        let why =
            "the rotation that it was made for has failed, and whoever asked for it was told so";
        Some(Action {
            deed: Deed::Discard(number),
            because: Because::of_gateway(Trigger::Manual, why),
        })
    }

    fn missing(&self) -> Vec<Member> {
        let proven = |member: &&Member| {
            let succession = self.succession.as_ref();
            !succession.is_some_and(|succession| succession.proven.contains(*member))
        };
        self.members.iter().filter(proven).cloned().collect()
    }

    /// Challenges the members that have yet to prove, repeatedly, as they may vanish and return.
    fn challenge(&mut self, now: Now) -> Option<Action> {
        let members = self.missing();
        let number = self
            .successor()
            .filter(|life| life.state == State::PreActive)?
            .number;
        let succession = self.succession.as_mut()?;
        let asked = |at: Duration| now.elapsed.saturating_sub(at) < PROOF;
        if members.is_empty()
            || succession.distributed != Some(number)
            || succession.challenged.is_some_and(asked)
        {
            return None;
        }
        succession.challenged = Some(now.elapsed);
        Some(Action {
            deed: Deed::Challenge(number, members),
            because: succession.cause(),
        })
    }

    /// Archives a version after its overlap, or destroys it once nothing stored needs it.
    fn end(&self, now: Now) -> Option<Action> {
        self.lives.iter().find_map(|life| self.end_of(life, now))
    }

    fn end_of(&self, life: &Life, now: Now) -> Option<Action> {
        let because = |why: &str| Because::of_gateway(Trigger::Time, why);
        let automatic = self.terms.destroy == Consent::Automatic;
        match (life.state, self.terms.retain) {
            (State::DecryptOnly, retain) if life.age(now) >= self.terms.overlap => {
                let deed = match retain {
                    Retain::Shred if automatic => Deed::Destroy(life.number),
                    Retain::Shred | Retain::Destroy | Retain::Archive => Deed::Archive(life.number),
                };
                let why = format!("the overlap is over, retain = \"{}\"", retain.word());
                Some(Action {
                    deed,
                    because: because(&why).on(Ground::Configured),
                })
            }
            (State::Archived, Retain::Shred) if automatic => Some(Action {
                deed: Deed::Destroy(life.number),
                because: because("the overlap is over, retain = \"shred\"").on(Ground::Configured),
            }),
            (State::Archived, Retain::Destroy) if automatic && !self.is_held(life, now) => {
                let Verdict::Clear(found) = self.gates.get(&life.number)?.verdict.as_ref()? else {
                    return None;
                };
                let ground = Ground::Proven(found.as_str().into());
                Some(Action {
                    deed: Deed::Destroy(life.number),
                    because: because("nothing stored can need it").on(ground),
                })
            }
            _ => None,
        }
    }

    /// Asks JetStream about a version that may be destroyed, one at a time.
    fn inspect(&mut self, now: Now) -> Option<Action> {
        if self.terms.retain != Retain::Destroy || self.gates.values().any(|gate| gate.asking) {
            return None;
        }
        let due = |life: &&Life| {
            let gate = self.gates.get(&life.number);
            life.state == State::Archived
                && !self.is_held(life, now)
                && gate.is_none_or(|gate| gate.again <= now.elapsed)
        };
        let number = self.lives.iter().find(due)?.number;
        self.gates.entry(number).or_insert_with(Gate::asking).asking = true;
        Some(Action {
            deed: Deed::Inspect(number),
            because: Because::of_gateway(Trigger::Time, "the overlap is over"),
        })
    }
}

impl Asked {
    /// The step that carries the order out; `None` when it is done already, or has become impossible.
    pub(super) fn deed(&self, ring: &Ring, now: Now) -> Option<Deed> {
        let number = match self.order {
            Order::Abort => ring.successor().filter(|_| ring.active().is_some())?.number,
            Order::Rotate
            | Order::Compromise(_)
            | Order::Suspend(_)
            | Order::Restore(_)
            | Order::Archive(_)
            | Order::Destroy(_)
            | Order::Propose(..)
            | Order::Approve(_) => self.order.number()?,
        };
        let life = ring.life(number)?;
        self.order.fits(life.state).ok()?;
        ring.permits(self.order).ok()?;
        match self.order {
            Order::Compromise(number) => Some(Deed::Compromise(number)),
            Order::Suspend(number) => Some(Deed::Suspend(number)),
            Order::Archive(number) => Some(Deed::Archive(number)),
            Order::Destroy(number) => Some(Deed::Destroy(number)),
            Order::Propose(number, forced) => {
                let proposal = Proposal {
                    who: self.because.who.to_string(),
                    why: self.because.why.to_string(),
                    forced,
                };
                let news = life.proposed.as_ref() != Some(&proposal);
                news.then_some(Deed::Propose(number, proposal))
            }
            Order::Approve(number) => {
                ring.may_approve(number, &self.because.who, now).ok()?;
                Some(Deed::Destroy(number))
            }
            Order::Restore(number) => Some(Deed::Restore(number, ring.origin(life))),
            Order::Abort => Some(Deed::Discard(number)),
            Order::Rotate => None,
        }
    }
}

impl Ring {
    /// The state after a suspension: active only if the version was never replaced; otherwise its overlap begins anew.
    fn origin(&self, life: &Life) -> State {
        let replaced = life.activated.is_none() || life.deactivated.is_some();
        if replaced || self.active().is_some() {
            State::DecryptOnly
        } else {
            State::Active
        }
    }
}
