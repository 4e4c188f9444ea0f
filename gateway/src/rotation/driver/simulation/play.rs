//! A simulated run of a gateway, from the seed's first action to the last.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;

use super::check::Known;
use super::faults::{Dice, Weather};
use super::members::Members;
use super::oracle::Oracle;
use super::traffic::Traffic;
use super::world::{Bus, Busy, Fate, Home, place, signer};
use crate::audit::{LastWord, Log, Settings, Trigger, Who};
use crate::catalogue::{Catalogue, View};
use crate::clock::{Clock, Winder};
use crate::custody::Custodian;
use crate::disk::Files;
use crate::disk::testing::Forgetful;
use crate::envelope::Suite;
use crate::policy::{KeyringName, Policy, Rule};
use crate::rotation::because::Because;
use crate::rotation::driver::{Driver, Parts};
use crate::rotation::terms::{Consent, Doubtful, Limit, Retain, Rotate, Terms};
use crate::rotation::{Config, User};

/// A gateway and its simulated environment.
pub(super) struct Play<'h> {
    pub(super) home: &'h Home,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) traffic: Traffic,
    pub(super) disk: Arc<Forgetful>,
    pub(super) members: Members,
    pub(super) known: Known,
    pub(super) oracle: Oracle,
    /// The catalogue as another member reads it.
    pub(super) view: View,
    pub(super) names: Vec<KeyringName>,
    pub(super) terms: Vec<Terms>,
    pub(super) tally: Tally,
    driver: Option<Driver>,
    files: Arc<dyn Files>,
    custodian: Arc<dyn Custodian>,
    policy: Arc<Policy>,
    pub(super) bus: Bus,
    pub(super) clock: Clock,
    pub(super) winder: Winder,
    begun: Instant,
    workers: usize,
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
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

impl<'h> Play<'h> {
    pub(super) fn new(home: &'h Home, seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let weather = Weather::new(seed);
        let disk = home.disk();
        let (clock, winder) = Home::clock();
        let policy = policy(if dice.one_in(3) { 2 } else { 1 });
        let size = Size::any(&mut dice);
        let terms: Vec<Terms> = policy
            .keyrings()
            .iter()
            .map(|_| terms(&mut dice, size))
            .collect();
        let limits = terms.iter().map(|terms| terms.limit).collect();
        let traffic = Traffic::new(seed, (&policy, limits), &clock, &disk);
        let custodian = home.custodian(&weather, &traffic, &winder);
        let others = if dice.one_in(3) {
            dice.between(1, 2)
        } else {
            0
        };
        let members = Members::new(usize::try_from(others).unwrap(), home.view(&disk).unwrap());
        let oracle = Oracle::new(&disk, &clock, &traffic);
        let files = Busy {
            disk: Arc::clone(&disk),
            weather: weather.clone(),
            traffic: traffic.clone(),
            members: members.clone(),
            oracle: oracle.clone(),
        };
        let mut play = Self {
            home,
            weather,
            bus: Bus::new(&traffic),
            members,
            view: home.view(&disk).unwrap(),
            known: Known::default(),
            oracle,
            names: policy
                .keyrings()
                .iter()
                .map(|rule| rule.name.clone())
                .collect(),
            terms,
            tally: Tally::default(),
            driver: None,
            files: Arc::new(files),
            custodian,
            policy,
            begun: clock.instant(),
            clock,
            winder,
            workers: usize::try_from(dice.between(1, 3)).unwrap(),
            disk,
            traffic,
            dice,
        };
        play.note_retention();
        play.start();
        play
    }

    /// Runs to the end; panics at the first failed check.
    pub(super) fn run(mut self) -> (Tally, super::faults::Seen) {
        for _ in 0..self.dice.between(8, 28) {
            self.weather.turn();
            self.act();
            self.after();
        }
        self.faults_stop();
        let path = self.traffic.path();
        self.tally.sealed = path.ledger.sealed.values().map(|used| used.messages).sum();
        drop(path);
        (self.tally, self.weather.seen())
    }

    pub(super) fn driver(&self) -> &Driver {
        self.driver.as_ref().unwrap()
    }

    pub(super) fn driver_mut(&mut self) -> &mut Driver {
        self.driver.as_mut().unwrap()
    }

    /// Delivers answers, restarts a process that has died, and checks.
    fn after(&mut self) {
        if self.dice.one_in(2) {
            let fate = if self.dice.one_in(6) {
                Fate::Lost
            } else {
                Fate::Told
            };
            self.bus.deliver(fate);
        }
        self.hear();
        if self.disk.is_dead() {
            let end = self.dice.pick(&[End::PowerCut, End::PowerCut, End::Killed]);
            self.end(end);
        }
        self.check();
    }

    /// Hands the answers that have arrived to the driver.
    pub(super) fn hear(&mut self) {
        let driver = self.driver_mut();
        while let Some(Some(told)) = driver.inquiries.next().now_or_never() {
            driver.told(told);
        }
    }

    pub(super) fn wait(&mut self, by: Duration) {
        self.traffic.path().settle();
        self.winder.advance(by);
        self.driver_mut().tick();
    }

