//! Regressions found by runs, each with a fault at every write: a failed write may take effect.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::environment::{Fixture, audit_log_dir, signer};
use crate::audit::{Line, Log, Settings, Trigger};
use crate::catalogue::{Catalogue, State};
use crate::clock::{Clock, ManualClock};
use crate::custodian::Custodian;
use crate::disk::Files;
use crate::disk::testing::{CrashDisk, DiskFault};
use crate::envelope::{Binding, OVERHEAD};
use crate::keyring::{Lanes, WorkerId};
use crate::policy::{Policy, Rule};
use crate::rotation::driver::testing::{Backlog, stores};
use crate::rotation::driver::{Driver, Parts};
use crate::rotation::engine::Order;
use crate::rotation::terms::Retain;
use crate::rotation::{OrderError, Reason, Reload, Rotated, RotationConfig, Terms};

/// More writes than any order here makes.
const STEPS: usize = 60;

/// A gateway without traffic.
pub(super) struct Bench {
    pub(super) disk: Arc<CrashDisk>,
    terms: Terms,
    clock: Clock,
    pub(super) manual_clock: ManualClock,
    pub(super) driver: Driver,
}

impl Bench {
    /// With an active version 1.
    pub(super) fn new(fixture: &Fixture) -> Self {
        Self::with(fixture, fixture.kek(), Terms::default())
    }

    /// The same with this custodian and these terms, except that nothing is destroyed.
    pub(super) fn with(fixture: &Fixture, custodian: Arc<dyn Custodian>, terms: Terms) -> Self {
        let (clock, manual_clock) = Fixture::clock();
        let disk = fixture.disk();
        let driver = start(fixture, &disk, &clock, (custodian, terms.clone()));
        Self {
            terms,
            disk,
            clock,
            manual_clock,
            driver,
        }
    }

    /// Ends the process after `act`, which may have been cut off by its death, and starts another; `revive` says what the disk
    /// keeps.
    pub(super) fn killed(
        mut self,
        fixture: &Fixture,
        act: impl FnOnce(&mut Self),
        revive: impl FnOnce(&CrashDisk),
    ) -> Self {
        act(&mut self);
        let Self {
            disk,
            terms,
            clock,
            manual_clock,
            driver,
        } = self;
        drop(driver);
        revive(&disk);
        let driver = start(fixture, &disk, &clock, (fixture.kek(), terms.clone()));
        Self {
            terms,
            disk,
            clock,
            manual_clock,
            driver,
        }
    }

    /// Other terms, as after a reload.
    pub(super) fn reload(&mut self, subjects: &str, terms: Terms) {
        let rule = Rule {
            subjects: vec![subjects.parse().unwrap()],
            ..Rule::everything()
        };
        let config = RotationConfig {
            policy: Arc::new(Policy::new(vec![rule], &[]).unwrap()),
            terms: vec![terms],
            workers: 1,
            settings: Settings::default(),
        };
        let reload = Reload {
            what: "a test".to_owned(),
            reason: Reason::of_gateway(Trigger::Manual, "a test"),
        };
        self.driver.reload_now(config, reload).unwrap();
    }

    pub(super) fn ask(&mut self, order: Order) {
        let reason = Reason::of_gateway(Trigger::Manual, "a test says so");
        // Less than a second after another, a rotation would wait.
        self.manual_clock.advance(Duration::from_secs(1));
        // The outcome is read from the record.
        if order == Order::Rotate {
            drop(self.rotate());
        } else {
            drop(self.driver.order_now("default", order, reason));
        }
    }

    /// The operator's answer, if there is one yet.
    fn rotate(&mut self) -> Option<Result<Rotated, OrderError>> {
        let (answer, mut told) = tokio::sync::oneshot::channel();
        self.driver.rotate(
            "default",
            Reason::of_gateway(Trigger::Manual, "a test says so"),
            answer,
        );
        self.driver.advance();
        told.try_recv().ok()
    }

    /// An hour passes without faults.
    fn pass_hour(&mut self) {
        for _ in 0..60 {
            self.manual_clock.advance(Duration::from_mins(1));
            self.driver.tick();
            self.driver.advance();
        }
    }

    pub(super) fn state(&self, number: u32) -> State {
        let record = self.driver.record(0).unwrap();
        record.version(number).unwrap().state
    }

    /// Seals so many messages of one byte.
    pub(super) fn seal(&self, count: usize) {
        let keys = self.driver.keys();
        let snapshot = keys.load();
        let keyring = snapshot.policy().by_name("default").unwrap();
        let mut lanes = Lanes::new(WorkerId(0), self.clock.instant());
        lanes.begin(&snapshot, self.clock.instant());
        for _ in 0..count {
            let mut out = [0; 1 + OVERHEAD];
            let binding = Binding::to(Some(b"a"));
            lanes
                .seal(&snapshot, keyring, binding, (b"x", &mut out))
                .unwrap();
        }
        lanes.report();
    }

