//! An order has the outcome that the operator is told: at every write that can fail, on a disk that is full from any write on,
//! and with the audit log closed; in the same process and after a restart.
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::testing::{Backlog, stores};
use super::super::{DrainChannel, Driver, Parts};
use super::environment::{self, Fixture, signer};
use crate::audit::{Actor, Head, Log, LogDir, LoggedState, Settings, Trigger, WriteFailed};
use crate::catalogue::{Catalogue, State, audit_heads};
use crate::clock::{Clock, ManualClock};
use crate::disk::testing::{CrashDisk, DiskFault};
use crate::disk::{Files, StateDir};
use crate::envelope::{Kid, Volume};
use crate::fault::Faulty;
use crate::keyring::Keys;
use crate::later::wait;
use crate::policy::{Policy, Rule};
use crate::rotation::config::Stores;
use crate::rotation::drain::{DrainLink, DrainMessage};
use crate::rotation::engine::Order;
use crate::rotation::terms::{DestroyApproval, Retain};
use crate::rotation::{OrderError, Reason, Reload, RotationConfig, Terms};

/// More writes than any order here makes.
const STEPS: usize = 80;

/// The step in which a disk's free bytes grow from case to case.
const SPACE_STEP: usize = 400;

/// The fault while the order is given.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// One write fails.
    FailedWrite(usize),
    /// The disk has so many bytes left, and the audit log no reserve.
    DiskSpace(usize),
    /// The audit log takes no line.
    LogClosed,
}

/// What happens between the order and the last check.
#[derive(Clone, Copy, Debug)]
enum Afterwards {
    KeepRunning,
    Restart,
}

struct OrderBench<'h> {
    fixture: &'h Fixture,
    disk: Arc<CrashDisk>,
    clock: Clock,
    manual_clock: ManualClock,
    consent: DestroyApproval,
    driver: Option<Driver>,
    /// The link to a draining process, for the next start.
    drainer: Option<DrainLink>,
}

impl Fixture {
    /// A gateway with an active version 1, after these orders.
    fn bench(&self, prepare: &[Order]) -> OrderBench<'_> {
        self.bench_with(prepare, DestroyApproval::Automatic)
    }

    fn bench_with(&self, prepare: &[Order], consent: DestroyApproval) -> OrderBench<'_> {
        let (clock, manual_clock) = Self::clock();
        let mut bench = OrderBench {
            fixture: self,
            disk: self.disk(),
            clock,
            manual_clock,
            consent,
            driver: None,
            drainer: None,
        };
        bench.start(None);
        for order in prepare {
            bench.ask(*order).unwrap();
        }
        bench
    }
}

fn fixture() -> Fixture {
    Fixture::with_log_at(audit_log_dir)
}

/// With a small reserve, for nearly full disks.
fn audit_log_dir(files: Arc<dyn Files>, dir: &StateDir) -> LogDir {
    environment::audit_log_dir(files, dir).with_reserve(64)
}

fn reason() -> Reason {
    Reason::of_gateway(Trigger::Manual, "a test says so")
}

