//! The state of one keyring, and queries on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Trigger;
use crate::catalogue::State;
use crate::fault::{Failure, Faulty};
use crate::rotation::reason::Reason;
use crate::rotation::terms::Terms;

use super::order::{Order, OrderRequest, Refused};
use super::spacing::RotationSpacing;
use super::step::Step;
use super::usage::Usage;
use super::version::{Now, VersionView, later};
use crate::fleet::Member;

/// The first pause after a failure; it doubles.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long after an answer JetStream is asked again; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// How long a rotation is assumed to take before one has been measured.
pub(super) const FIRST_LEAD: Duration = Duration::from_secs(10);

/// The state of one keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringState {
    pub(super) terms: Terms,
    /// Oldest first, as the record has them.
    pub(super) versions: Vec<VersionView>,
    pub(super) members: BTreeSet<Member>,
    pub(super) usage: Usage,
    pub(super) spacing: RotationSpacing,
    pub(super) rotation: Option<OngoingRotation>,
    /// The unused successor of a withdrawn rotation, to be discarded.
    pub(super) leftover: Option<u32>,
    pub(super) orders: VecDeque<OrderRequest>,
    pub(super) work: Work,
    pub(super) destroy_checks: BTreeMap<u32, DestroyCheck>,
    /// How long the next pause after a failure is.
    pub(super) pause: Duration,
    /// After every other failure archiving and destroying go first: a rotation that keeps failing must not keep a secret alive.
    pub(super) ends_first: bool,
    /// How long a rotation takes: the last one, or an assumption.
    pub(super) lead: Duration,
}

/// A rotation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OngoingRotation {
    /// The first is the cause; later ones joined.
    pub(super) reasons: Vec<Reason>,
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
    Doing(Step),
    BackingOff(Backoff),
}

/// A pause after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) until: Duration,
    pub(super) failure: Failure,
}

/// Whether stored messages may need a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetentionVerdict {
    /// None does: the evidence.
    Clear(String),
    /// Some do, or may: the evidence.
    Held(Failure),
}

/// The state of asking JetStream whether a version may be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestroyCheck {
    /// The last answer; `None` before the first.
    pub verdict: Option<RetentionVerdict>,
    /// When to ask again.
    pub(super) again: Duration,
    pub(super) wait: Duration,
    pub(super) asking: bool,
}

/// How far a rotation has come.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RotationStage {
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
    pub stage: RotationStage,
    /// Why it failed; it is tried again.
    pub failure: Option<String>,
}

impl KeyringState {
    /// The state of a keyring whose record has these versions.
    #[must_use]
    pub fn new(terms: Terms, versions: Vec<VersionView>, members: BTreeSet<Member>) -> Self {
        Self {
            terms,
            spacing: RotationSpacing::of(&versions),
            versions,
            members,
            usage: Usage::default(),
            rotation: None,
            leftover: None,
            orders: VecDeque::new(),
            work: Work::Idle,
            destroy_checks: BTreeMap::new(),
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
            Work::BackingOff(backoff) => Some(&backoff.failure),
            Work::Idle | Work::Doing(_) => None,
        }
    }