    /// Every line of the audit log.
    pub(super) fn lines(&self) -> Vec<Line> {
        let lines = self.driver.tail(1000).unwrap();
        let parse = |line: &String| Line::parse(line.as_bytes()).unwrap();
        lines.iter().map(parse).collect()
    }

    /// The message path seals under the record's active version, and opens under no destroyed one.
    fn assert_in_sync(&self, step: usize) {
        let keys = self.driver.keys();
        let snapshot = keys.load();
        let keyring = snapshot.policy().by_name("default").unwrap();
        let seals = snapshot.active(keyring).map(|version| version.number);
        let record = self.driver.record(0).unwrap();
        let active = record.active().map(|version| version.number);
        assert_eq!(seals, active, "step {step}");
        for version in &record.versions {
            let opens = snapshot.by_kid(version.kid).is_some();
            assert!(!(opens && version.state == State::Destroyed), "step {step}");
        }
    }
}

fn start(
    fixture: &Fixture,
    disk: &Arc<CrashDisk>,
    clock: &Clock,
    (custodian, terms): (Arc<dyn Custodian>, Terms),
) -> Driver {
    let files: Arc<dyn Files> = Arc::<CrashDisk>::clone(disk);
    let now = jiff::Timestamp::try_from(clock.wall()).unwrap();
    let catalogue = Catalogue::open_on(fixture.lock(), Arc::clone(&files), custodian).unwrap();
    let audit = Log::open(audit_log_dir(files, fixture.dir()), signer(), now, &[]).unwrap();
    let stores = stores(catalogue, audit, &Backlog::default());
    let parts = Parts {
        stores,
        clock: clock.clone(),
        held: None,
    };
    let terms = Terms {
        retain: Retain::Archive,
        ..terms
    };
    let config = RotationConfig {
        policy: Arc::new(Policy::new(vec![Rule::everything()], &[]).unwrap()),
        terms: vec![terms],
        workers: 1,
        settings: Settings::default(),
    };
    let (driver, _misses) = Driver::start_at_once(config, parts).unwrap();
    driver
}

/// Gives the order once for every write that can fail in it, and checks the outcome.
fn at_every_step(prepare: &[Order], order: Order, check: impl Fn(&mut Bench, usize)) {
    let fixture = Fixture::new();
    for step in 0..STEPS {
        let mut bench = Bench::new(&fixture);
        for before in prepare {
            bench.ask(*before);
        }
        bench.disk.arm(step, DiskFault::Error(ErrorKind::Other));
        bench.ask(order);
        let struck = bench.disk.has_fired();
        check(&mut bench, step);
        if !struck {
            return;
        }
    }
    panic!("more than {STEPS} steps");
}

#[test]
fn regression_switch_that_failed_and_took_effect_reaches_the_message_path() {
    at_every_step(&[], Order::Rotate, |bench, step| bench.assert_in_sync(step));
}

#[test]
fn regression_destruction_that_failed_and_took_effect_reaches_the_message_path() {
    let prepare = [Order::Rotate, Order::Archive(1)];
    at_every_step(&prepare, Order::Destroy(1), |bench, step| {
        bench.assert_in_sync(step);
    });
}

#[test]
fn regression_restoration_that_failed_and_took_effect_seals() {
    let prepare = [Order::Rotate, Order::Suspend(1)];
    at_every_step(&prepare, Order::Restore(1), |bench, step| {
        bench.assert_in_sync(step);
        if bench.state(1) != State::Suspended {
            let kid = bench.driver.kid(0, 1).unwrap();
            assert!(
                bench.driver.keys().load().by_kid(kid).is_some(),
                "step {step}"
            );
        }
    });
}

#[test]
fn regression_revocation_behind_one_that_waits_for_the_disk_stops_the_sealing_at_once() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.ask(Order::Rotate);
    // The first order waits: its intent cannot be written.
    bench.disk.arm(0, DiskFault::Error(ErrorKind::Other));
    bench.ask(Order::Compromise(1));
    bench.disk.arm(0, DiskFault::Error(ErrorKind::Other));
    bench.ask(Order::Compromise(2));
    let keys = bench.driver.keys();
    let snapshot = keys.load();
    let keyring = snapshot.policy().by_name("default").unwrap();
    let seals = snapshot.active(keyring).map(|version| version.number);
    assert!(seals != Some(1) && seals != Some(2), "{seals:?}");
}

#[test]
fn limit_lowered_below_what_is_reserved_leaves_nothing_to_seal_out_of() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    let mut terms = Terms::default();
    terms.limit.messages = 1000;
    terms.rotate.messages = 900;
    let kid = bench.driver.kid(0, 1).unwrap();
    let left = |bench: &Bench| {
        let keys = bench.driver.keys();
        let snapshot = keys.load();
        snapshot.by_kid(kid).unwrap().budget.left().messages
    };
    assert!(left(&bench) > 1000);
    bench.reload(">", terms);
    assert_eq!(left(&bench), 0);
}