impl OrderBench<'_> {
    /// Ends the process, if there is one, and starts another.
    fn start(&mut self, closed: Option<&WriteFailed>) {
        drop(self.driver.take());
        self.disk.respawn();
        let files: Arc<dyn Files> = Arc::<CrashDisk>::clone(&self.disk);
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        let (lock, kek) = (self.fixture.lock(), self.fixture.kek());
        let catalogue = Catalogue::open_on(lock, Arc::clone(&files), kek).unwrap();
        let audit = match closed {
            Some(why) => Log::closed(why, LoggedState::default()),
            None => {
                let place = audit_log_dir(files, self.fixture.dir());
                Log::open(place, signer(), now, &self.heads()).unwrap()
            }
        };
        let stores = Stores {
            drainers: self.drainer.take().into_iter().collect(),
            ..stores(catalogue, audit, &Backlog::default())
        };
        let parts = Parts {
            stores,
            clock: self.clock.clone(),
            held: None,
        };
        let config = self.config("false");
        self.driver = Some(Driver::start_at_once(config, parts).unwrap().0);
    }

    /// A configuration with this value of a setting that weakens protection.
    fn config(&self, relay_only: &str) -> RotationConfig {
        let mut settings = Settings::default();
        settings.set("relay-only", relay_only == "true");
        let terms = Terms {
            retain: Retain::Archive,
            destroy: self.consent,
            ..Terms::default()
        };
        RotationConfig {
            policy: Arc::new(Policy::new(vec![Rule::everything()], &[]).unwrap()),
            terms: vec![terms],
            workers: 1,
            settings,
        }
    }

    /// How many lines of the audit log contain all of these words.
    fn lines(&mut self, words: &[&str]) -> usize {
        let lines = self.driver().tail(1000).unwrap();
        let have = |line: &&String| words.iter().all(|word| line.contains(word));
        lines.iter().filter(have).count()
    }

    fn heads(&self) -> Vec<Head> {
        audit_heads(&*self.disk, self.fixture.dir().path())
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().unwrap()
    }

    fn ask(&mut self, order: Order) -> Result<(), OrderError> {
        // Less than a second after another, a rotation would wait.
        self.manual_clock.advance(Duration::from_secs(1));
        if order != Order::Rotate {
            let mut reason = reason();
            if let Order::Approve(_) = order {
                reason.who = Actor::Uid(7);
            }
            let done = self.driver().order_now("default", order, reason);
            return done.map(drop);
        }
        self.driver().rotate_now("default", reason()).map(drop)
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::FailedWrite(step) => self.disk.arm(step, DiskFault::Error(ErrorKind::Other)),
            Fault::DiskSpace(bytes) => {
                let reserve = self.fixture.dir().join("audit/reserve");
                self.disk.remove(&reserve).unwrap();
                self.disk.capacity(Some(self.disk.used() + bytes));
            }
            Fault::LogClosed => self.start(Some(&WriteFailed::Closed(
                "a test says so".to_owned().into(),
            ))),
        }
    }

    /// Removes the fault.
    fn clear_fault(&mut self, then: Afterwards, fault: Fault) {
        self.disk.respawn();
        self.disk.capacity(None);
        if matches!(
            (then, fault),
            (Afterwards::Restart, _) | (_, Fault::LogClosed)
        ) {
            self.start(None);
        }
        for _ in 0..5 {
            self.manual_clock.advance(Duration::from_mins(1));
            self.driver().tick();
            self.driver().advance();
        }
    }

    /// Every version that is or was active, its state, and whether its destruction is proposed.
    fn visible_versions(&mut self) -> Vec<(u32, State, bool)> {
        let record = self.driver().record(0).unwrap();
        let ever = record.versions.iter().filter(|version| {
            let waits = matches!(version.state, State::PreActive | State::Ready);
            version.activated.is_some() || !(waits || version.state == State::Destroyed)
        });
        let told = ever.map(|version| (version.number, version.state, version.proposed.is_some()));
        told.collect()
    }

    fn seals(&mut self) -> Option<u32> {
        sealing(&self.driver().keys())
    }

    fn has_pending_version(&mut self) -> bool {
        let record = self.driver().record(0).unwrap();
        let waits = |state| matches!(state, State::PreActive | State::Ready);
        record.versions.iter().any(|version| waits(version.state))
    }

    fn state(&mut self, number: u32) -> State {
        let record = self.driver().record(0).unwrap();
        record.version(number).unwrap().state
    }

    fn marks(&self) -> usize {
        let content = self.disk.content();
        let names = content.keys().filter_map(|path| path.file_name()?.to_str());
        names
            .filter(|name| {
                let words = ["revoked-", "suspended-", "withdrawn-"];
                words.iter().any(|word| name.starts_with(word))
            })
            .count()
    }
}

fn sealing(keys: &Keys) -> Option<u32> {
    let snapshot = keys.load();
    let keyring = snapshot.policy().by_name("default").unwrap();
    snapshot.active(keyring).map(|version| version.number)
}

