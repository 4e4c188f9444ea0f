//! Clocks that are set while a gateway runs and between two of its processes, reboots, and a lost `clock.json`: nothing is
//! destroyed early, nothing stays for ever, and a date that has passed stays passed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::world::{Home, place, signer};
use crate::audit::{Log, Trigger};
use crate::catalogue::{Catalogue, State, Version};
use crate::clock::{Clock, Winder};
use crate::disk::Files;
use crate::disk::testing::Forgetful;
use crate::policy::{Plaintext, Policy, Rule};
use crate::rotation::driver::{Driver, Parts};
use crate::rotation::engine::Order;
use crate::rotation::seams::{Alone, Nobody};
use crate::rotation::terms::Retain;
use crate::rotation::{Because, Config, Terms, User};

const DAY: u64 = 86_400;
const SECOND: Duration = Duration::from_secs(1);

/// A state directory, and one process after another.
struct Place<'h> {
    home: &'h Home,
    disk: Arc<Forgetful>,
    clock: Clock,
    winder: Winder,
    retain: Retain,
    plaintext: Plaintext,
    driver: Option<Driver>,
}

/// What happens between two processes.
#[derive(Clone, Copy, Debug)]
enum Between {
    /// The first was killed.
    Processes,
    /// The host was rebooted.
    Boots,
}

impl<'h> Place<'h> {
    fn new(home: &'h Home, retain: Retain) -> Self {
        Self::with(home, retain, Plaintext::Reject)
    }

    fn with(home: &'h Home, retain: Retain, plaintext: Plaintext) -> Self {
        let (clock, winder) = Home::clock();
        let mut place = Self {
            home,
            disk: home.disk(),
            clock,
            winder,
            retain,
            plaintext,
            driver: None,
        };
        place.start();
        place
    }

    fn start(&mut self) {
        let files: Arc<dyn Files> = Arc::<Forgetful>::clone(&self.disk);
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        let custodian = self.home.kek();
        let catalogue = Catalogue::open_on(self.home.lock(), Arc::clone(&files), custodian);
        let parts = Parts {
            held: None,
            drainers: Vec::new(),
            catalogue: catalogue.unwrap(),
            audit: Log::open(place(files, self.home.dir()), signer(), now).unwrap(),
            inspector: Box::new(Nobody),
            fleet: Box::new(Alone),
            user: User::Gateway,
            clock: self.clock.clone(),
        };
        let terms = Terms {
            retain: self.retain,
            ..Terms::default()
        };
        let rule = Rule {
            plaintext: self.plaintext,
            ..Rule::everything()
        };
        let config = Config {
            policy: Arc::new(Policy::new(vec![rule], &[]).unwrap()),
            terms: vec![terms],
            workers: 1,
            settings: crate::audit::Settings::default(),
        };
        let (driver, _misses) = Driver::start(config, parts).unwrap();
        self.driver = Some(driver);
    }

    /// Ends the process for `time`, sets the clock by `set` seconds, and starts another.
    fn down(&mut self, between: Between, time: Duration, set: i64) {
        self.driver = None;
        self.disk.respawn();
        self.winder.advance(time);
        if let Between::Boots = between {
            self.winder.reboot();
        }
        self.set(set);
        self.start();
    }

    fn set(&self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let wall = self.clock.wall();
        self.winder
            .set_wall(if seconds < 0 { wall - by } else { wall + by });
    }

    fn pass(&mut self, time: Duration) {
        self.winder.advance(time);
        self.driver().tick();
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().unwrap()
    }

