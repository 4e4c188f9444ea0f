//! Tests of a draining process: after the process that took over has ended, and when dates pass.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test adds days of its own"
)]

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::follow::{Follower, ORPHAN_LOCK_TIME};
use super::testing::{Backlog, CustodianState, CustodianSwitch, SwitchedCustodian, stores};
use super::{Driver, Parts};
use crate::audit::{Log, LogDir, Settings, Signer};
use crate::catalogue::Catalogue;
use crate::clock::{Clock, ManualClock};
use crate::custodian::Custodian;
use crate::custody::Custody;
use crate::disk::{Lock, Real, StateDir};
use crate::envelope::Kid;
use crate::keyring::{Keys, Miss};
use crate::later::wait;
use crate::policy::{Plaintext, Policy, Rule};
use crate::rotation::drain::{DrainLink, DrainMessage};
use crate::rotation::{MessagePath, RotationConfig, Terms};

use super::DrainChannel;

const START: Duration = Duration::from_secs(1_795_428_000);
const DAY: Duration = Duration::from_hours(24);

/// A state directory and the clock of its processes.
struct Home {
    _root: tempfile::TempDir,
    dir: StateDir,
    kek: Arc<dyn Custodian>,
    /// How the custodian answers.
    custodian: CustodianSwitch,
    clock: Clock,
    manual_clock: ManualClock,
}

/// A process that drains.
struct DrainingProcess {
    follower: Box<Follower>,
    keys: Arc<Keys>,
    /// The other process, until it ends.
    other: Option<DrainLink>,
    _misses: mpsc::Receiver<Miss>,
    _moved: oneshot::Receiver<()>,
}

impl Home {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state")).unwrap();
        let lock = Lock::acquire(dir.clone()).unwrap();
        StateDir::create(&dir.join("audit")).unwrap();
        let kek = Custody::File.opener().unwrap();
        let (kek, custodian) = SwitchedCustodian::over(kek.open_or_create(&lock).unwrap());
        let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH + START);
        let catalogue = Catalogue::create(lock, Arc::clone(&kek)).unwrap();
        let now = Timestamp::try_from(clock.wall()).unwrap();
        drop(Log::create(place(&dir), signer(), catalogue.id(), now).unwrap());
        Self {
            _root: root,
            dir,
            kek,
            custodian,
            clock,
            manual_clock,
        }
    }

    /// A gateway here, which accepts plaintext for ten days.
    fn gateway(&self) -> (Driver, mpsc::Receiver<Miss>) {
        let (config, parts) = self.parts(None);
        Driver::start_at_once(config, parts).unwrap()
    }

    fn parts(&self, held: Option<MessagePath>) -> (RotationConfig, Parts) {
        let lock = Lock::acquire(self.dir.clone()).unwrap();
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        let catalogue = Catalogue::open(lock, Arc::clone(&self.kek)).unwrap();
        let audit = Log::open(place(&self.dir), signer(), now, &[]).unwrap();
        let stores = stores(catalogue, audit, &Backlog::default());
        let parts = Parts {
            stores,
            clock: self.clock.clone(),
            held,
        };
        let until = SystemTime::UNIX_EPOCH + START + 10 * DAY;
        let rule = Rule {
            plaintext: Plaintext::Accept { until },
            ..Rule::everything()
        };
        let config = RotationConfig {
            policy: Arc::new(Policy::new(vec![rule], &[]).unwrap()),
            terms: vec![Terms {
                rotate: crate::rotation::Rotate {
                    after: DAY / 2,
                    ..Terms::default().rotate
                },
                ..Terms::default()
            }],
            workers: 1,
            settings: Settings::default(),
        };
        (config, parts)
    }

    /// A gateway that has handed over to a process that holds the lock.
    fn drains(&self) -> (DrainingProcess, Option<Lock>) {
        let (driver, misses) = self.gateway();
        let keys = driver.keys();
        let (link, other) = DrainLink::pair().unwrap();
        let (moves, moved) = oneshot::channel();
        let channel = DrainChannel { link, moved: moves };
        let drains = DrainingProcess {
            follower: wait(driver.hand_over(channel)).unwrap(),
            keys,
            other: Some(other),
            _misses: misses,
            _moved: moved,
        };
        (drains, Some(Lock::acquire(self.dir.clone()).unwrap()))
    }

    /// A gateway starts, replaces what is due, and stops; the kid of what seals now.
    fn replace(&self) -> Kid {
        let (driver, _misses) = self.gateway();
        let snapshot = driver.keys().load();
        let policy = driver.shared(|shared| Arc::clone(&shared.policy));
        let keyring = policy.by_name("default").unwrap();
        snapshot.active(keyring).unwrap().kid()
    }

    fn is_free(&self) -> bool {
        Lock::share(self.dir.clone()).is_ok_and(|lock| lock.promote().is_ok())
    }
}