/// The version and state that the order leads to.
fn expected_state(order: Order) -> Option<(u32, State)> {
    match order {
        Order::Rotate => Some((1, State::DecryptOnly)),
        Order::Compromise(number) => Some((number, State::Compromised)),
        Order::Suspend(number) => Some((number, State::Suspended)),
        Order::Archive(number) => Some((number, State::Archived)),
        Order::Destroy(number) | Order::Approve(number) => Some((number, State::Destroyed)),
        Order::Restore(number) => Some((number, State::DecryptOnly)),
        Order::Propose(..) | Order::Abort => None,
    }
}

/// The outcome of an order, and whether the fault occurred at all.
struct OrderOutcome {
    told: Result<(), OrderError>,
    struck: bool,
}

/// Gives one order under one fault, and checks the outcome.
fn check_order(
    fixture: &Fixture,
    (prepare, order): (&[Order], Order),
    fault: Fault,
    then: Afterwards,
) -> OrderOutcome {
    let case = format!("{order:?} after {prepare:?}, {fault:?}, {then:?}");
    let second = matches!(order, Order::Propose(..) | Order::Approve(_));
    let consent = if second {
        DestroyApproval::Approved
    } else {
        DestroyApproval::Automatic
    };
    let mut bench = fixture.bench_with(prepare, consent);
    let before = bench.visible_versions();
    bench.inject(fault);
    let told = bench.ask(order);
    let struck = bench.disk.has_fired();
    let now = bench.visible_versions();
    match &told {
        Ok(()) => assert_ne!(now, before, "{case}: it is done"),
        Err(OrderError::Halted { restart, .. }) => {
            assert_ne!(bench.seals(), order.number(), "{case}: it does not seal");
            assert!(restart.starts_with("goes on"), "{case}: {told:?}");
        }
        Err(_) => assert_eq!(now, before, "{case}: {told:?}"),
    }
    bench.clear_fault(then, fault);
    let (after, seals) = (bench.visible_versions(), bench.seals());
    let active = after.iter().find(|(_, state, _)| state.seals());
    assert_eq!(seals, active.map(|(number, ..)| *number), "{case}");
    assert!(
        seals.is_some() && !bench.has_pending_version(),
        "{case}: {after:?}"
    );
    match &told {
        Ok(()) | Err(OrderError::Halted { .. }) => {
            if let Some((number, state)) = expected_state(order) {
                assert_eq!(bench.state(number), state, "{case}: {told:?}");
            }
        }
        Err(_) => assert_eq!(after, before, "{case}: {told:?}"),
    }
    assert_eq!(bench.marks(), 0, "{case}");
    OrderOutcome { told, struck }
}

const ORDERS: [(&[Order], Order); 10] = [
    (&[], Order::Rotate),
    (&[], Order::Compromise(1)),
    (&[], Order::Suspend(1)),
    (&[Order::Rotate], Order::Compromise(1)),
    (&[Order::Rotate], Order::Suspend(1)),
    (&[Order::Rotate], Order::Archive(1)),
    (&[Order::Rotate, Order::Archive(1)], Order::Destroy(1)),
    (&[Order::Rotate, Order::Suspend(1)], Order::Restore(1)),
    (
        &[Order::Rotate, Order::Archive(1)],
        Order::Propose(1, false),
    ),
    (
        &[Order::Rotate, Order::Archive(1), Order::Propose(1, false)],
        Order::Approve(1),
    ),
];

#[test]
fn order_at_every_write_that_fails_is_what_it_is_told_to_be_now_later_and_after_a_restart() {
    let fixture = fixture();
    for order in ORDERS {
        for then in [Afterwards::KeepRunning, Afterwards::Restart] {
            let mut failed = 0;
            let mut steps = 0..STEPS;
            let mut judged = true;
            while let Some(step) = steps.next().filter(|_step| judged) {
                let found = check_order(&fixture, order, Fault::FailedWrite(step), then);
                failed += usize::from(found.told.is_err());
                judged = found.struck;
            }
            assert!(failed > 0 && !steps.is_empty(), "{order:?}");
        }
    }
}

