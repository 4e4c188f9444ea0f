//! The only writer of the catalogue, the audit log and the snapshot: carries out the actions of the engine, and reports outcomes.
//!
//! Everything runs in turn on one thread, which may block on disks and custodians. [`Driver::tick`] and the functions beside it
//! need no runtime, so that a simulation drives them with its own clock, disk and custodian.
//!
//! | you look for | it is in |
//! |---|---|
//! | the event loop | `run` |
//! | what each deed of the engine does | `perform` |
//! | reservations of budgets | `reserve` |
//! | orders of operators | `orders` |
//! | audit lines of orders for which nothing is begun | `refusals` |
//! | configurations that weaken protection | `protect` |
//! | status for operators | `report` |
//! | why publishes wait | `standstill` |
//! | kids that are not in the snapshot | `misses` |
//! | versions in memory | `loaded` |
//! | orders that could not be written to the record | `marks` |
//! | following another process that took over as writer | `follow` |
//! | processes that drain, as the writer serves them | `drainers` |
//! | changes of the wall clock, and dates of the configuration | `clocks` |
//! | metrics | `measure` |

mod clocks;
mod drainers;
mod follow;
#[cfg(test)]
mod handed_over;
mod journal;
mod loaded;
mod marks;
mod measure;
mod misses;
mod orders;
mod perform;
mod protect;
mod refusals;
mod report;
mod reserve;
mod run;
#[cfg(test)]
mod simulation;
mod standstill;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use crate::audit::{self, Fact, Settings};
use crate::catalogue::{Catalogue, Mark, Record};
use crate::clock::Clock;
use crate::envelope::Kid;
use crate::keyring::{Keys, Miss};
use crate::metrics::{self, Throttle};
use crate::policy::{KeyringName, Policy};

use super::because::Because;
use super::drain::{self, DrainLink, Said};
use super::engine::{self, Action, Asked, Event, Life, Member, Now, Order, Ring};
use super::report::Stopped;
use super::seams::{Fleet, Inspector, News};
use super::terms::{Doubtful, Terms};
use super::{Config, Held, StartError, User, stop_sealing};

use clocks::Clocks;
use drainers::Drainers;
use journal::Journal;
use loaded::Loaded;
use misses::Misses;
use perform::Inquiry;
use reserve::Pace;
use run::Caller;

pub(super) use refusals::Ordered;
pub(super) use run::{Request, Way};

/// Owns the catalogue, the audit log and the snapshot.
pub(super) struct Driver {
    policy: Arc<Policy>,
    /// The settings in force, as the audit log records them.
    settings: Settings,
    rings: Vec<Driven>,
    catalogue: Catalogue,
    journal: Journal,
    loaded: Loaded,
    misses: Misses,
    keys: Arc<Keys>,
    thirst: Arc<Notify>,
    inspector: Box<dyn Inspector>,
    fleet: Box<dyn Fleet>,
    drainers: Drainers,
    /// The digest of the settings, see [`drain::digest_of`].
    policy_digest: [u8; 8],
    user: User,
    inquiries: FuturesUnordered<Inquiry>,
    clock: Clock,
    clocks: Clocks,
    begun: Instant,
    reread: Option<Instant>,
    /// When the records on disk were last compared with what is known.
    looked: Option<Instant>,
    meters: metrics::Keys,
    /// Orders that could not be written to the record, for the next start.
    marks: Vec<(Mark, Kid)>,
    /// A write has failed, and its outcome could not be read.
    in_doubt: bool,
    /// The older record that the last read of the catalogue found: a rollback.
    rolled_back: Option<String>,
    /// Why the catalogue could not be read last.
    unread: Option<String>,
    /// Limits log lines about reads that are retried at every tick.
    doubts: Throttle,
    /// The last attempt to load a version that should be loaded, if it failed, and why.
    unloaded: Option<(Instant, String)>,
    /// Callers whose rotation is held back because the last one is too recent.
    callers: Vec<Caller>,
    haste: Throttle,
    /// The reason of the order under way, until the audit log has an event of it.
    unsaid: Option<Because>,
}

