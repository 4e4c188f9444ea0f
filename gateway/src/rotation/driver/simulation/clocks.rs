//! Clocks that are set while a gateway runs and restarted two of its processes, reboots, and a lost `clock.json`: nothing is
//! destroyed early, nothing stays for ever, and a date that has passed stays passed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::environment::{Fixture, audit_log_dir, signer};
use crate::audit::{Log, Trigger};
use crate::catalogue::{Catalogue, State, Version};
use crate::clock::{Clock, ManualClock};
use crate::disk::Files;
use crate::disk::testing::CrashDisk;
use crate::policy::{Plaintext, Policy, Rule};
use crate::rotation::driver::testing::{Backlog, stores};
use crate::rotation::driver::{Driver, Parts};
use crate::rotation::engine::Order;
use crate::rotation::terms::Retain;
use crate::rotation::{Reason, RotationConfig, Terms};

const DAY: u64 = 86_400;
const SECOND: Duration = Duration::from_secs(1);

/// A state directory, and one process after another.
struct RestartBench<'h> {
    fixture: &'h Fixture,
    disk: Arc<CrashDisk>,
    clock: Clock,
    manual_clock: ManualClock,
    retain: Retain,
    plaintext: Plaintext,
    driver: Option<Driver>,
}

/// What happens restarted two processes.
#[derive(Clone, Copy, Debug)]
enum Restarted {
    /// The first was killed.
    Process,
    /// The host was rebooted.
    Host,
}

impl<'h> RestartBench<'h> {
    fn new(fixture: &'h Fixture, retain: Retain) -> Self {
        Self::with(fixture, retain, Plaintext::Reject)
    }

    fn with(fixture: &'h Fixture, retain: Retain, plaintext: Plaintext) -> Self {
        let (clock, manual_clock) = Fixture::clock();
        let mut bench = Self {
            fixture,
            disk: fixture.disk(),
            clock,
            manual_clock,
            retain,
            plaintext,
            driver: None,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let files: Arc<dyn Files> = Arc::<CrashDisk>::clone(&self.disk);
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        let custodian = self.fixture.kek();
        let catalogue = Catalogue::open_on(self.fixture.lock(), Arc::clone(&files), custodian);
        let audit =
            Log::open(audit_log_dir(files, self.fixture.dir()), signer(), now, &[]).unwrap();
        let stores = stores(catalogue.unwrap(), audit, &Backlog::default());
        let parts = Parts {
            stores,
            clock: self.clock.clone(),
            held: None,
        };
        let terms = Terms {
            retain: self.retain,
            ..Terms::default()
        };
        let rule = Rule {
            plaintext: self.plaintext,
            ..Rule::everything()
        };
        let config = RotationConfig {
            policy: Arc::new(Policy::new(vec![rule], &[]).unwrap()),
            terms: vec![terms],
            workers: 1,
            settings: crate::audit::Settings::default(),
        };
        let (driver, _misses) = Driver::start_at_once(config, parts).unwrap();
        self.driver = Some(driver);
    }

    /// Ends the process for `time`, sets the clock by `set` seconds, and starts another.
    fn restart(&mut self, restarted: Restarted, time: Duration, set: i64) {
        self.driver = None;
        self.disk.respawn();
        self.manual_clock.advance(time);
        if let Restarted::Host = restarted {
            self.manual_clock.reboot();
        }
        self.set(set);
        self.start();
    }

    fn set(&self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let wall = self.clock.wall();
        self.manual_clock
            .set_wall(if seconds < 0 { wall - by } else { wall + by });
    }

    fn pass(&mut self, time: Duration) {
        self.manual_clock.advance(time);
        self.driver().tick();
        self.driver().advance();
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().unwrap()
    }

    fn rotate(&mut self) {
        self.pass(SECOND);
        let reason = Reason::of_gateway(Trigger::Manual, "a test says so");
        self.driver().begin_rotation("default", reason);
    }

    fn version(&mut self, number: u32) -> Version {
        let record = self.driver().record(0).unwrap();
        record.version(number).unwrap().clone()
    }

    fn state(&mut self, number: u32) -> State {
        self.version(number).state
    }

    fn active(&mut self) -> u32 {
        self.driver().record(0).unwrap().active().unwrap().number
    }

    fn accepts(&mut self) -> bool {
        let snapshot = self.driver().keys().load();
        let rule = snapshot.policy().keyrings().first().unwrap();
        match rule.plaintext {
            Plaintext::Accept { until } => self.clock.wall() < until,
            Plaintext::Reject => false,
        }
    }

    /// The `clock-set` notes of the audit log, in seconds.
    fn logged_clock_steps(&mut self) -> Vec<i64> {
        let lines = self.driver().tail(1000).unwrap();
        let lines = lines.iter().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line
        });
        let set = lines.filter(|line| line["note"] == "clock-set");
        set.map(|line| line["seconds"].as_i64().unwrap()).collect()
    }
}

