//! A simulated run of a gateway, from the seed's first action to the last.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use super::check::Observed;
use super::environment::{AnswerDelivery, Bus, FaultyFiles, Fixture, audit_log_dir, signer};
use super::faults::{Faults, Rng};
use super::members::Members;
use super::oracle::Oracle;
use super::traffic::{Traffic, VersionId};
use crate::audit::{Actor, Log, LoggedState, Settings, Trigger};
use crate::catalogue::{Catalogue, View};
use crate::clock::{Clock, ManualClock};
use crate::custodian::Custodian;
use crate::disk::Files;
use crate::disk::testing::CrashDisk;
use crate::envelope::Suite;
use crate::policy::{KeyringName, Policy, Rule};
use crate::rotation::config::Stores;
use crate::rotation::driver::testing::{Backlog, complete_all, stores};
use crate::rotation::driver::{Driver, Parts};
use crate::rotation::reason::Reason;
use crate::rotation::terms::{DestroyApproval, Limit, OpenPolicy, Retain, Rotate, Terms};
use crate::rotation::{KeyringStatus, OrderError, RotationConfig};

/// A gateway and its simulated environment.
pub(super) struct SimulatedRun<'h> {
    pub(super) fixture: &'h Fixture,
    pub(super) rng: Rng,
    /// Decides what disk and custodian do when.
    rng_of_work: Rng,
    /// Revocations that have not been answered yet.
    pub(super) revocations: Vec<(VersionId, Receiver<Result<KeyringStatus, OrderError>>)>,
    pub(super) faults: Faults,
    pub(super) traffic: Traffic,
    pub(super) disk: Arc<CrashDisk>,
    pub(super) members: Members,
    pub(super) observed: Observed,
    pub(super) oracle: Oracle,
    /// The catalogue as another member reads it.
    pub(super) view: View,
    pub(super) names: Vec<KeyringName>,
    pub(super) terms: Vec<Terms>,
    pub(super) counts: RunCounts,
    driver: Option<Driver>,
    files: Arc<dyn Files>,
    custodian: Arc<dyn Custodian>,
    policy: Arc<Policy>,
    pub(super) bus: Bus,
    pub(super) backlog: Backlog,
    pub(super) clock: Clock,
    pub(super) manual_clock: ManualClock,
    begun: Instant,
    workers: usize,
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunCounts {
    pub(super) actions: u64,
    pub(super) starts: u64,
    pub(super) refused_starts: u64,
    pub(super) jumps: u64,
    pub(super) versions: u64,
    pub(super) sealed: u64,
    pub(super) limits: u64,
}

/// How much a version may seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So little that limits are reached.
    Small,
    /// So much that it is reserved in many steps.
    Large,
}

/// How a process ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    PowerCut,
    Killed,
    Stopped,
}

impl<'h> SimulatedRun<'h> {
    pub(super) fn new(fixture: &'h Fixture, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0);
        let faults = Faults::new(seed);
        let disk = fixture.disk();
        let (clock, manual_clock) = Fixture::clock();
        let policy = policy(if rng.one_in(3) { 2 } else { 1 });
        let size = Size::any(&mut rng);
        let terms: Vec<Terms> = policy
            .keyrings()
            .iter()
            .map(|_| terms(&mut rng, size))
            .collect();
        let limits = terms.iter().map(|terms| terms.limit).collect();
        let traffic = Traffic::new(seed, (&policy, limits), &clock, &disk);
        let backlog = Backlog::default();
        let custodian = fixture.custodian(&faults, &traffic, (&manual_clock, &backlog));
        let others = if rng.one_in(3) { rng.between(1, 2) } else { 0 };
        let members = Members::new(
            usize::try_from(others).unwrap(),
            fixture.view(&disk).unwrap(),
            &backlog,
        );
        let oracle = Oracle::new(&disk, &clock, &traffic);
        let files = FaultyFiles {
            disk: Arc::clone(&disk),
            faults: faults.clone(),
            traffic: traffic.clone(),
            members: members.clone(),
            oracle: oracle.clone(),
        };
        let mut play = Self {
            fixture,
            faults,
            bus: Bus::new(&traffic),
            backlog,
            revocations: Vec::new(),
            members,
            view: fixture.view(&disk).unwrap(),
            observed: Observed::default(),
            oracle,
            names: names(&policy),
            terms,
            counts: RunCounts::default(),
            driver: None,
            files: Arc::new(files),
            custodian,
            policy,
            begun: clock.instant(),
            clock,
            manual_clock,
            workers: usize::try_from(rng.between(1, 3)).unwrap(),
            disk,
            traffic,
            rng,
            rng_of_work: Rng::new(seed, 4),
        };
        play.delay_work(seed);
        play.note_retention();
        play.start();
        play
    }

    /// Runs to the end; panics at the first failed check.
    pub(super) fn run(mut self) -> (RunCounts, super::faults::FaultCounts) {
        for _ in 0..self.rng.between(8, 28) {
            self.faults.draw();
            self.random_action();
            self.finish_action();
        }
        self.check_liveness();
        let path = self.traffic.path();
        self.counts.sealed = path.ledger.sealed.values().map(|used| used.messages).sum();
        drop(path);
        (self.counts, self.faults.seen())
    }