/// A keyring and its engine.
struct Driven {
    keyring: KeyringName,
    /// `None` only within [`Driver::step`].
    ring: Option<Ring>,
    pace: Pace,
    /// Why no more of the budget could be reserved, when that was tried last.
    unreserved: Option<String>,
    /// Why publishes waited at the last tick.
    stopped: Option<Stopped>,
    meters: metrics::KeyringKeys,
    /// When members were first asked to prove that they hold the successor.
    challenged: Option<Instant>,
}

/// What a driver works with.
pub(super) struct Parts {
    pub(super) catalogue: Catalogue,
    pub(super) audit: audit::Log,
    pub(super) inspector: Box<dyn Inspector>,
    pub(super) fleet: Box<dyn Fleet>,
    /// Links to processes that drain after a take-over.
    pub(super) drainers: Vec<DrainLink>,
    pub(super) user: User,
    pub(super) clock: Clock,
    pub(super) held: Option<Held>,
}

impl Driver {
    /// Starts from the catalogue: every keyring gets an active version, and what opens is loaded.
    pub(super) fn start(
        config: Config,
        parts: Parts,
    ) -> Result<(Self, mpsc::Receiver<Miss>), StartError> {
        let thirst = Arc::new(Notify::new());
        let policy_digest = drain::digest_of(&config.settings);
        let policy = config.policy;
        let began = match &parts.held {
            Some(_) => Fact::GatewayTookBack,
            None => Fact::GatewayStarted {
                version: env!("CARGO_PKG_VERSION").into(),
                policy: Some(config.settings.in_force()),
            },
        };
        let Held { keys, misses } = parts.held.unwrap_or_else(|| Held::new(&policy));
        let begun = parts.clock.instant();
        let mut driver = Self {
            loaded: Loaded::new(Arc::clone(&policy), config.workers, Arc::clone(&thirst)),
            policy,
            settings: config.settings,
            rings: Vec::new(),
            catalogue: parts.catalogue,
            journal: Journal::new(parts.audit),
            misses: Misses::default(),
            keys,
            thirst,
            inspector: parts.inspector,
            fleet: parts.fleet,
            drainers: Drainers::new(parts.drainers),
            policy_digest,
            user: parts.user,
            inquiries: FuturesUnordered::new(),
            clocks: Clocks::new(&parts.clock),
            clock: parts.clock,
            begun,
            reread: None,
            looked: None,
            meters: metrics::Keys::default(),
            marks: Vec::new(),
            in_doubt: false,
            rolled_back: None,
            unread: None,
            doubts: Throttle::new(),
            unloaded: None,
            callers: Vec::new(),
            haste: Throttle::new(),
            unsaid: None,
        };
        let before = driver.keys.load().generation();
        driver.loaded.number_from(before);
        match driver.begin_with(began, config.terms) {
            Ok(()) => Ok((driver, misses)),
            Err(error) => {
                stop_sealing(&driver.keys);
                Err(error)
            }
        }
    }

    fn begin_with(&mut self, began: Fact, terms: Vec<Terms>) -> Result<(), StartError> {
        self.start_clock();
        let lost = self.take_up();
        let weaker = self.begin_weaker(&began)?;
        self.say(began);
        self.drainers.tell(Said::Policy(self.policy_digest));
        self.adopt(terms);
        self.loaded.load_all(&self.catalogue)?;
        self.install();
        self.go_on_with(lost);
        self.tick();
        self.check_active()?;
        self.install();
        self.weakened(weaker);
        Ok(())
    }

    /// Settles what an earlier process has left open; yields the rotations that are to go on.
    fn take_up(&mut self) -> Vec<(Option<Kid>, (String, Because))> {
        self.read_marks();
        let wall = self.wall();
        let mut lost = self.journal.take_up(&self.catalogue, wall);
        lost.retain(|(kid, _lost)| !kid.is_some_and(|kid| self.is_withdrawn(kid)));
        lost
    }