#[test]
fn order_on_a_disk_that_is_full_from_any_write_on_is_what_it_is_told_to_be() {
    let fixture = fixture();
    for order in ORDERS {
        for then in [Afterwards::KeepRunning, Afterwards::Restart] {
            let mut room = 0;
            while check_order(&fixture, order, Fault::DiskSpace(room), then)
                .told
                .is_err()
            {
                room += SPACE_STEP;
            }
            assert!(room > 0, "{order:?}");
        }
    }
}

#[test]
fn order_that_a_closed_log_refuses_is_what_it_is_told_to_be_when_it_is_open_again() {
    let fixture = fixture();
    for order in ORDERS {
        let judged = check_order(&fixture, order, Fault::LogClosed, Afterwards::Restart);
        assert!(judged.told.is_err(), "{order:?}");
    }
}

/// Reloads a weaker setting under a fault, and checks the outcome.
fn check_reload(fixture: &Fixture, fault: Fault) -> OrderOutcome {
    let mut bench = fixture.bench(&[]);
    bench.inject(fault);
    let (before, after) = (bench.config("false"), bench.config("true"));
    let reload = Reload {
        what: "a test".to_owned(),
        reason: reason(),
    };
    let wanted = after.settings.clone();
    let told = bench.driver().reload_now(after, reload);
    let struck = bench.disk.has_fired();
    let failed = told.is_err();
    let in_force = if failed { before.settings } else { wanted };
    assert!(
        bench.driver().shared(|shared| shared.settings == in_force),
        "{fault:?}: {told:?}"
    );
    bench.clear_fault(Afterwards::KeepRunning, fault);
    let done = bench.lines(&["\"action\":\"weaken\"", "\"outcome\":\"done\""]);
    assert_eq!(done, usize::from(!failed), "{fault:?}: {told:?}");
    let said = bench.lines(&["\"note\":\"configuration-reloaded\""]);
    assert_eq!(said, usize::from(!failed), "{fault:?}: {told:?}");
    OrderOutcome { told, struck }
}

#[test]
fn reload_that_weakens_is_in_force_and_in_the_log_or_neither() {
    let fixture = fixture();
    for step in 0..STEPS {
        if !check_reload(&fixture, Fault::FailedWrite(step)).struck {
            break;
        }
    }
    for room in 0..10 {
        check_reload(&fixture, Fault::DiskSpace(room * SPACE_STEP));
    }
    assert!(check_reload(&fixture, Fault::LogClosed).told.is_err());
}

#[test]
fn revocation_of_which_no_note_can_be_made_says_that_a_restart_forgets_it() {
    let fixture = fixture();
    let mut forgotten = 0;
    for step in 0..20 {
        let mut bench = fixture.bench(&[]);
        bench.inject(Fault::DiskSpace(0));
        bench.inject(Fault::FailedWrite(step));
        let told = bench.ask(Order::Compromise(1)).unwrap_err().with_help();
        assert_eq!(bench.seals(), None, "step {step}: {told}");
        forgotten += usize::from(told.contains("a restart forgets the order"));
    }
    assert!(forgotten > 0);
}

#[tokio::test]
async fn revocation_that_cannot_be_written_down_holds_in_a_process_that_drains_too() {
    let fixture = fixture();
    let mut bench = fixture.bench(&[]);
    let (_ours, link) = DrainLink::pair().unwrap();
    let (moved, _told) = tokio::sync::oneshot::channel();
    let driver = bench.driver.take().unwrap();
    let keys = driver.keys();
    let channel = DrainChannel { link, moved };
    let mut follower = wait(driver.hand_over(channel)).unwrap();
    bench.inject(Fault::LogClosed);
    follower.refresh();
    assert_eq!(sealing(&keys), Some(1));
    bench.ask(Order::Compromise(1)).unwrap_err();
    follower.refresh();
    assert_eq!(sealing(&keys), None);
    bench.clear_fault(Afterwards::Restart, Fault::LogClosed);
    follower.refresh();
    assert_eq!(sealing(&keys), Some(2));
}