impl DrainingProcess {
    /// The process that took over ends.
    fn orphan(&mut self) {
        self.other = None;
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        self.follower.writer_ended(&end);
    }

    fn sealing(&self) -> Option<Kid> {
        let snapshot = self.keys.load();
        let keyring = snapshot.policy().by_name("default").unwrap();
        snapshot.active(keyring).map(|version| version.kid())
    }

    fn accepts_plaintext(&self) -> bool {
        let snapshot = self.keys.load();
        let rule = snapshot.policy().keyrings().first().unwrap();
        matches!(rule.plaintext, Plaintext::Accept { .. })
    }
}

fn place(dir: &StateDir) -> LogDir {
    LogDir::new(Arc::new(Real), dir.join("audit"))
}

fn signer() -> Signer {
    Signer::new(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

#[tokio::test]
async fn orphan_seals_only_while_nobody_else_can_write() {
    let home = Home::new();
    let (mut drains, mut writer) = home.drains();
    let before = drains.sealing();
    assert!(before.is_some());
    home.manual_clock.advance(DAY);
    // Another process has the lock: what it writes is not known here.
    drains.orphan();
    assert_eq!(drains.sealing(), None);
    drop(writer.take());
    let after = home.replace();
    assert_ne!(Some(after), before);
    drains.follower.tick();
    assert_eq!(drains.sealing(), Some(after));
    assert!(!home.is_free());
}

#[tokio::test]
async fn orphan_goes_on_sealing_and_lets_others_write_in_the_end() {
    let home = Home::new();
    let (mut drains, mut writer) = home.drains();
    let before = drains.sealing();
    drop(writer.take());
    drains.orphan();
    assert_eq!(drains.sealing(), before);
    assert!(!home.is_free());
    home.manual_clock.advance(ORPHAN_LOCK_TIME);
    drains.follower.tick();
    assert_eq!(drains.sealing(), None);
    // Only once it is known that no lane seals.
    assert!(!home.is_free());
    drains.follower.confirm();
    drains.follower.tick();
    assert!(home.is_free());
    home.manual_clock.advance(DAY);
    assert_ne!(Some(home.replace()), before);
    drains.follower.tick();
    assert_eq!(drains.sealing(), None);
}

#[tokio::test]
async fn orphan_that_takes_everything_back_has_the_lock_before_anybody_else() {
    let home = Home::new();
    let (mut drains, mut writer) = home.drains();
    assert!(drains.follower.lock_to_write().is_err());
    drop(writer.take());
    drains.orphan();
    let lock = drains.follower.lock_to_write().unwrap();
    assert!(Lock::share(home.dir.clone()).is_err());
    home.manual_clock.advance(ORPHAN_LOCK_TIME);
    drains.follower.tick();
    assert!(drains.sealing().is_some());
    drop((lock, drains));
    assert!(home.is_free());
}

#[tokio::test]
async fn age_of_a_version_is_the_time_that_has_passed_whatever_the_clock_is_set_to() {
    let home = Home::new();
    let (driver, _misses) = home.gateway();
    let wall = home.clock.wall();
    let age = || {
        let overview = driver.overview();
        let [keyring] = overview.keyrings.as_slice() else {
            panic!("one keyring: {overview:?}")
        };
        Duration::from_secs(keyring.versions.first().unwrap().age_seconds)
    };
    for set in [wall + 365 * DAY, wall - 365 * DAY] {
        let before = age();
        home.manual_clock.set_wall(set);
        assert_eq!(age(), before);
        home.manual_clock.advance(DAY / 4);
        assert_eq!(age(), before + DAY / 4);
    }
}

#[tokio::test]
async fn process_that_takes_everything_back_has_the_lock_also_before_it_has_read_the_end() {
    let home = Home::new();
    let (mut drains, mut writer) = home.drains();
    let before = drains.sealing();
    drop(writer.take());
    // The process that took over has ended, and the follower has yet to read the end of its stream.
    let lock = drains.follower.lock_to_write().unwrap();
    drains.other = None;
    home.manual_clock.advance(ORPHAN_LOCK_TIME);
    drains.follower.tick();
    assert_eq!(drains.sealing(), before);
    assert!(Lock::share(home.dir.clone()).is_err());
    drop((lock, drains));
    assert!(home.is_free());
}

#[tokio::test]
async fn process_whose_stream_cannot_be_waited_for_is_heard_at_every_tick() {
    let home = Home::new();
    let (mut drains, _writer) = home.drains();
    let kid = drains.sealing().unwrap();
    let other = drains.other.as_ref().unwrap();
    other.send(DrainMessage::Stop(kid)).unwrap();
    drains.follower.tick();
    assert_eq!(drains.sealing(), None);
    let other = drains.other.as_ref().unwrap();
    let has = |said| matches!(said, DrainMessage::Stopped(stopped, _) if stopped == kid);
    assert!(std::iter::from_fn(|| other.receive().ok()).any(has));
}

#[tokio::test]
async fn version_that_is_to_stop_seals_nothing_once_a_mark_of_it_is_gone() {
    let home = Home::new();
    let (mut drains, _writer) = home.drains();
    let kid = drains.sealing().unwrap();
    let mark = home.dir.join(&format!("revoked-{kid}"));
    std::fs::write(&mark, "").unwrap();
    drains.follower.tick();
    drains
        .other
        .as_ref()
        .unwrap()
        .send(DrainMessage::Stop(kid))
        .unwrap();
    drains.follower.tick();
    std::fs::remove_file(&mark).unwrap();
    drains.follower.tick();
    assert_eq!(drains.sealing(), None);
}

#[test]
fn gateway_that_does_not_start_again_lets_nobody_seal_under_the_keys_that_it_had() {
    let home = Home::new();
    let (driver, misses) = home.gateway();
    let keys = driver.keys();
    drop(driver);
    let sealing = || keys.load().sealing().count();
    assert_eq!(sealing(), 1);
    let held = MessagePath {
        keys: Arc::clone(&keys),
        misses,
    };
    let (config, parts) = home.parts(Some(held));
    home.custodian.set(CustodianState::Refuses);
    assert!(Driver::start_at_once(config, parts).is_err());
    assert_eq!(sealing(), 0);
}

#[tokio::test]
async fn date_passes_in_a_process_that_drains_for_good() {
    let home = Home::new();
    let (mut drains, _writer) = home.drains();
    drains.follower.tick();
    assert!(drains.accepts_plaintext());
    home.manual_clock.advance(10 * DAY);
    drains.follower.tick();
    assert!(!drains.accepts_plaintext());
    home.manual_clock.set_wall(SystemTime::UNIX_EPOCH + START);
    drains.follower.tick();
    assert!(!drains.accepts_plaintext());
}

#[tokio::test]
async fn date_that_passed_for_the_process_that_took_over_has_passed_for_one_that_drains() {
    let home = Home::new();
    let (mut drains, mut writer) = home.drains();
    drop(writer.take());
    let wall = home.clock.wall();
    home.manual_clock.set_wall(wall + 10 * DAY);
    drop(home.gateway());
    home.manual_clock.set_wall(wall);
    drains.follower.tick();
    assert!(!drains.accepts_plaintext());
}