    /// Goes on with rotations of which an earlier process has left no more than the intent.
    fn go_on_with(&mut self, lost: Vec<(Option<Kid>, (String, Because))>) {
        self.resume();
        for (_kid, (keyring, because)) in lost {
            if let Ok(index) = self.index(&keyring) {
                let order = Order::Rotate;
                self.feed(index, Event::Asked(Asked { order, because }));
            }
        }
    }

    /// Writes a start or stop of the gateway to the audit log.
    fn say(&mut self, fact: Fact) {
        if self.user == User::Command {
            return;
        }
        let wall = self.wall();
        if let Err(error) = self.journal.say(fact, wall) {
            tracing::error!(%error, "the audit log does not say that the gateway started or stopped");
        }
    }

    /// Names the final records in the audit log, where reservations have changed them since it last did: the next start compares.
    fn leave_records(&mut self) {
        let keyrings = self.catalogue.keyrings();
        let records = keyrings.filter_map(|keyring| self.catalogue.reference(keyring));
        let wall = self.wall();
        if let Err(error) = self.journal.leave(records.collect(), wall) {
            tracing::error!(%error, "the audit log does not say which records were left");
        }
    }

    /// The keys that the message path loads.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Applies terms, in the order of the policy's keyrings; new keyrings get an engine.
    fn adopt(&mut self, terms: Vec<Terms>) {
        self.let_dates_pass();
        let policy = Arc::clone(&self.policy);
        let names = policy.keyrings().iter().map(|rule| rule.name.clone());
        let of: Vec<_> = names.zip(terms).collect();
        let open = |(name, terms): &(KeyringName, Terms)| (name.clone(), terms.open);
        let open: HashMap<KeyringName, Doubtful> = of.iter().map(open).collect();
        self.loaded.configure(policy, open);
        for (index, (keyring, terms)) in of.into_iter().enumerate() {
            if index < self.rings.len() {
                self.feed(index, Event::Terms(terms));
                self.cap(index);
            } else {
                let members: BTreeSet<Member> = self.fleet.members().into_iter().collect();
                let ring = Ring::new(terms, self.lives(&keyring), members);
                self.rings.push(Driven {
                    meters: measure::handles(&keyring),
                    keyring,
                    ring: Some(ring),
                    pace: Pace::default(),
                    unreserved: None,
                    stopped: None,
                    challenged: None,
                });
            }
        }
    }

    /// The periodic work, every [`run::TICK`].
    pub(super) fn tick(&mut self) {
        let now = self.clock.instant();
        let seen = self.loaded.look(now);
        self.pass_time();
        self.journal.settle(now);
        self.catalogue.audited(self.journal.head());
        if self.must_read() {
            self.read_anew();
            self.follow();
        }
        let due = |last: Instant| now.saturating_duration_since(last) >= misses::REREAD;
        if self
            .unloaded
            .as_ref()
            .is_some_and(|(last, _why)| due(*last))
        {
            self.install();
        }
        for news in self.fleet.events() {
            self.hear(&news);
        }
        self.hear_drainers();
        for index in 0..self.rings.len() {
            let event = self.usage(index).unwrap_or(Event::Tick);
            self.feed(index, event);
            self.reserve(index);
            self.serve_subjects(index);
        }
        self.call_back();
        self.drop_marks(|_kid| true);
        self.announce();
        self.measure(&seen);
    }

    /// Tells the engines of records that others have changed.
    fn follow(&mut self) {
        for index in 0..self.rings.len() {
            let Some((keyring, ring)) = self.ring(index) else {
                continue;
            };
            let lives = self.lives(keyring);
            if ring.lives() != lives {
                self.feed(index, Event::Record(lives));
            }
        }
    }