    /// The versions, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[VersionView] {
        &self.versions
    }

    /// The last check whether this version may be destroyed, if there was one.
    #[must_use]
    pub fn destroy_check(&self, number: u32) -> Option<&DestroyCheck> {
        self.destroy_checks.get(&number)
    }

    /// Whether an order can be carried out.
    ///
    /// # Errors
    /// Why not, and what would help.
    pub fn check_order(&self, order: Order) -> Result<(), Refused> {
        if let Some(number) = order.number() {
            let version = self.version(number).ok_or(Refused::Unknown(number))?;
            order.check_state(version.state)?;
            return self.check_approval(order);
        }
        if order != Order::Abort {
            return Ok(());
        }
        if self.rotation.is_none() {
            return Err(Refused::NoRotation);
        }
        self.active().map(drop).ok_or(Refused::Needed)
    }

    /// Whether the order has been carried out.
    #[must_use]
    pub fn has_done(&self, order: Order) -> bool {
        let state = |number| self.version(number).map(|version| version.state);
        match order {
            Order::Rotate | Order::Abort => self.rotation.is_none(),
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
                let proposed = self
                    .version(number)
                    .and_then(|version| version.proposed.as_ref());
                proposed.is_some_and(|proposal| proposal.forced == forced)
            }
        }
    }

    /// Puts other terms in force, which the next event is judged by.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// The unused successor that a withdrawn rotation has left behind.
    #[must_use]
    pub fn leftover(&self) -> Option<u32> {
        let waits = |number: &u32| self.version(*number).is_some_and(VersionView::is_pending);
        self.leftover.filter(waits)
    }

    /// Whether a rotation is under way.
    #[must_use]
    pub const fn is_rotating(&self) -> bool {
        self.rotation.is_some()
    }

    /// Whether an order has been accepted and not carried out yet.
    #[must_use]
    pub fn has_pending(&self, order: Order) -> bool {
        self.orders.iter().any(|asked| asked.order == order)
    }

    /// When the overlap of a version ends; `None` outside an overlap.
    #[must_use]
    pub fn overlap_ends(&self, number: u32, now: Now) -> Option<Timestamp> {
        let version = self.version(number)?;
        (version.state == State::DecryptOnly).then(|| version.ends(self.terms.overlap, now))
    }

    /// When a version is to stop sealing. `None` names a version yet to be generated: a cryptoperiod from now.
    #[must_use]
    pub fn expiry(&self, number: Option<u32>, now: Now) -> Option<Timestamp> {
        match number.map(|number| self.version(number)) {
            None => Some(later(now.wall, self.terms.rotate.after)),
            Some(Some(version)) if version.is_pending() || version.state.seals() => {
                Some(self.due(version, now))
            }
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
        let number = active.map(|version| version.number);
        Outlook {
            rotates: active.map(|version| self.due(version, now)),
            threshold: number.and_then(|number| self.usage.until_sealed(now, number, soft)),
            limit: number.and_then(|number| self.usage.until_used(now, number, self.terms.limit)),
            stage: self.stage(),
            failure: self.failure().map(Faulty::with_help),
        }
    }

    /// How long a successor that is ready still has to wait because the last rotation was so recent; `None` when none waits.
    /// After a revocation, when nothing seals, there is no wait.
    #[must_use]
    pub fn held_back(&self, now: Now) -> Option<Duration> {
        let rotation = self.rotation.as_ref()?;
        if !self.waits_for_time() {
            return None;
        }
        let wait = if rotation.is_asked_for() {
            self.spacing.wait_if_asked(now)
        } else {
            self.spacing.wait(now)
        };
        (!wait.is_zero()).then_some(wait)
    }

    /// Whether all members have the successor and nothing failed, so that only time is missing until it becomes active.
    #[must_use]
    pub fn waits_for_time(&self) -> bool {
        let ready = self.successor().map(|version| version.state) == Some(State::Ready);
        let under_way = self.rotation.is_some() && self.failure().is_none();
        ready && under_way && self.active().is_some()
    }

    /// The version that seals.
    #[must_use]
    pub fn active(&self) -> Option<&VersionView> {
        self.versions.iter().find(|version| version.state.seals())
    }

    /// The version that is to become active.
    pub(super) fn successor(&self) -> Option<&VersionView> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.is_pending())
    }

    pub(super) fn version(&self, number: u32) -> Option<&VersionView> {
        self.versions
            .iter()
            .find(|version| version.number == number)
    }

    /// When the cryptoperiod of this version ends. A wall clock may make that earlier, which is harmless, but not later.
    pub(super) fn due(&self, version: &VersionView, now: Now) -> Timestamp {
        let period = self.terms.rotate.cryptoperiod(version.kid);
        if version.ahead(now).is_some() {
            return now.wall;
        }
        let began = version.began.unwrap_or(version.entered);
        now.due(began, version.activated.unwrap_or(version.since), period)
    }

    fn stage(&self) -> RotationStage {
        let Some(rotation) = &self.rotation else {
            return RotationStage::None;
        };
        match self.successor() {
            None => RotationStage::Generate,
            Some(version) if rotation.distributed != Some(version.number) => {
                RotationStage::Distribute
            }
            Some(version) if version.state == State::PreActive => RotationStage::Prove,
            Some(_) => RotationStage::Activate,
        }
    }
}

impl DestroyCheck {
    pub(super) const fn asking() -> Self {
        Self {
            verdict: None,
            again: Duration::ZERO,
            wait: FIRST_WAIT,
            asking: true,
        }
    }
}

impl OngoingRotation {
    /// Every member has the version; none has proven that yet.
    pub(super) fn distributed_to_all(&mut self, number: u32) {
        self.distributed = Some(number);
        self.proven.clear();
        self.challenged = None;
        self.at = None;
    }

    /// Whether it has another reason than thresholds.
    pub(super) fn is_asked_for(&self) -> bool {
        let threshold = |reason: &Reason| {
            matches!(
                reason.trigger,
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
    pub(super) fn cause(&self) -> Reason {
        let unknown = || Reason::of_gateway(Trigger::Start, "a rotation goes on");
        self.reasons.first().cloned().unwrap_or_else(unknown)
    }
}
