//! The engine against a simulated record, clock, custodian and fleet, any of which may fail.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at the first thing that is not as expected"
)]

mod clocks;
mod destruction;
mod facts;
mod pace;
mod page;
mod random;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::life::later;
use super::*;
use crate::audit::{self, Trigger};
use crate::catalogue::State;
use crate::envelope::{Kid, Suite};
use crate::fault::{Fault, Retry, Who};
use crate::rotation::because::Because;
use crate::rotation::terms::{Consent, Doubtful, Limit, Retain, Rotate};

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
        destroy: Consent::Automatic,
        open: Doubtful::Suspended,
    }
}

fn me() -> Member {
    Member("self".to_owned())
}

fn operator() -> Because {
    Because {
        trigger: Trigger::Manual,
        ..Because::of_gateway(Trigger::Manual, "a test says so")
    }
}

/// A record and a clock that the engine drives.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct World {
    ring: Option<Ring>,
    lives: Vec<Life>,
    now: Now,
    /// What was done, with the trigger.
    done: Vec<(Deed, Trigger)>,
    /// Every write fails.
    broken: bool,
    /// The custodian wraps no new secret.
    no_secrets: bool,
    /// No version becomes ready.
    none_ready: bool,
    /// Members that prove when asked.
    honest: BTreeSet<Member>,
    /// What the bus says of stored messages.
    stored: Verdict,
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
            ring: Some(Ring::new(terms, Vec::new(), honest.clone())),
            lives: Vec::new(),
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
            stored: Verdict::Clear(String::new()),
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

    fn ring(&self) -> &Ring {
        self.ring.as_ref().unwrap()
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
        let number = self.ring().active().unwrap().number;
        self.feed(Event::Usage {
            number,
            sealed: Used { messages, bytes },
            used: Used { messages, bytes },
            failed_opens: 0,
            supply: Supply::Lasts,
        });
    }

    fn ask(&mut self, order: Order) -> Result<(), Refused> {
        self.ask_as(order, audit::Who::Gateway)
    }

    fn ask_as(&mut self, order: Order, who: audit::Who) -> Result<(), Refused> {
        self.ring().judge(order)?;
        let because = Because { who, ..operator() };
        self.feed(Event::Asked(Asked { order, because }));
        Ok(())
    }

    fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (ring, actions) = step(self.ring.take().unwrap(), self.now, event);
            self.ring = Some(ring);
            for action in actions {
                events.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: Action) -> Vec<Event> {
        let Action { deed, because } = action;
        match &deed {
            Deed::Challenge(number, members) => {
                let honest = members
                    .iter()
                    .filter(|member| self.honest.contains(*member));
                return honest
                    .map(|member| Event::Proven(member.clone(), *number))
                    .collect();
            }
            Deed::Inspect(number) => {
                self.asked += 1;
                return vec![Event::Inspected(*number, self.stored.clone())];
            }
            _ => {}
        }
        let impossible = (self.no_secrets && deed == Deed::Generate)
            || (self.none_ready && matches!(deed, Deed::Admit(_)));
        let outcome = if self.broken || impossible {
            self.failed += 1;
            Err(Failure {
                text: "the disk is full".to_owned(),
                fault: Fault {
                    who: Who::Operator,
                    retry: Retry::Later,
                },
            })
        } else {
            self.write(&deed);
            self.done.push((deed, because.trigger));
            Ok(())
        };
        vec![Event::Ended(outcome, self.lives.clone())]
    }

    /// What the catalogue would do, and would refuse to do.
    fn write(&mut self, deed: &Deed) {
        if *deed == Deed::Generate {
            let number = u32::try_from(self.lives.len()).unwrap() + 1;
            self.lives.push(Life {
                number,
                kid: Kid([u8::try_from(number % 256).unwrap(); 8]),
                suite: self
                    .ring
                    .as_ref()
                    .map_or(Suite::Aes256Gcm, |ring| ring.terms().suite),
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
        if let Deed::Propose(number, proposal) = deed {
            let mut lives = self.lives.iter_mut();
            let life = lives.find(|life| life.number == *number).unwrap();
            life.proposed = Some(proposal.clone());
            return;
        }
        let (Some(number), Some(state)) = (deed.number(), deed.enters()) else {
            return;
        };
        if let Deed::Activate(_) = deed {
            let last = self.activated.replace(self.now.elapsed);
            if let Some(before) = self.lives.iter_mut().find(|life| life.state.seals()) {
                enter(before, State::DecryptOnly, self.now);
                let apart = last.map(|last| self.now.elapsed - last);
                assert!(apart.is_none_or(|apart| apart >= SECOND), "{apart:?}");
            }
        }
        let life = self
            .lives
            .iter_mut()
            .find(|life| life.number == number)
            .unwrap();
        enter(life, state, self.now);
        let active = self.lives.iter().filter(|life| life.state.seals()).count();
        assert!(active <= 1, "{active} versions are active");
    }

    fn states(&self) -> Vec<State> {
        self.lives.iter().map(|life| life.state).collect()
    }

    fn deeds(&self) -> Vec<Deed> {
        self.done
            .iter()
            .map(|(deed, _trigger)| deed.clone())
            .collect()
    }
}

fn enter(life: &mut Life, state: State, now: Now) {
    assert!(
        life.state != state && life.state.may_become(state),
        "version {} cannot go from {} to {state}",
        life.number,
        life.state
    );
    life.state = state;
    life.since = now.wall;
    life.entered = now.monotonic;
    match state {
        State::Active => {
            life.activated = life.activated.or(Some(now.wall));
            life.began = life.began.or(Some(now.monotonic));
        }
        State::DecryptOnly | State::Archived => {
            life.deactivated = life.deactivated.or(Some(now.wall));
        }
        _ => {}
    }
    assert!(
        !(state.seals() && life.deactivated.is_some()),
        "version {} seals again",
        life.number
    );
}