/// Neither the order's intent nor its mark can be written.
#[tokio::test]
async fn order_that_cannot_be_written_down_stops_a_process_that_drains_and_lends_it_nothing() {
    let fixture = fixture();
    for order in [Order::Compromise(1), Order::Suspend(1)] {
        let mut bench = fixture.bench(&[]);
        let (ours, theirs) = DrainLink::pair().unwrap();
        let says = ours.try_clone().unwrap();
        let (moved, _told) = tokio::sync::oneshot::channel();
        let driver = bench.driver.take().unwrap();
        let (keys, kid) = (driver.keys(), driver.kid(0, 1).unwrap());
        let way = DrainChannel { link: ours, moved };
        let mut follower = wait(driver.hand_over(way)).unwrap();
        bench.drainer = Some(theirs);
        bench.inject(Fault::LogClosed);
        bench.inject(Fault::FailedWrite(0));
        // The draining process answers in time.
        says.send(DrainMessage::Stopped(kid, Volume::default()))
            .unwrap();
        let told = bench.ask(order).unwrap_err().with_help();
        assert!(told.contains("a restart forgets the order"), "{told}");
        // A mark may exist although creating it failed.
        for mark in ["revoked", "suspended"] {
            drop(
                bench
                    .disk
                    .remove(&fixture.dir().join(&format!("{mark}-{kid}"))),
            );
        }
        follower.tick();
        assert_eq!(sealing(&keys), None, "{order:?}");
        // Even when records can be written again.
        bench.disk.respawn();
        let wish = Volume {
            messages: 10,
            bytes: 1000,
        };
        says.send(DrainMessage::NeedBudget(kid, wish)).unwrap();
        bench.driver().handle_drainers();
        bench.driver().advance();
        let lent = Volume::default();
        let answers = std::iter::from_fn(|| says.receive().ok());
        let answer = answers.filter(|said| matches!(said, DrainMessage::Granted(..)));
        assert_eq!(
            answer.collect::<Vec<_>>(),
            [DrainMessage::Granted(kid, lent)]
        );
        bench
            .driver()
            .shared(|shared| shared.drainers.broadcast(DrainMessage::CatalogueChanged));
        follower.tick();
        assert_eq!(sealing(&keys), None, "{order:?}");
    }
}

#[test]
fn log_that_ends_before_a_record_says_is_not_continued() {
    let fixture = fixture();
    let mut bench = fixture.bench(&[Order::Rotate, Order::Compromise(1)]);
    drop(bench.driver.take());
    let log = fixture.dir().join("audit/log.jsonl");
    let checkpoints = fixture.dir().join("audit/checkpoints");
    let files: Arc<dyn Files> = Arc::<CrashDisk>::clone(&bench.disk);
    let open = |heads: &[Head]| {
        let place = audit_log_dir(Arc::clone(&files), fixture.dir());
        Log::open(place, signer(), Timestamp::UNIX_EPOCH, heads)
    };
    let whole = bench.disk.read(&log).unwrap();
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let notes = bench.disk.read(&checkpoints).unwrap();
    let notes: Vec<_> = notes.split_inclusive(|byte| *byte == b'\n').collect();
    // The last act's outcome is in the log only.
    for kept in 1..lines.len() - 1 {
        bench
            .disk
            .tamper(&log, |bytes| *bytes = lines[..kept].concat());
        bench
            .disk
            .tamper(&checkpoints, |bytes| *bytes = notes[..6 * kept].concat());
        let heads = bench.heads();
        let error = open(&heads).err().unwrap().to_string();
        let said = format!("line {} and what follows is cut off", kept + 1);
        assert!(error.contains(&said), "{error}");
    }
}

#[test]
fn kid_is_what_a_mark_is_named_by() {
    let fixture = fixture();
    let mut bench = fixture.bench(&[]);
    let kid: Kid = bench.driver().kid(0, 1).unwrap();
    bench.inject(Fault::LogClosed);
    drop(bench.ask(Order::Suspend(1)));
    let name = format!("suspended-{kid}");
    assert!(
        bench
            .disk
            .content()
            .contains_key(&fixture.dir().join(&name))
    );
}