    fn hear(&mut self, news: &News) {
        for index in 0..self.rings.len() {
            if let Some(event) = self.heard(index, news) {
                self.feed(index, event);
            }
        }
    }

    /// The event for a keyring.
    fn heard(&self, index: usize, news: &News) -> Option<Event> {
        match news {
            News::Joined(member) => Some(Event::Joined(member.clone())),
            News::Left(member) => Some(Event::Left(member.clone())),
            News::Proven(member, kid) => {
                let versions = self.record(index)?.versions.iter();
                let mut proven = versions.filter(|version| version.kid == *kid);
                Some(Event::Proven(member.clone(), proven.next()?.number))
            }
        }
    }

    /// Gives the engine an event and carries out its actions until there are none.
    fn feed(&mut self, index: usize, event: Event) {
        self.look_at_clock();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.step(index, event) {
                events.extend(self.perform(index, action));
            }
        }
    }

    fn step(&mut self, index: usize, event: Event) -> Vec<Action> {
        let now = self.now();
        let Some(driven) = self.rings.get_mut(index) else {
            return Vec::new();
        };
        let Some(ring) = driven.ring.take() else {
            return Vec::new();
        };
        let (ring, actions) = engine::step(ring, now, event);
        driven.ring = Some(ring);
        actions
    }

    /// Everything that opens, and what seals, as the catalogue has it now. What cannot be loaded is tried again.
    fn install(&mut self) {
        let loaded = self.loaded.load_all(&self.catalogue);
        let now = self.clock.instant();
        self.unloaded = loaded.as_ref().err().map(|error| (now, error.to_string()));
        if let Err(error) = loaded
            && let Some(left_out) = self.doubts.admit(now)
        {
            tracing::error!(%error, left_out, "a key version that should open cannot be loaded; tried again");
        }
        let snapshot = self.loaded.snapshot(&self.catalogue);
        self.keys.install(snapshot);
    }

    /// A gateway that can seal nothing at all does not start. One keyring that cannot seal keeps no other from being served, and
    /// nobody from giving orders on the state directory.
    fn check_active(&self) -> Result<(), StartError> {
        let idle = |driven: &&Driven| {
            let ring = driven.ring.as_ref();
            ring.is_some_and(|ring| ring.active().is_none())
        };
        let idle: Vec<_> = self.rings.iter().filter(idle).collect();
        let failure = |driven: &Driven| driven.ring.as_ref().and_then(Ring::failure).cloned();
        for driven in &idle {
            let error = failure(driven)
                .map(|failure| failure.text)
                .unwrap_or_default();
            tracing::error!(keyring = %driven.keyring, error, "the keyring has no active key version; tried again");
        }
        let first = idle
            .first()
            .and_then(|driven| Some((driven, failure(driven)?)));
        match first {
            Some((driven, source))
                if idle.len() == self.rings.len() && self.user == User::Gateway =>
            {
                Err(StartError::NoActiveVersion {
                    keyring: driven.keyring.clone(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    fn ring(&self, index: usize) -> Option<(&KeyringName, &Ring)> {
        let driven = self.rings.get(index)?;
        Some((&driven.keyring, driven.ring.as_ref()?))
    }

    fn lives(&self, keyring: &KeyringName) -> Vec<Life> {
        let versions = self
            .catalogue
            .record(keyring)
            .map(|record| &record.versions);
        versions.into_iter().flatten().map(Life::from).collect()
    }

    fn record(&self, index: usize) -> Option<&Record> {
        self.catalogue.record(&self.rings.get(index)?.keyring)
    }

    fn kid(&self, index: usize, number: u32) -> Option<Kid> {
        Some(self.record(index)?.version(number)?.kid)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::MAX)
    }

    fn now(&self) -> Now {
        let elapsed = self.clock.instant().saturating_duration_since(self.begun);
        let moment = self.catalogue.now(&self.clock);
        Now {
            wall: moment.wall,
            monotonic: moment.monotonic,
            elapsed,
        }
    }
}
