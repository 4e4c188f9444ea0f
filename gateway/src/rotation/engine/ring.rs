//! The state of one keyring, and queries on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Trigger;
use crate::catalogue::State;
use crate::fault::Fault;
use crate::rotation::because::Because;
use crate::rotation::terms::Terms;

use super::Deed;
use super::life::{Life, Member, Now, later};
use super::order::{Asked, Order, Refused};
use super::pace::Pace;
use super::usage::Usage;

/// The first pause after a failure; it doubles.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long after an answer JetStream is asked again; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// How long a rotation is assumed to take before one has been measured.
pub(super) const FIRST_LEAD: Duration = Duration::from_secs(10);

/// The state of one keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    pub(super) terms: Terms,
    /// Oldest first, as the record has them.
    pub(super) lives: Vec<Life>,
    pub(super) members: BTreeSet<Member>,
    pub(super) usage: Usage,
    pub(super) pace: Pace,
    pub(super) succession: Option<Succession>,
    /// The unused successor of a withdrawn rotation, to be discarded.
    pub(super) leftover: Option<u32>,
    pub(super) orders: VecDeque<Asked>,
    pub(super) work: Work,
    pub(super) gates: BTreeMap<u32, Gate>,
    /// How long the next pause after a failure is.
    pub(super) pause: Duration,
    /// After every other failure archiving and destroying go first: a rotation that keeps failing must not keep a secret alive.
    pub(super) ends_first: bool,
    /// How long a rotation takes: the last one, or an assumption.
    pub(super) lead: Duration,
}

/// A rotation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Succession {
    /// The first is the cause; later ones joined.
    pub(super) reasons: Vec<Because>,
    pub(super) begun: Duration,
    /// The version that the members have been given.
    pub(super) distributed: Option<u32>,
    pub(super) proven: BTreeSet<Member>,
    pub(super) challenged: Option<Duration>,
    /// The agreed time of activation.
    pub(super) at: Option<Timestamp>,
}

/// The action under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Idle,
    Doing(Deed),
    Resting(Rest),
}

/// A pause after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) until: Duration,
    pub(super) failure: Failure,
}

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// In words for the operator.
    pub text: String,
    /// Who must act.
    pub fault: Fault,
}

/// Whether stored messages may need a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None does: the evidence.
    Clear(String),
    /// Some do, or may: the evidence.
    Held(String),
}

/// The state of asking JetStream whether a version may be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The last answer; `None` before the first.
    pub verdict: Option<Verdict>,
    /// When to ask again.
    pub(super) again: Duration,
    pub(super) wait: Duration,
    pub(super) asking: bool,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// No rotation is under way.
    #[default]
    None,
    /// Step 1.
    Generate,
    /// Step 2.
    Distribute,
    /// Step 3.
    Prove,
    /// Step 4.
    Activate,
}

/// The next rotation of a keyring, and how far the present one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// When the cryptoperiod of the active version ends.
    pub rotates: Option<Timestamp>,
    /// How long the soft thresholds last at the present rate.
    pub threshold: Option<Duration>,
    /// How long the hard limit lasts at the present rate.
    pub limit: Option<Duration>,
    /// How far a rotation has come.
    pub stage: Stage,
    /// Why it failed; it is tried again.
    pub failure: Option<String>,
}

impl Stage {
    /// The name in status and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Generate => "generate",
            Self::Distribute => "distribute",
            Self::Prove => "prove",
            Self::Activate => "activate",
        }
    }
}

impl Ring {
    /// The state of a keyring whose record has these versions.
    #[must_use]
    pub fn new(terms: Terms, lives: Vec<Life>, members: BTreeSet<Member>) -> Self {
        Self {
            terms,
            pace: Pace::of(&lives),
            lives,
            members,
            usage: Usage::default(),
            succession: None,
            leftover: None,
            orders: VecDeque::new(),
            work: Work::Idle,
            gates: BTreeMap::new(),
            pause: FIRST_PAUSE,
            ends_first: false,
            lead: FIRST_LEAD,
        }
    }

