//! The only writer of the catalogue, the audit log and the snapshot: carries out the actions of the engine, and reports outcomes.
//!
//! Everything runs in turn on one thread, which may block on disks and custodians. [`Driver::tick`] and the functions beside it
//! need no runtime, so that a simulation drives them with its own clock, disk and custodian.
//!
//! | you look for | it is in |
//! |---|---|
//! | the event loop | `run` |
//! | what each step of the engine does | `perform` |
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

use super::drain::{self, DrainLink, DrainMessage};
use super::engine::{
    self, Action, Event, KeyringState, Member, Now, Order, OrderRequest, VersionView,
};
use super::external::{Fleet, FleetEvent, Inspector};
use super::reason::Reason;
use super::report::PublishStall;
use super::terms::{OpenPolicy, Terms};
use super::{MessagePath, ProcessKind, RotationConfig, StartError, stop_sealing};

use clocks::Clocks;
use drainers::Drainers;
use journal::Journal;
use loaded::Loaded;
use misses::Misses;
use perform::PendingInspection;
use reserve::ReservationSize;
use run::PendingRotation;

pub(super) use refusals::AuditedOrder;
pub(super) use run::{DrainChannel, Request};

/// Owns the catalogue, the audit log and the snapshot.
pub(super) struct Driver {
    policy: Arc<Policy>,
    /// The settings in force, as the audit log records them.
    settings: Settings,
    keyrings: Vec<ManagedKeyring>,
    catalogue: Catalogue,
    journal: Journal,
    loaded: Loaded,
    misses: Misses,
    keys: Arc<Keys>,
    refill: Arc<Notify>,
    inspector: Box<dyn Inspector>,
    fleet: Box<dyn Fleet>,
    drainers: Drainers,
    /// The digest of the settings, see [`drain::digest_of`].
    policy_digest: [u8; 8],
    user: ProcessKind,
    inspections: FuturesUnordered<PendingInspection>,
    clock: Clock,
    clocks: Clocks,
    begun: Instant,
    reread: Option<Instant>,
    /// When the records on disk were last compared with what is known.
    last_compared: Option<Instant>,
    meters: metrics::RotationMetrics,
    /// Orders that could not be written to the record, for the next start.
    marks: Vec<(Mark, Kid)>,
    /// A write has failed, and its outcome could not be read.
    in_doubt: bool,
    /// The older record that the last read of the catalogue found: a rollback.
    rolled_back: Option<String>,
    /// Why the catalogue could not be read last.
    unread: Option<String>,
    /// Limits log lines about reads that are retried at every tick.
    read_errors: Throttle,
    /// The last attempt to load a version that should be loaded, if it failed, and why.
    load_failure: Option<(Instant, String)>,
    /// Callers whose rotation is held back because the last one is too recent.
    pending_rotations: Vec<PendingRotation>,
    pace_warning: Throttle,
    /// The reason of the order under way, until the audit log has an event of it.
    unaudited: Option<Reason>,
}

/// A keyring and its engine.
struct ManagedKeyring {
    keyring: KeyringName,
    engine: KeyringState,
    size: ReservationSize,
    /// Why no more of the budget could be reserved, when that was tried last.
    reserve_failure: Option<String>,
    /// Why publishes waited at the last tick.
    stopped: Option<PublishStall>,
    meters: metrics::KeyringKeyMetrics,
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
    pub(super) user: ProcessKind,
    pub(super) clock: Clock,
    pub(super) held: Option<MessagePath>,
}