    /// How far the wall clock is ahead of the elapsed time.
    pub(super) fn ahead(&self) -> Duration {
        let wall = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH);
        wall.unwrap() - (self.clock.instant() - self.begun)
    }

    pub(super) fn note_retention(&mut self) {
        for (ring, terms) in self.terms.iter().enumerate() {
            if terms.retain == Retain::Shred {
                self.known.shredding.insert(ring);
            }
            if terms.destroy == Consent::Automatic {
                self.known.automatic.insert(ring);
            }
            let hold = self.known.hold.entry(ring).or_insert(terms.hold);
            *hold = (*hold).min(terms.hold);
            let overlap = self.known.overlap.entry(ring).or_insert(terms.overlap);
            *overlap = (*overlap).min(terms.overlap);
        }
    }

    pub(super) fn config(&self) -> Config {
        Config {
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
            driver.settle_all();
        }
        drop(driver);
        self.revive(how);
        self.start();
    }

    fn revive(&mut self, how: End) {
        match how {
            End::PowerCut => {
                let kept = self.dice.index(self.disk.pending() + 1);
                self.disk.restart(kept);
                // Other members have read writes that did not survive, so that they must read the disk anew.
                self.view = self.home.view(&self.disk).unwrap();
                self.members.read_anew(self.home.view(&self.disk).unwrap());
                self.known.records.clear();
                self.winder.reboot();
            }
            End::Killed | End::Stopped => self.disk.respawn(),
        }
        self.oracle.begin_anew();
    }

    /// Starts until it works, as an operator would; without faults at the last attempt.
    pub(super) fn start(&mut self) {
        for attempt in 0..5 {
            if attempt == 4 {
                self.weather.clear();
            } else if attempt > 0 {
                self.weather.turn();
            }
            match self.try_start() {
                Ok(()) if !self.disk.is_dead() => break,
                started => {
                    self.tally.refused_starts += 1;
                    assert!(
                        attempt < 4,
                        "a start fails although nothing is wrong: {started:?}"
                    );
                    self.traffic.path().end();
                    self.driver = None;
                    let how = self.dice.pick(&[End::PowerCut, End::Killed]);
                    self.revive(how);
                }
            }
        }
        self.tally.starts += 1;
        self.check();
    }

    fn try_start(&mut self) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let files = Arc::clone(&self.files);
        let custodian = Arc::clone(&self.custodian);
        let catalogue =
            Catalogue::open_on(self.home.lock(), files, custodian).map_err(|e| text(&e))?;
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        let place = place(Arc::clone(&self.files), self.home.dir());
        let audit = match Log::open(place, signer(), now) {
            Ok(log) => log,
            // Traffic goes on without key events, until an operator repairs the log.
            Err(error) if self.dice.one_in(2) && !self.disk.is_dead() => {
                Log::closed(&error, LastWord::default())
            }
            Err(error) => return Err(text(&error)),
        };
        let parts = Parts {
            held: None,
            drainers: Vec::new(),
            catalogue,
            audit,
            inspector: Box::new(self.bus.clone()),
            fleet: Box::new(self.members.clone()),
            clock: self.clock.clone(),
            user: User::Gateway,
        };
        let (driver, _misses) = Driver::start(self.config(), parts).map_err(|e| text(&e))?;
        self.traffic.path().begin(driver.keys(), self.workers);
        self.driver = Some(driver);
        Ok(())
    }
}

impl Size {
    pub(super) fn any(dice: &mut Dice) -> Self {
        if dice.one_in(50) {
            Self::Large
        } else {
            Self::Small
        }
    }
}

pub(super) fn operator() -> Because {
    Because::of_gateway(Trigger::Manual, "a test says so")
}

/// Another person than [`operator`].
pub(super) fn second() -> Because {
    Because {
        who: Who::Uid(2),
        ..operator()
    }
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
pub(super) fn terms(dice: &mut Dice, size: Size) -> Terms {
    let messages = if size == Size::Large {
        dice.between(6000, 20_000)
    } else {
        dice.between(20, 300)
    };
    let bytes = if size == Size::Large {
        1 << 30
    } else {
        dice.between(300, 6000)
    };
    // Derived from an earlier number, so that older seeds stay the same.
    let hold = Duration::from_secs([0, 60, 3600][usize::try_from(messages % 3).unwrap()]);
    let soft = |dice: &mut Dice, hard: u64| match dice.below(3) {
        0 => hard - 1,
        _ => dice.between(hard / 2, hard - 1),
    };
    let terms = Terms {
        suite: dice.pick(&[Suite::Aes256Gcm, Suite::Aes256Gcm, Suite::Aes256GcmSiv]),
        rotate: Rotate {
            after: Duration::from_hours(dice.pick(&[10, 20, 48])),
            // Jitter depends on the kid, which does not come from the seed.
            jitter: 0,
            messages: soft(dice, messages),
            bytes: soft(dice, bytes),
        },
        limit: Limit { messages, bytes },
        overlap: Duration::from_secs(dice.pick(&[10, 60, 600])),
        retain: dice.pick(&[
            Retain::Destroy,
            Retain::Destroy,
            Retain::Archive,
            Retain::Shred,
        ]),
        hold,
        destroy: Consent::Automatic,
        open: dice.pick(&[
            Doubtful::Nothing,
            Doubtful::Suspended,
            Doubtful::Compromised,
            Doubtful::Both,
        ]),
    };
    let approved = bytes.is_multiple_of(3) && terms.retain != Retain::Shred;
    Terms {
        destroy: if approved {
            Consent::Approved
        } else {
            Consent::Automatic
        },
        ..terms
    }
}