/// Every combination of an end of the process and a change of the clock meanwhile, in seconds.
fn for_each_clock_change(mut each: impl FnMut(Restarted, i64)) {
    let day = i64::try_from(DAY).unwrap();
    for restarted in [Restarted::Process, Restarted::Host] {
        for set in [0, 2 * day, -day, 364 * day] {
            each(restarted, set);
        }
    }
}

#[test]
fn key_is_shredded_after_its_overlap_and_not_by_a_clock_that_was_set_between_two_processes() {
    let fixture = Fixture::new();
    for_each_clock_change(|restarted, set| {
        let mut bench = RestartBench::new(&fixture, Retain::Shred);
        bench.rotate();
        bench.pass(Duration::from_mins(4));
        bench.restart(restarted, Duration::ZERO, set);
        assert_eq!(bench.state(1), State::DecryptOnly, "{restarted:?}, {set}");
        bench.set(-set);
        bench.pass(Duration::from_mins(6) - SECOND);
        assert_eq!(bench.state(1), State::DecryptOnly, "{restarted:?}, {set}");
        // A reboot loses the time since the last save, up to a minute.
        bench.pass(SECOND + Duration::from_secs(60));
        assert_eq!(bench.state(1), State::Destroyed, "{restarted:?}, {set}");
    });
}

#[test]
fn downtime_counts_as_far_as_the_host_was_there_to_see_it() {
    let fixture = Fixture::new();
    for (restarted, after) in [
        (Restarted::Process, State::Destroyed),
        (Restarted::Host, State::DecryptOnly),
    ] {
        let mut bench = RestartBench::new(&fixture, Retain::Shred);
        bench.rotate();
        bench.restart(restarted, Duration::from_secs(2 * DAY), 0);
        assert_eq!(bench.state(1), after, "{restarted:?}");
        assert_eq!(bench.logged_clock_steps(), [0; 0], "{restarted:?}");
        // The cryptoperiod is over by the wall clock, which is enough for a rotation, some seconds after the last ones.
        bench.pass(SECOND * 4);
        assert_eq!(bench.active(), 3, "{restarted:?}");
        bench.pass(Duration::from_mins(10));
        assert_eq!(bench.state(1), State::Destroyed, "{restarted:?}");
    }
}

#[test]
fn rotation_by_time_goes_on_after_every_start_whatever_the_clock_shows() {
    let fixture = Fixture::new();
    for_each_clock_change(|restarted, set| {
        let mut bench = RestartBench::new(&fixture, Retain::Archive);
        bench.pass(Duration::from_mins(1));
        let before = bench.active();
        for hour in 0..25 {
            let by = if hour % 2 == 0 { set } else { -set };
            bench.restart(restarted, SECOND, by);
            bench.pass(Duration::from_hours(1));
        }
        let made = bench.active() - before;
        assert!(made >= 1, "{restarted:?}, {set}");
        assert!(made <= 27, "{restarted:?}, {set}: {made} in a day");
    });
}

#[test]
fn version_whose_record_alone_says_that_it_began_in_the_future_ends_in_time() {
    let fixture = Fixture::new();
    let mut bench = RestartBench::new(&fixture, Retain::Shred);
    // As an older keyway left it: times of the wall clock only, which was a year ahead.
    bench.driver = None;
    bench.disk = fixture.disk();
    bench
        .manual_clock
        .set_wall(bench.clock.wall() + Duration::from_secs(364 * DAY));
    bench.start();
    bench.rotate();
    let clock = fixture.dir().join("clock.json");
    bench.driver = None;
    Files::remove(&*bench.disk, &clock).unwrap();
    bench.restart(Restarted::Host, SECOND, -364 * i64::try_from(DAY).unwrap());
    bench.pass(SECOND * 4);
    assert_eq!(bench.active(), 3);
    assert_eq!(bench.state(1), State::DecryptOnly);
    bench.pass(Duration::from_mins(10));
    assert_eq!(bench.state(1), State::Destroyed);
    assert_eq!(bench.state(2), State::Destroyed);
    assert_eq!(bench.active(), 3);
}