impl Driver {
    /// Starts from the catalogue: every keyring gets an active version, and what opens is loaded.
    pub(super) fn start(
        config: RotationConfig,
        parts: Parts,
    ) -> Result<(Self, mpsc::Receiver<Miss>), StartError> {
        let refill = Arc::new(Notify::new());
        let policy_digest = drain::digest_of(&config.settings);
        let policy = config.policy;
        let began = match &parts.held {
            Some(_) => Fact::GatewayTookBack,
            None => Fact::GatewayStarted {
                version: env!("CARGO_PKG_VERSION").into(),
                policy: Some(config.settings.in_force()),
            },
        };
        let MessagePath { keys, misses } = parts.held.unwrap_or_else(|| MessagePath::new(&policy));
        let begun = parts.clock.instant();
        let mut driver = Self {
            loaded: Loaded::new(Arc::clone(&policy), config.workers, Arc::clone(&refill)),
            policy,
            settings: config.settings,
            keyrings: Vec::new(),
            catalogue: parts.catalogue,
            journal: Journal::new(parts.audit),
            misses: Misses::default(),
            keys,
            refill,
            inspector: parts.inspector,
            fleet: parts.fleet,
            drainers: Drainers::new(parts.drainers),
            policy_digest,
            user: parts.user,
            inspections: FuturesUnordered::new(),
            clocks: Clocks::new(&parts.clock),
            clock: parts.clock,
            begun,
            reread: None,
            last_compared: None,
            meters: metrics::RotationMetrics::default(),
            marks: Vec::new(),
            in_doubt: false,
            rolled_back: None,
            unread: None,
            read_errors: Throttle::new(),
            load_failure: None,
            pending_rotations: Vec::new(),
            pace_warning: Throttle::new(),
            unaudited: None,
        };
        let before = driver.keys.load().generation();
        driver.loaded.continue_generation(before);
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
        let lost = self.recover();
        let weaker = self.audit_weaker_start(&began)?;
        self.audit_fact(began);
        self.drainers
            .broadcast(DrainMessage::Policy(self.policy_digest));
        self.set_terms(terms);
        self.loaded.load_all(&self.catalogue)?;
        self.install();
        self.resume_rotations(lost);
        self.tick();
        self.check_active()?;
        self.install();
        self.finish_weaker(weaker);
        Ok(())
    }

    /// Settles what an earlier process has left open; yields the rotations that are to go on.
    fn recover(&mut self) -> Vec<(Option<Kid>, (String, Reason))> {
        self.read_marks();
        let wall = self.wall();
        let mut lost = self.journal.recover(&self.catalogue, wall);
        lost.retain(|(kid, _lost)| !kid.is_some_and(|kid| self.is_withdrawn(kid)));
        lost
    }

    /// Goes on with rotations of which an earlier process has left no more than the intent.
    fn resume_rotations(&mut self, lost: Vec<(Option<Kid>, (String, Reason))>) {
        self.resume_marked_orders();
        for (_kid, (keyring, reason)) in lost {
            if let Ok(index) = self.index(&keyring) {
                let order = Order::Rotate;
                self.feed(index, Event::Ordered(OrderRequest { order, reason }));
            }
        }
    }

    /// Writes a start or stop of the gateway to the audit log.
    fn audit_fact(&mut self, fact: Fact) {
        if self.user == ProcessKind::Command {
            return;
        }
        let wall = self.wall();
        if let Err(error) = self.journal.note_or_defer(fact, wall) {
            tracing::error!(%error, "the audit log does not say that the gateway started or stopped");
        }
    }

    /// Names the final records in the audit log, where reservations have changed them since it last did: the next start compares.
    fn audit_records_left(&mut self) {
        let keyrings = self.catalogue.keyrings();
        let records = keyrings.filter_map(|keyring| self.catalogue.reference(keyring));
        let wall = self.wall();
        if let Err(error) = self.journal.note_records_left(records.collect(), wall) {
            tracing::error!(%error, "the audit log does not say which records were left");
        }
    }

    /// The keys that the message path loads.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Applies terms, in the order of the policy's keyrings; new keyrings get an engine.
    fn set_terms(&mut self, terms: Vec<Terms>) {
        self.reject_plaintext_by_date();
        let policy = Arc::clone(&self.policy);
        let names = policy.keyrings().iter().map(|rule| rule.name.clone());
        let of: Vec<_> = names.zip(terms).collect();
        let open = |(name, terms): &(KeyringName, Terms)| (name.clone(), terms.open);
        let open: HashMap<KeyringName, OpenPolicy> = of.iter().map(open).collect();
        self.loaded.configure(policy, open);
        for (index, (keyring, terms)) in of.into_iter().enumerate() {
            if index < self.keyrings.len() {
                self.feed(index, Event::Terms(terms));
                self.cap(index);
            } else {
                let members: BTreeSet<Member> = self.fleet.members().into_iter().collect();
                let engine = KeyringState::new(terms, self.versions(&keyring), members);
                self.keyrings.push(ManagedKeyring {
                    meters: measure::handles(&keyring),
                    keyring,
                    engine,
                    size: ReservationSize::default(),
                    reserve_failure: None,
                    stopped: None,
                    challenged: None,
                });
            }
        }
    }

