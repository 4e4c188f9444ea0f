//! The engine against a simulated record, clock, custodian and fleet, any of which may fail.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at the first thing that is not as expected"
)]

mod clocks;
mod destruction;
mod pace;
mod page;
mod random;
mod scenarios;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::version::later;
use super::*;
use crate::audit::{self, Trigger};
use crate::catalogue::State;
use crate::envelope::{Kid, Suite, Volume};
use crate::fleet::Member;
use crate::rotation::reason::Reason;
use crate::rotation::terms::{DestroyApproval, Limit, OpenPolicy, Retain, Rotate, Terms};

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

fn terms() -> Terms {
    Terms {
        suite: Suite::Aes256Gcm,
        rotate: Rotate {
            after: 24 * HOUR,
            jitter: 0,
            messages: 1000,
            bytes: 1 << 20,
        },
        limit: Limit {
            messages: 4000,
            bytes: 4 << 20,
        },
        overlap: Duration::from_mins(10),
        retain: Retain::Destroy,
        hold: Duration::ZERO,
        destroy: DestroyApproval::Automatic,
        open: OpenPolicy::Suspended,
    }
}

fn me() -> Member {
    Member("self".to_owned())
}

fn operator() -> Reason {
    Reason {
        trigger: Trigger::Manual,
        ..Reason::of_gateway(Trigger::Manual, "a test says so")
    }
}

/// A record and a clock that the engine drives.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct World {
    state: KeyringState,
    versions: Vec<VersionView>,
    now: Now,
    /// What was done, with the trigger.
    done: Vec<(Step, Trigger)>,
    /// Every write fails.
    broken: bool,
    /// The custodian wraps no new secret.
    no_secrets: bool,
    /// No version becomes ready.
    none_ready: bool,
    /// Members that prove when asked.
    honest: BTreeSet<Member>,
    /// What the bus says of stored messages.
    stored: RetentionVerdict,
    asked: usize,
    failed: usize,
    /// When a version last became active, in this process.
    activated: Option<Duration>,
}

impl World {
    fn new(terms: Terms) -> Self {
        Self::with_members(terms, [me()])
    }

    fn with_members(terms: Terms, members: impl IntoIterator<Item = Member>) -> Self {
        let honest: BTreeSet<_> = members.into_iter().collect();
        Self {
            state: KeyringState::new(terms, Vec::new(), honest.clone()),
            versions: Vec::new(),
            now: Now {
                wall: Timestamp::from_second(1_795_428_000).unwrap(),
                monotonic: Timestamp::from_second(1_795_428_000).unwrap(),
                elapsed: Duration::ZERO,
            },
            done: Vec::new(),
            broken: false,
            no_secrets: false,
            none_ready: false,
            honest,
            stored: RetentionVerdict::Clear(String::new()),
            asked: 0,
            failed: 0,
            activated: None,
        }
    }

    /// With a version 1 that has been active for as long as it must be before another may be.
    fn started(terms: Terms) -> Self {
        let mut world = Self::new(terms);
        world.tick();
        world.pass(SECOND);
        world.done.clear();
        world
    }

    fn tick(&mut self) {
        self.feed(Event::Tick);
    }

    fn pass(&mut self, by: Duration) {
        self.now.wall = later(self.now.wall, by);
        self.now.monotonic = later(self.now.monotonic, by);
        self.now.elapsed += by;
        self.tick();
    }

    fn used(&mut self, messages: u64, bytes: u64) {
        let number = self.state.active().unwrap().number;
        self.feed(Event::Usage {
            number,
            sealed: Volume { messages, bytes },
            used: Volume { messages, bytes },
            failed_opens: 0,
            headroom: LimitHeadroom::Enough,
        });
    }

    fn ask(&mut self, order: Order) -> Result<(), Refused> {
        self.ask_as(order, audit::Actor::Gateway)
    }

    fn ask_as(&mut self, order: Order, who: audit::Actor) -> Result<(), Refused> {
        self.state.check_order(order)?;
        let reason = Reason { who, ..operator() };
        self.feed(Event::Ordered(OrderRequest { order, reason }));
        Ok(())
    }

    fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in decide(&mut self.state, self.now, event) {
                events.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: Action) -> Vec<Event> {
        let Action { step, reason } = action;
        match &step {
            Step::Challenge(number, members) => {
                let honest = members
                    .iter()
                    .filter(|member| self.honest.contains(*member));
                return honest
                    .map(|member| Event::Proven(member.clone(), *number))
                    .collect();
            }
            Step::Inspect(number) => {
                self.asked += 1;
                return vec![Event::Inspected(*number, self.stored.clone())];
            }
            _ => {}
        }
        let impossible = (self.no_secrets && step == Step::Generate)
            || (self.none_ready && matches!(step, Step::Admit(_)));
        let outcome = if self.broken || impossible {
            self.failed += 1;
            Err("the disk is full".to_owned().into())
        } else {
            self.write(&step);
            self.done.push((step, reason.trigger));
            Ok(())
        };
        vec![Event::Ended(outcome, self.versions.clone())]
    }

    /// What the catalogue would do, and would refuse to do.
    fn write(&mut self, step: &Step) {
        if *step == Step::Generate {
            let number = u32::try_from(self.versions.len()).unwrap() + 1;
            self.versions.push(VersionView {
                number,
                kid: Kid([u8::try_from(number % 256).unwrap(); 8]),
                suite: self.state.terms().suite,
                state: State::PreActive,
                since: self.now.wall,
                entered: self.now.monotonic,
                activated: None,
                began: None,
                deactivated: None,
                proposed: None,
            });
            return;
        }
        if let Step::Propose(number, proposal) = step {
            let mut versions = self.versions.iter_mut();
            let version = versions.find(|version| version.number == *number).unwrap();
            version.proposed = Some(proposal.clone());
            return;
        }
        let (Some(number), Some(state)) = (step.number(), step.enters()) else {
            return;
        };
        if let Step::Activate(_) = step {
            let last = self.activated.replace(self.now.elapsed);
            if let Some(before) = self
                .versions
                .iter_mut()
                .find(|version| version.state.seals())
            {
                enter(before, State::DecryptOnly, self.now);
                let apart = last.map(|last| self.now.elapsed - last);
                assert!(apart.is_none_or(|apart| apart >= SECOND), "{apart:?}");
            }
        }
        let version = self
            .versions
            .iter_mut()
            .find(|version| version.number == number)
            .unwrap();
        enter(version, state, self.now);
        let active = self
            .versions
            .iter()
            .filter(|version| version.state.seals())
            .count();
        assert!(active <= 1, "{active} versions are active");
    }

    fn states(&self) -> Vec<State> {
        self.versions.iter().map(|version| version.state).collect()
    }

    fn steps(&self) -> Vec<Step> {
        self.done
            .iter()
            .map(|(step, _trigger)| step.clone())
            .collect()
    }
}

fn enter(version: &mut VersionView, state: State, now: Now) {
    assert!(
        version.state != state && version.state.may_become(state),
        "version {} cannot go from {} to {state}",
        version.number,
        version.state
    );
    version.state = state;
    version.since = now.wall;
    version.entered = now.monotonic;
    match state {
        State::Active => {
            version.activated = version.activated.or(Some(now.wall));
            version.began = version.began.or(Some(now.monotonic));
        }
        State::DecryptOnly | State::Archived => {
            version.deactivated = version.deactivated.or(Some(now.wall));
        }
        _ => {}
    }
    assert!(
        !(state.seals() && version.deactivated.is_some()),
        "version {} seals again",
        version.number
    );
}