    /// The terms in force.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Why the last action failed, until it is tried again.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.work {
            Work::Resting(rest) => Some(&rest.failure),
            Work::Idle | Work::Doing(_) => None,
        }
    }

    /// The versions, oldest first.
    #[must_use]
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// The last check whether this version may be destroyed, if there was one.
    #[must_use]
    pub fn gate(&self, number: u32) -> Option<&Gate> {
        self.gates.get(&number)
    }

    /// Whether an order can be carried out.
    ///
    /// # Errors
    /// Why not, and what would help.
    pub fn judge(&self, order: Order) -> Result<(), Refused> {
        if let Some(number) = order.number() {
            let life = self.life(number).ok_or(Refused::Unknown(number))?;
            order.fits(life.state)?;
            return self.permits(order);
        }
        if order != Order::Abort {
            return Ok(());
        }
        if self.succession.is_none() {
            return Err(Refused::NoRotation);
        }
        self.active().map(drop).ok_or(Refused::Needed)
    }

    /// Whether the order has been carried out.
    #[must_use]
    pub fn has_done(&self, order: Order) -> bool {
        let state = |number| self.life(number).map(|life| life.state);
        match order {
            Order::Rotate | Order::Abort => self.succession.is_none(),
            Order::Compromise(number) => state(number) == Some(State::Compromised),
            Order::Suspend(number) => state(number) == Some(State::Suspended),
            Order::Restore(number) => state(number).is_some_and(|state| state != State::Suspended),
            Order::Archive(number) => {
                matches!(state(number), Some(State::Archived | State::Destroyed))
            }
            Order::Destroy(number) | Order::Approve(number) => {
                state(number) == Some(State::Destroyed)
            }
            Order::Propose(number, forced) => {
                let proposed = self.life(number).and_then(|life| life.proposed.as_ref());
                proposed.is_some_and(|proposal| proposal.forced == forced)
            }
        }
    }

    /// The unused successor that a withdrawn rotation has left behind.
    #[must_use]
    pub fn leftover(&self) -> Option<u32> {
        let waits = |number: &u32| self.life(*number).is_some_and(Life::waits);
        self.leftover.filter(waits)
    }

    /// Whether a rotation is under way.
    #[must_use]
    pub const fn is_rotating(&self) -> bool {
        self.succession.is_some()
    }

    /// Whether an order has been accepted and not carried out yet.
    #[must_use]
    pub fn owes(&self, order: Order) -> bool {
        self.orders.iter().any(|asked| asked.order == order)
    }

    /// When the overlap of a version ends; `None` outside an overlap.
    #[must_use]
    pub fn overlap_ends(&self, number: u32, now: Now) -> Option<Timestamp> {
        let life = self.life(number)?;
        (life.state == State::DecryptOnly).then(|| life.ends(self.terms.overlap, now))
    }

    /// When a version is to stop sealing. `None` names a version yet to be generated: a cryptoperiod from now.
    #[must_use]
    pub fn expiry(&self, number: Option<u32>, now: Now) -> Option<Timestamp> {
        match number.map(|number| self.life(number)) {
            None => Some(later(now.wall, self.terms.rotate.after)),
            Some(Some(life)) if life.waits() || life.state.seals() => Some(self.due(life, now)),
            Some(_) => None,
        }
    }

    /// The next rotation, and how far the present one is.
    #[must_use]
    pub fn outlook(&self, now: Now) -> Outlook {
        let active = self.active();
        let soft = crate::rotation::terms::Limit {
            messages: self.terms.rotate.messages,
            bytes: self.terms.rotate.bytes,
        };
        let number = active.map(|life| life.number);
        Outlook {
            rotates: active.map(|life| self.due(life, now)),
            threshold: number.and_then(|number| self.usage.until_sealed(now, number, soft)),
            limit: number.and_then(|number| self.usage.until_used(now, number, self.terms.limit)),
            stage: self.stage(),
            failure: self.failure().map(|failure| failure.text.clone()),
        }
    }

    /// How long a successor that is ready still has to wait because the last rotation was so recent; `None` when none waits.
    /// After a revocation, when nothing seals, there is no wait.
    #[must_use]
    pub fn held_back(&self, now: Now) -> Option<Duration> {
        let succession = self.succession.as_ref()?;
        if !self.waits_for_time() {
            return None;
        }
        let wait = if succession.is_asked_for() {
            self.pace.wait_if_asked(now)
        } else {
            self.pace.wait(now)
        };
        (!wait.is_zero()).then_some(wait)
    }

    /// Whether all members have the successor and nothing failed, so that only time is missing until it becomes active.
    #[must_use]
    pub fn waits_for_time(&self) -> bool {
        let ready = self.successor().map(|life| life.state) == Some(State::Ready);
        let under_way = self.succession.is_some() && self.failure().is_none();
        ready && under_way && self.active().is_some()
    }

    /// The version that seals.
    #[must_use]
    pub fn active(&self) -> Option<&Life> {
        self.lives.iter().find(|life| life.state.seals())
    }

    /// The version that is to become active.
    pub(super) fn successor(&self) -> Option<&Life> {
        self.lives.iter().rev().find(|life| life.waits())
    }

    pub(super) fn life(&self, number: u32) -> Option<&Life> {
        self.lives.iter().find(|life| life.number == number)
    }

    /// When the cryptoperiod of this version ends. A wall clock may make that earlier, which is harmless, but not later.
    pub(super) fn due(&self, life: &Life, now: Now) -> Timestamp {
        let period = self.terms.rotate.cryptoperiod(life.kid);
        if life.ahead(now).is_some() {
            return now.wall;
        }
        let began = life.began.unwrap_or(life.entered);
        now.due(began, life.activated.unwrap_or(life.since), period)
    }

    fn stage(&self) -> Stage {
        let Some(succession) = &self.succession else {
            return Stage::None;
        };
        match self.successor() {
            None => Stage::Generate,
            Some(life) if succession.distributed != Some(life.number) => Stage::Distribute,
            Some(life) if life.state == State::PreActive => Stage::Prove,
            Some(_) => Stage::Activate,
        }
    }
}

impl Gate {
    pub(super) const fn asking() -> Self {
        Self {
            verdict: None,
            again: Duration::ZERO,
            wait: FIRST_WAIT,
            asking: true,
        }
    }
}

impl Succession {
    /// Every member has the version; none has proven that yet.
    pub(super) fn given(&mut self, number: u32) {
        self.distributed = Some(number);
        self.proven.clear();
        self.challenged = None;
        self.at = None;
    }

    /// Whether it has another reason than thresholds.
    pub(super) fn is_asked_for(&self) -> bool {
        let threshold = |because: &Because| {
            matches!(
                because.trigger,
                Trigger::Time
                    | Trigger::Messages
                    | Trigger::Bytes
                    | Trigger::Forecast
                    | Trigger::FailedOpens
            )
        };
        !self.reasons.iter().all(threshold)
    }

    /// The reason of the rotation.
    pub(super) fn cause(&self) -> Because {
        let unknown = || Because::of_gateway(Trigger::Start, "a rotation goes on");
        self.reasons.first().cloned().unwrap_or_else(unknown)
    }
}