    /// The periodic work, every [`run::TICK`].
    pub(super) fn tick(&mut self) {
        let now = self.clock.instant();
        let seen = self.loaded.count_opens(now);
        self.pass_time();
        self.journal.retry_deferred(now);
        self.catalogue.set_audit_head(self.journal.head());
        if self.must_read() {
            self.refresh_catalogue();
            self.sync_engines();
        }
        let due = |last: Instant| now.saturating_duration_since(last) >= misses::REREAD_INTERVAL;
        if self
            .load_failure
            .as_ref()
            .is_some_and(|(last, _why)| due(*last))
        {
            self.install();
        }
        for event in self.fleet.events() {
            self.handle_fleet_event(&event);
        }
        self.handle_drainers();
        for index in 0..self.keyrings.len() {
            let event = self.usage(index).unwrap_or(Event::Tick);
            self.feed(index, event);
            self.reserve(index);
            self.write_served_subjects(index);
        }
        self.answer_pending_rotations();
        self.drop_marks(|_kid| true);
        self.report_stalls();
        self.measure(&seen);
    }

    /// Tells the engines of records that others have changed.
    fn sync_engines(&mut self) {
        for index in 0..self.keyrings.len() {
            let Some((keyring, engine)) = self.engine(index) else {
                continue;
            };
            let versions = self.versions(keyring);
            if engine.versions() != versions {
                self.feed(index, Event::Record(versions));
            }
        }
    }

    fn handle_fleet_event(&mut self, event: &FleetEvent) {
        for index in 0..self.keyrings.len() {
            if let Some(event) = self.event_for(index, event) {
                self.feed(index, event);
            }
        }
    }

    /// The event for a keyring.
    fn event_for(&self, index: usize, event: &FleetEvent) -> Option<Event> {
        match event {
            FleetEvent::Joined(member) => Some(Event::Joined(member.clone())),
            FleetEvent::Left(member) => Some(Event::Left(member.clone())),
            FleetEvent::Proven(member, kid) => {
                let versions = self.record(index)?.versions.iter();
                let mut proven = versions.filter(|version| version.kid == *kid);
                Some(Event::Proven(member.clone(), proven.next()?.number))
            }
        }
    }

    /// Gives the engine an event and carries out its actions until there are none.
    fn feed(&mut self, index: usize, event: Event) {
        self.check_wall_clock();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.decide(index, event) {
                events.extend(self.perform(index, action));
            }
        }
    }

    fn decide(&mut self, index: usize, event: Event) -> Vec<Action> {
        let now = self.now();
        let managed = self.keyrings.get_mut(index);
        managed.map_or_else(Vec::new, |managed| {
            engine::decide(&mut managed.engine, now, event)
        })
    }

    /// Everything that opens, and what seals, as the catalogue has it now. What cannot be loaded is tried again.
    fn install(&mut self) {
        let loaded = self.loaded.load_all(&self.catalogue);
        let now = self.clock.instant();
        self.load_failure = loaded.as_ref().err().map(|error| (now, error.to_string()));
        if let Err(error) = loaded
            && let Some(left_out) = self.read_errors.admit(now)
        {
            tracing::error!(%error, left_out, "a key version that should open cannot be loaded; tried again");
        }
        let snapshot = self.loaded.snapshot(&self.catalogue);
        self.keys.install(snapshot);
    }

    /// A gateway that can seal nothing at all does not start. One keyring that cannot seal keeps no other from being served, and
    /// nobody from giving orders on the state directory.
    fn check_active(&self) -> Result<(), StartError> {
        let idle = |managed: &&ManagedKeyring| managed.engine.active().is_none();
        let idle: Vec<_> = self.keyrings.iter().filter(idle).collect();
        let failure = |managed: &ManagedKeyring| managed.engine.failure().cloned();
        for managed in &idle {
            let error = failure(managed)
                .map(|failure| failure.text)
                .unwrap_or_default();
            tracing::error!(keyring = %managed.keyring, error, "the keyring has no active key version; tried again");
        }
        let first = idle
            .first()
            .and_then(|managed| Some((managed, failure(managed)?)));
        match first {
            Some((managed, source))
                if idle.len() == self.keyrings.len() && self.user == ProcessKind::Gateway =>
            {
                Err(StartError::NoActiveVersion {
                    keyring: managed.keyring.clone(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    fn engine(&self, index: usize) -> Option<(&KeyringName, &KeyringState)> {
        let managed = self.keyrings.get(index)?;
        Some((&managed.keyring, &managed.engine))
    }

    fn versions(&self, keyring: &KeyringName) -> Vec<VersionView> {
        let versions = self
            .catalogue
            .record(keyring)
            .map(|record| &record.versions);
        versions
            .into_iter()
            .flatten()
            .map(VersionView::from)
            .collect()
    }

    fn record(&self, index: usize) -> Option<&Record> {
        self.catalogue.record(&self.keyrings.get(index)?.keyring)
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