    fn rotate(&mut self) {
        self.pass(SECOND);
        let because = Because::of_gateway(Trigger::Manual, "a test says so");
        self.driver().rotate("default", because).unwrap();
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
    fn told(&mut self) -> Vec<i64> {
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
fn walk(mut each: impl FnMut(Between, i64)) {
    let day = i64::try_from(DAY).unwrap();
    for between in [Between::Processes, Between::Boots] {
        for set in [0, 2 * day, -day, 364 * day] {
            each(between, set);
        }
    }
}

#[test]
fn key_is_shredded_after_its_overlap_and_not_by_a_clock_that_was_set_between_two_processes() {
    let home = Home::new();
    walk(|between, set| {
        let mut place = Place::new(&home, Retain::Shred);
        place.rotate();
        place.pass(Duration::from_mins(4));
        place.down(between, Duration::ZERO, set);
        assert_eq!(place.state(1), State::DecryptOnly, "{between:?}, {set}");
        place.set(-set);
        place.pass(Duration::from_mins(6) - SECOND);
        assert_eq!(place.state(1), State::DecryptOnly, "{between:?}, {set}");
        // A reboot loses the time since the last save, up to a minute.
        place.pass(SECOND + Duration::from_secs(60));
        assert_eq!(place.state(1), State::Destroyed, "{between:?}, {set}");
    });
}

#[test]
fn downtime_counts_as_far_as_the_host_was_there_to_see_it() {
    let home = Home::new();
    for (between, after) in [
        (Between::Processes, State::Destroyed),
        (Between::Boots, State::DecryptOnly),
    ] {
        let mut place = Place::new(&home, Retain::Shred);
        place.rotate();
        place.down(between, Duration::from_secs(2 * DAY), 0);
        assert_eq!(place.state(1), after, "{between:?}");
        assert_eq!(place.told(), [0; 0], "{between:?}");
        // The cryptoperiod is over by the wall clock, which is enough for a rotation, some seconds after the last ones.
        place.pass(SECOND * 4);
        assert_eq!(place.active(), 3, "{between:?}");
        place.pass(Duration::from_mins(10));
        assert_eq!(place.state(1), State::Destroyed, "{between:?}");
    }
}

#[test]
fn rotation_by_time_goes_on_after_every_start_whatever_the_clock_shows() {
    let home = Home::new();
    walk(|between, set| {
        let mut place = Place::new(&home, Retain::Archive);
        place.pass(Duration::from_mins(1));
        let before = place.active();
        for hour in 0..25 {
            let by = if hour % 2 == 0 { set } else { -set };
            place.down(between, SECOND, by);
            place.pass(Duration::from_hours(1));
        }
        let made = place.active() - before;
        assert!(made >= 1, "{between:?}, {set}");
        assert!(made <= 27, "{between:?}, {set}: {made} in a day");
    });
}

#[test]
fn version_whose_record_alone_says_that_it_began_in_the_future_ends_in_time() {
    let home = Home::new();
    let mut place = Place::new(&home, Retain::Shred);
    // As an older keyway left it: times of the wall clock only, which was a year ahead.
    place.driver = None;
    place.disk = home.disk();
    place
        .winder
        .set_wall(place.clock.wall() + Duration::from_secs(364 * DAY));
    place.start();
    place.rotate();
    let clock = home.dir().join("clock.json");
    place.driver = None;
    Files::remove(&*place.disk, &clock).unwrap();
    place.down(Between::Boots, SECOND, -364 * i64::try_from(DAY).unwrap());
    place.pass(SECOND * 4);
    assert_eq!(place.active(), 3);
    assert_eq!(place.state(1), State::DecryptOnly);
    place.pass(Duration::from_mins(10));
    assert_eq!(place.state(1), State::Destroyed);
    assert_eq!(place.state(2), State::Destroyed);
    assert_eq!(place.active(), 3);
}

#[test]
fn time_that_is_not_written_down_any_more_goes_on_from_the_records() {
    let home = Home::new();
    walk(|between, set| {
        let mut place = Place::new(&home, Retain::Shred);
        place.rotate();
        place.driver = None;
        Files::remove(&*place.disk, &home.dir().join("clock.json")).unwrap();
        place.down(between, SECOND, set);
        place.pass(Duration::from_mins(10) - SECOND);
        assert_eq!(place.state(1), State::DecryptOnly, "{between:?}, {set}");
        place.pass(SECOND);
        assert_eq!(place.state(1), State::Destroyed, "{between:?}, {set}");
    });
}

#[test]
fn clock_that_is_set_is_in_the_audit_log_with_its_size_before_anything_by_its_new_time() {
    let home = Home::new();
    let mut place = Place::new(&home, Retain::Archive);
    place.set(7200);
    place.rotate();
    assert_eq!(place.told(), [7200]);
    let lines = place.driver().tail(1000).unwrap();
    let at = lines.iter().position(|line| line.contains("clock-set"));
    let next = lines
        .iter()
        .position(|line| line.contains("a test says so"));
    assert!(at.unwrap() < next.unwrap());
    place.down(Between::Processes, SECOND, -7200);
    place.down(Between::Boots, SECOND, -7200);
    assert_eq!(place.told()[..2], [7200, -7200]);
    // The downtime is not known, so that the step is a minimum.
    assert!(
        matches!(place.told()[2..], [-7200..=-7100]),
        "{:?}",
        place.told()
    );
    place.down(Between::Processes, Duration::from_secs(3 * DAY), 0);
    assert_eq!(place.told().len(), 3);
}

#[test]
fn date_that_has_passed_stays_passed_and_a_later_one_counts_anew() {
    let home = Home::new();
    let (clock, _winder) = Home::clock();
    let after = |secs: u64| clock.wall() + Duration::from_secs(secs);
    let day = i64::try_from(DAY).unwrap();
    for between in [Between::Processes, Between::Boots] {
        let until = after(100);
        let mut place = Place::with(&home, Retain::Archive, Plaintext::Accept { until });
        assert!(place.accepts());
        place.set(-50);
        place.pass(SECOND);
        assert!(place.accepts(), "it has not passed yet");
        place.pass(Duration::from_secs(150));
        assert!(!place.accepts());
        place.set(-day);
        place.pass(SECOND);
        assert!(!place.accepts(), "in the same process");
        place.down(between, SECOND, -day);
        assert!(!place.accepts(), "{between:?}");
        place.plaintext = Plaintext::Accept { until: after(1000) };
        place.down(between, SECOND, 0);
        assert!(place.accepts(), "another date is another decision");
    }
}

#[test]
fn operator_s_destruction_waits_for_the_overlap_whatever_the_clock_shows() {
    let home = Home::new();
    walk(|between, set| {
        let mut place = Place::new(&home, Retain::Archive);
        place.rotate();
        place.down(between, SECOND, set);
        let refused = place
            .driver()
            .may_destroy(0, Order::Destroy(1))
            .unwrap_err();
        assert!(refused.to_string().contains("overlap"), "{refused}");
    });
}

#[test]
fn disk_that_takes_no_time_keeps_no_key_from_being_made() {
    let home = Home::new();
    let mut place = Place::new(&home, Retain::Shred);
    place.rotate();
    place.disk.capacity(Some(place.disk.used()));
    place.pass(Duration::from_mins(2));
    place.disk.capacity(None);
    place.pass(Duration::from_mins(8));
    assert_eq!(place.state(1), State::Destroyed);
    assert_eq!(place.active(), 2);
}