    pub(super) fn driver(&self) -> &Driver {
        self.driver.as_ref().unwrap()
    }

    pub(super) fn driver_mut(&mut self) -> &mut Driver {
        self.driver.as_mut().unwrap()
    }

    /// Delivers answers, restarts a process that has died, and checks.
    fn finish_action(&mut self) {
        if self.rng.one_in(2) {
            let delivery = if self.rng.one_in(6) {
                AnswerDelivery::Lost
            } else {
                AnswerDelivery::Arrives
            };
            self.bus.deliver(delivery);
        }
        self.complete_work();
        if self.disk.is_dead() {
            let end = self.rng.pick(&[End::PowerCut, End::PowerCut, End::Killed]);
            self.end(end);
        }
        self.check();
    }

    /// In a part of all runs disk and custodian do a part of their work later, in any order.
    fn delay_work(&self, seed: u64) {
        let mut rng = Rng::new(seed, 3);
        if rng.one_in(2) {
            self.backlog
                .set_delays(Some(Box::new(move || rng.one_in(2))));
        }
    }

    /// Has a part of the work done that disk and custodian are yet to do.
    fn complete_work(&mut self) {
        self.driver_mut().advance();
        for _ in 0..self.rng_of_work.between(0, 12) {
            let which = self.rng_of_work.index(self.backlog.len());
            if !self.backlog.complete(which) {
                break;
            }
            self.driver_mut().advance();
        }
        self.note_revocations();
    }

    /// Has all of it done.
    pub(super) fn complete_all_work(&mut self) {
        self.driver_mut().advance();
        while self.backlog.complete(0) {
            self.driver_mut().advance();
        }
        self.note_revocations();
    }

    /// The process has ended: of what was begun some may still be done.
    fn drop_work(&mut self) {
        while self.backlog.len() > 0 && self.rng_of_work.one_in(2) {
            let which = self.rng_of_work.index(self.backlog.len());
            self.backlog.complete(which);
        }
        self.backlog.clear();
        self.revocations.clear();
    }

    /// A revocation that was confirmed stays.
    fn note_revocations(&mut self) {
        let is_dead = self.disk.is_dead();
        let Self {
            revocations,
            observed,
            ..
        } = self;
        revocations.retain_mut(|(version, told)| match told.try_recv() {
            Ok(done) => {
                if done.is_ok() && !is_dead {
                    observed.compromised.insert(*version);
                }
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => false,
        });
    }

    pub(super) fn wait(&mut self, by: Duration) {
        self.traffic.path().finish_batches();
        self.manual_clock.advance(by);
        self.driver_mut().tick();
        self.driver_mut().advance();
    }

    /// How far the wall clock is ahead of the elapsed time.
    pub(super) fn ahead(&self) -> Duration {
        let wall = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH);
        wall.unwrap() - (self.clock.instant() - self.begun)
    }

    pub(super) fn note_retention(&mut self) {
        for (ring, terms) in self.terms.iter().enumerate() {
            if terms.retain == Retain::Shred {
                self.observed.shredding.insert(ring);
            }
            if terms.destroy == DestroyApproval::Automatic {
                self.observed.automatic.insert(ring);
            }
            let hold = self.observed.hold.entry(ring).or_insert(terms.hold);
            *hold = (*hold).min(terms.hold);
            let overlap = self.observed.overlap.entry(ring).or_insert(terms.overlap);
            *overlap = (*overlap).min(terms.overlap);
        }
    }

    pub(super) fn config(&self) -> RotationConfig {
        RotationConfig {
            policy: Arc::clone(&self.policy),
            terms: self.terms.clone(),
            workers: self.workers,
            settings: Settings::default(),
        }
    }

    /// Ends the process, and starts another.
    pub(super) fn end(&mut self, how: End) {
        self.traffic.path().end();
        let mut driver = self.driver.take().unwrap();
        if let End::Stopped = how {
            let stops = async {
                driver.rest().await;
                driver.tasks.drop_all();
                driver.settle_all().await;
            };
            complete_all(stops, &self.backlog);
        }
        drop(driver);
        self.drop_work();
        self.revive(how);
        self.start();
    }

    fn revive(&mut self, how: End) {
        match how {
            End::PowerCut => {
                let kept = self.rng.index(self.disk.pending() + 1);
                self.disk.restart(kept);
                // Other members have read writes that did not survive, so that they must read the disk anew.
                self.view = self.fixture.view(&self.disk).unwrap();
                self.members
                    .set_view(self.fixture.view(&self.disk).unwrap());
                self.observed.records.clear();
                self.manual_clock.reboot();
            }
            End::Killed | End::Stopped => self.disk.respawn(),
        }
        self.oracle.reread_disk();
    }