#[test]
fn time_that_is_not_written_down_any_more_goes_on_from_the_records() {
    let fixture = Fixture::new();
    for_each_clock_change(|restarted, set| {
        let mut bench = RestartBench::new(&fixture, Retain::Shred);
        bench.rotate();
        bench.driver = None;
        Files::remove(&*bench.disk, &fixture.dir().join("clock.json")).unwrap();
        bench.restart(restarted, SECOND, set);
        bench.pass(Duration::from_mins(10) - SECOND);
        assert_eq!(bench.state(1), State::DecryptOnly, "{restarted:?}, {set}");
        bench.pass(SECOND);
        assert_eq!(bench.state(1), State::Destroyed, "{restarted:?}, {set}");
    });
}

#[test]
fn clock_that_is_set_is_in_the_audit_log_with_its_size_before_anything_by_its_new_time() {
    let fixture = Fixture::new();
    let mut bench = RestartBench::new(&fixture, Retain::Archive);
    bench.set(7200);
    bench.rotate();
    assert_eq!(bench.logged_clock_steps(), [7200]);
    let lines = bench.driver().tail(1000).unwrap();
    let at = lines.iter().position(|line| line.contains("clock-set"));
    let next = lines
        .iter()
        .position(|line| line.contains("a test says so"));
    assert!(at.unwrap() < next.unwrap());
    bench.restart(Restarted::Process, SECOND, -7200);
    bench.restart(Restarted::Host, SECOND, -7200);
    assert_eq!(bench.logged_clock_steps()[..2], [7200, -7200]);
    // The downtime is not known, so that the step is a minimum.
    assert!(
        matches!(bench.logged_clock_steps()[2..], [-7200..=-7100]),
        "{:?}",
        bench.logged_clock_steps()
    );
    bench.restart(Restarted::Process, Duration::from_secs(3 * DAY), 0);
    assert_eq!(bench.logged_clock_steps().len(), 3);
}

#[test]
fn date_that_has_passed_stays_passed_and_a_later_one_counts_anew() {
    let fixture = Fixture::new();
    let (clock, _winder) = Fixture::clock();
    let after = |secs: u64| clock.wall() + Duration::from_secs(secs);
    let day = i64::try_from(DAY).unwrap();
    for restarted in [Restarted::Process, Restarted::Host] {
        let until = after(100);
        let mut bench = RestartBench::with(&fixture, Retain::Archive, Plaintext::Accept { until });
        assert!(bench.accepts());
        bench.set(-50);
        bench.pass(SECOND);
        assert!(bench.accepts(), "it has not passed yet");
        bench.pass(Duration::from_secs(150));
        assert!(!bench.accepts());
        bench.set(-day);
        bench.pass(SECOND);
        assert!(!bench.accepts(), "in the same process");
        bench.restart(restarted, SECOND, -day);
        assert!(!bench.accepts(), "{restarted:?}");
        bench.plaintext = Plaintext::Accept { until: after(1000) };
        bench.restart(restarted, SECOND, 0);
        assert!(bench.accepts(), "another date is another decision");
    }
}

#[test]
fn operator_s_destruction_waits_for_the_overlap_whatever_the_clock_shows() {
    let fixture = Fixture::new();
    for_each_clock_change(|restarted, set| {
        let mut bench = RestartBench::new(&fixture, Retain::Archive);
        bench.rotate();
        bench.restart(restarted, SECOND, set);
        let may = bench.driver().keyring(0, |keyring, shared| {
            keyring.may_destroy(shared, Order::Destroy(1))
        });
        let refused = may.unwrap_err();
        assert!(refused.to_string().contains("overlap"), "{refused}");
    });
}

#[test]
fn disk_that_takes_no_time_keeps_no_key_from_being_made() {
    let fixture = Fixture::new();
    let mut bench = RestartBench::new(&fixture, Retain::Shred);
    bench.rotate();
    bench.disk.capacity(Some(bench.disk.used()));
    bench.pass(Duration::from_mins(2));
    bench.disk.capacity(None);
    bench.pass(Duration::from_mins(8));
    assert_eq!(bench.state(1), State::Destroyed);
    assert_eq!(bench.active(), 2);
}