#[test]
fn question_before_a_destruction_names_subjects_that_a_reload_took_away() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.reload("agents.>", Terms::default());
    bench.ask(Order::Rotate);
    let question = |number| {
        let asked = bench
            .driver
            .keyring(0, |keyring, shared| keyring.question(shared, number));
        asked.unwrap()
    };
    let asked: Vec<_> = question(1)
        .subjects
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(asked, ["agents.>", ">"]);
    assert_eq!(question(2).subjects.len(), 1);
}

#[test]
fn version_is_not_destroyed_unforced_while_its_overlap_lasts() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.ask(Order::Rotate);
    let may = bench.driver.keyring(0, |keyring, shared| {
        keyring.may_destroy(shared, Order::Destroy(1))
    });
    let error = may.unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[test]
fn act_that_failed_and_took_effect_is_done_in_the_audit_log() {
    at_every_step(&[], Order::Compromise(1), |bench, step| {
        let lines = bench.driver.tail(100).unwrap();
        let said = lines.iter().filter(|line| {
            line.contains("\"kind\":\"outcome\"") && line.contains("\"action\":\"compromise\"")
        });
        let failed = said
            .clone()
            .any(|line| line.contains("\"outcome\":\"failed\""));
        let compromised = bench.state(1) == State::Compromised;
        assert!(
            !(failed && compromised && said.count() == 1),
            "step {step}: {lines:#?}"
        );
    });
}

/// The clock advances between the engine's reading it and the answer.
#[test]
fn rotation_whose_time_comes_between_two_ticks_is_answered_when_it_is_done() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.ask(Order::Rotate);
    let (answer, mut told) = tokio::sync::oneshot::channel();
    bench.driver.rotate(
        "default",
        Reason::of_gateway(Trigger::Manual, "right behind another"),
        answer,
    );
    bench.manual_clock.advance(Duration::from_secs(1));
    bench.driver.answer_pending_rotations();
    bench.driver.advance();
    assert!(told.try_recv().is_err(), "it is not done yet");
    bench.driver.tick();
    bench.driver.advance();
    let rotated = told.try_recv().unwrap().unwrap();
    assert!(rotated.to.ends_with(".3"), "{rotated:?}");
}

#[test]
fn rotation_that_was_told_to_have_failed_is_not_made_later_and_leaves_no_version_behind() {
    let fixture = Fixture::new();
    for step in 0..STEPS {
        let mut bench = Bench::new(&fixture);
        bench.manual_clock.advance(Duration::from_secs(1));
        bench.disk.arm(step, DiskFault::Error(ErrorKind::Other));
        let told = bench.rotate().expect("an answer");
        if !bench.disk.has_fired() {
            return;
        }
        bench.pass_hour();
        let record = bench.driver.record(0).unwrap();
        let failed = told.is_err();
        let waits = |state| matches!(state, State::PreActive | State::Ready);
        assert!(
            record.versions.iter().all(|version| !waits(version.state)),
            "step {step}: {record:?}"
        );
        assert_eq!(
            record.active().unwrap().number == 1,
            failed,
            "step {step}: {told:?}"
        );
    }
    panic!("more than {STEPS} steps");
}

/// An order that is reported as failed has no effect, also later. Revocations are not among them: they are retried.
#[test]
fn order_that_was_told_to_have_failed_is_not_carried_out_later() {
    let orders: [(&[Order], Order); 4] = [
        (&[Order::Rotate], Order::Archive(1)),
        (&[Order::Rotate, Order::Archive(1)], Order::Destroy(1)),
        (&[Order::Rotate, Order::Suspend(1)], Order::Restore(1)),
        (&[Order::Rotate], Order::Propose(1, true)),
    ];
    for (prepare, order) in orders {
        let fixture = Fixture::new();
        for step in 0..STEPS {
            let mut bench = Bench::new(&fixture);
            for before in prepare {
                bench.ask(*before);
            }
            let seen = |bench: &Bench| {
                let record = bench.driver.record(0).unwrap();
                let version = record.version(1).unwrap();
                (version.state, version.proposed.clone())
            };
            let before = seen(&bench);
            bench.disk.arm(step, DiskFault::Error(ErrorKind::Other));
            let reason = Reason::of_gateway(Trigger::Manual, "a test says so");
            let told = bench.driver.order_now("default", order, reason);
            if !bench.disk.has_fired() {
                break;
            }
            for _ in 0..5 {
                bench.manual_clock.advance(Duration::from_mins(1));
                bench.driver.tick();
                bench.driver.advance();
            }
            assert_eq!(
                seen(&bench) == before,
                told.is_err(),
                "{order:?}, step {step}"
            );
        }
    }
}