    /// Starts until it works, as an operator would; without faults at the last attempt.
    pub(super) fn start(&mut self) {
        for attempt in 0..5 {
            if attempt == 4 {
                self.faults.clear();
            } else if attempt > 0 {
                self.faults.draw();
            }
            match self.try_start() {
                Ok(()) if !self.disk.is_dead() => break,
                started => {
                    self.counts.refused_starts += 1;
                    assert!(
                        attempt < 4,
                        "a start fails although nothing is wrong: {started:?}"
                    );
                    self.traffic.path().end();
                    self.driver = None;
                    self.drop_work();
                    let how = self.rng.pick(&[End::PowerCut, End::Killed]);
                    self.revive(how);
                }
            }
        }
        self.counts.starts += 1;
        self.check();
    }

    fn try_start(&mut self) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let files = Arc::clone(&self.files);
        let custodian = Arc::clone(&self.custodian);
        let catalogue = self
            .backlog
            .at_once(|| Catalogue::open_on(self.fixture.lock(), files, custodian));
        let catalogue = catalogue.map_err(|e| text(&e))?;
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        let place = audit_log_dir(Arc::clone(&self.files), self.fixture.dir());
        let audit = match Log::open(place, signer(), now, &[]) {
            Ok(log) => log,
            // Traffic goes on without key events, until an operator repairs the log.
            Err(error) if self.rng.one_in(2) && !self.disk.is_dead() => {
                Log::closed(&error, LoggedState::default())
            }
            Err(error) => return Err(text(&error)),
        };
        let stores = Stores {
            inspector: Box::new(self.bus.clone()),
            fleet: Box::new(self.members.clone()),
            ..stores(catalogue, audit, &self.backlog)
        };
        let parts = Parts {
            stores,
            clock: self.clock.clone(),
            held: None,
        };
        let started = Driver::start_with(self.config(), parts, &self.backlog);
        let (driver, _misses) = started.map_err(|e| text(&e))?;
        self.traffic.path().begin(driver.keys(), self.workers);
        self.driver = Some(driver);
        Ok(())
    }
}

impl Drop for SimulatedRun<'_> {
    /// What is left to be done holds the catalogue, and so its lock.
    fn drop(&mut self) {
        self.backlog.clear();
    }
}

impl Size {
    pub(super) fn any(rng: &mut Rng) -> Self {
        if rng.one_in(50) {
            Self::Large
        } else {
            Self::Small
        }
    }
}

pub(super) fn operator() -> Reason {
    Reason::of_gateway(Trigger::Manual, "a test says so")
}

/// Another person than [`operator`].
pub(super) fn second_person() -> Reason {
    Reason {
        who: Actor::Uid(2),
        ..operator()
    }
}

fn names(policy: &Policy) -> Vec<KeyringName> {
    let rules = policy.keyrings().iter();
    rules.map(|rule| rule.name.clone()).collect()
}

fn policy(count: usize) -> Arc<Policy> {
    let rule = |name: &str| Rule {
        name: name.parse().unwrap(),
        subjects: vec![format!("{name}.>").parse().unwrap()],
        ..Rule::everything()
    };
    let names = ["agents", "tools"];
    let rules = names.iter().take(count).map(|name| rule(name)).collect();
    Arc::new(Policy::new(rules, &[]).unwrap())
}

/// Random terms as a configuration may have them: thresholds for rotation below hard limits.
pub(super) fn terms(rng: &mut Rng, size: Size) -> Terms {
    let messages = if size == Size::Large {
        rng.between(6000, 20_000)
    } else {
        rng.between(20, 300)
    };
    let bytes = if size == Size::Large {
        1 << 30
    } else {
        rng.between(300, 6000)
    };
    // Derived from an earlier number, so that older seeds stay the same.
    let hold = Duration::from_secs([0, 60, 3600][usize::try_from(messages % 3).unwrap()]);
    let soft = |rng: &mut Rng, hard: u64| match rng.below(3) {
        0 => hard - 1,
        _ => rng.between(hard / 2, hard - 1),
    };
    let terms = Terms {
        suite: rng.pick(&[Suite::Aes256Gcm, Suite::Aes256Gcm, Suite::Aes256GcmSiv]),
        rotate: Rotate {
            after: Duration::from_hours(rng.pick(&[10, 20, 48])),
            // Jitter depends on the kid, which does not come from the seed.
            jitter: 0,
            messages: soft(rng, messages),
            bytes: soft(rng, bytes),
        },
        limit: Limit { messages, bytes },
        overlap: Duration::from_secs(rng.pick(&[10, 60, 600])),
        retain: rng.pick(&[
            Retain::Destroy,
            Retain::Destroy,
            Retain::Archive,
            Retain::Shred,
        ]),
        hold,
        destroy: DestroyApproval::Automatic,
        open: rng.pick(&[
            OpenPolicy::Nothing,
            OpenPolicy::Suspended,
            OpenPolicy::Compromised,
            OpenPolicy::Both,
        ]),
    };
    let approved = bytes.is_multiple_of(3) && terms.retain != Retain::Shred;
    Terms {
        destroy: if approved {
            DestroyApproval::Approved
        } else {
            DestroyApproval::Automatic
        },
        ..terms
    }
}
