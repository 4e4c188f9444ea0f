//! The audit log is true of every act, at whatever write a crash interrupts it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use super::environment::Fixture;
use super::regressions::Bench;
use crate::audit::{Act, Action, Body, Completed, EventId, Line, OutcomeKind, Trigger};
use crate::catalogue::{State, Version};
use crate::disk::testing::{CrashDisk, DiskFault};
use crate::later::wait;
use crate::retention::RetentionAnswer;
use crate::rotation::driver::inspection::DestroyOrder;
use crate::rotation::engine::Order;
use crate::rotation::reason::{DestroyBasis, Reason};
use crate::rotation::report::Time;
use crate::rotation::{DestroyRequest, Terms};

/// More writes than any order here makes.
const STEPS: usize = 60;

/// The last outcome of every event.
fn outcomes(lines: &[Line]) -> BTreeMap<EventId, Completed> {
    let outcomes = lines.iter().filter_map(|line| match &line.body {
        Body::Outcome(completed) => Some((completed.event.id, completed.clone())),
        Body::Intent(_) | Body::Note(_) => None,
    });
    outcomes.collect()
}

/// The version that an event names, as the record has it.
fn version(bench: &Bench, completed: &Completed) -> Option<Version> {
    let kid = completed.event.act.version.as_ref().unwrap().kid;
    bench.driver.shared(|shared| {
        let found = shared.view.find_by_kid(crate::envelope::Kid(kid.0));
        found.map(|(_keyring, version)| version.clone())
    })
}

/// Checks that the last outcome of every act agrees with the record, and that no intent is open.
fn assert_log_is_true(bench: &Bench, step: usize) {
    let lines = bench.lines();
    let outcomes = outcomes(&lines);
    for line in &lines {
        let Some(event) = line.body.event() else {
            continue;
        };
        assert!(
            event.act.version.is_some(),
            "step {step}: {line:?} names no version"
        );
        assert!(
            outcomes.contains_key(&event.id),
            "step {step}: {line:?} is open"
        );
    }
    for completed in outcomes.values() {
        let version = version(bench, completed);
        let Act {
            what,
            version: named,
            ..
        } = &completed.event.act;
        let happened = match what {
            Action::Generate => version.is_some(),
            Action::Admit => version.is_some_and(|version| version.state != State::PreActive),
            Action::Activate => version.is_some_and(|version| version.activated.is_some()),
            Action::Compromise => {
                version.is_some_and(|version| version.state == State::Compromised)
            }
            Action::Deactivate
            | Action::Archive
            | Action::Restore
            | Action::Suspend
            | Action::Resume
            | Action::Destroy
            | Action::Reload
            | Action::DestroyRequested
            | Action::RotateRequested
            | Action::Weaken
            | Action::Abort => panic!("nobody has asked for {what}"),
        };
        // An act that failed may have been repeated.
        let same =
            |other: &&Completed| other.event.act.what == *what && other.event.act.version == *named;
        let same = outcomes.values().filter(same);
        let done = same.filter(|other| other.outcome == OutcomeKind::Done);
        assert_eq!(
            done.count(),
            usize::from(happened),
            "step {step}: {completed:?}"
        );
    }
}

/// Kills the process at every write of `order`.
fn killed_at_every_step(order: Order, revive: impl Fn(&CrashDisk)) {
    let fixture = Fixture::new();
    for step in 0..STEPS {
        let mut struck = true;
        let dies = |bench: &mut Bench| {
            bench.disk.arm(step, DiskFault::Crash);
            bench.ask(order);
            struck = bench.disk.is_dead();
        };
        let bench = Bench::new(&fixture).killed(&fixture, dies, &revive);
        assert_log_is_true(&bench, step);
        if !struck {
            return;
        }
    }
    panic!("more than {STEPS} steps");
}

#[test]
fn act_cut_off_by_a_kill_at_any_step_is_done_in_the_log_if_the_record_has_it() {
    killed_at_every_step(Order::Rotate, CrashDisk::respawn);
    killed_at_every_step(Order::Compromise(1), CrashDisk::respawn);
}

#[test]
fn act_cut_off_by_a_power_cut_at_any_step_is_done_in_the_log_if_the_record_has_it() {
    for kept in 0..3 {
        killed_at_every_step(Order::Rotate, |disk| disk.restart(kept));
    }
}

/// A write that fails and takes effect, on a disk that cannot be read then.
#[test]
fn act_of_which_nobody_knows_whether_it_took_effect_is_unknown_until_the_record_can_be_read() {
    let fixture = Fixture::new();
    let mut unknown = 0;
    for step in 0..STEPS {
        let mut bench = Bench::new(&fixture);
        bench.disk.arm(step, DiskFault::Unreadable);
        bench.ask(Order::Compromise(1));
        let struck = bench.disk.has_fired();
        let said = outcomes(&bench.lines());
        let words = said.values().map(|completed| completed.outcome);
        unknown += words.filter(|word| *word == OutcomeKind::Unknown).count();
        bench.disk.make_readable();
        bench.driver.tick();
        bench.driver.advance();
        assert_log_is_true(&bench, step);
        if !struck {
            assert!(unknown > 0, "nothing was ever unknown");
            return;
        }
    }
    panic!("more than {STEPS} steps");
}

#[test]
fn version_that_could_not_be_made_is_the_one_that_the_failure_names() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    let before = bench.lines().len();
    bench.disk.arm(3, DiskFault::Error(ErrorKind::Other));
    bench.ask(Order::Rotate);
    let lines = bench.lines();
    let failed = outcomes(&lines[before..]);
    let failed = failed
        .values()
        .find(|completed| completed.outcome == OutcomeKind::Failed);
    let version = failed.unwrap().event.act.version.clone().unwrap();
    assert!(version.label.as_str().ends_with(".2"), "{version:?}");
}

/// The outcome in the log of destroying version 1: with the bus' answer as evidence, or forced.
fn destroyed(bench: &mut Bench, stored: Option<&RetentionAnswer>) -> Completed {
    for order in [Order::Rotate, Order::Archive(1)] {
        bench.ask(order);
    }
    let wanted = DestroyOrder {
        request: DestroyRequest {
            forced: stored.is_none(),
            approves: false,
        },
        reason: Reason::of_gateway(Trigger::Manual, "a test says so"),
    };
    let keyring = bench.driver.find("default").unwrap();
    let given = async {
        match stored {
            Some(stored) => keyring.destroy_if(1, wanted, stored).await,
            None => {
                let order = Order::Destroy(1);
                keyring
                    .give_destroy_order(order, wanted, DestroyBasis::Forced)
                    .await
            }
        }
    };
    wait(given).unwrap();
    let outcomes = outcomes(&bench.lines());
    let mut ends = outcomes.into_values();
    ends.find(|completed| completed.event.act.what == Action::Destroy)
        .unwrap()
}

#[test]
fn forced_destruction_is_told_from_one_that_was_proven() {
    let fixture = Fixture::new();
    let forced = destroyed(&mut Bench::new(&fixture), None).event.act;
    assert_eq!((forced.forced, forced.evidence), (Some(true), None));
    let clear = RetentionAnswer::NothingStored { streams: 2 };
    let proven = destroyed(&mut Bench::new(&fixture), Some(&clear)).event.act;
    assert_eq!(proven.forced, Some(false));
    let evidence = proven.evidence.unwrap();
    assert!(evidence.as_str().contains("2 streams"), "{evidence}");
}

#[test]
fn order_that_is_refused_is_a_line_with_who_and_why() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    for (order, what, says) in [
        (Order::Archive(1), Action::Archive, "only a decrypt-only"),
        (Order::Suspend(9), Action::Suspend, "no version 9"),
        (Order::Abort, Action::Abort, "no rotation is under way"),
    ] {
        let before = bench.lines().len();
        bench.ask(order);
        let mut lines = bench.lines().split_off(before);
        let body = lines.pop().unwrap().body;
        assert_eq!(lines, []);
        let Body::Outcome(refused) = body else {
            panic!("{body:?}");
        };
        let act = &refused.event.act;
        assert_eq!((refused.outcome, act.what), (OutcomeKind::Refused, what));
        assert_eq!(act.why.as_str(), "a test says so");
        assert!(refused.error.unwrap().as_str().contains(says), "{order:?}");
    }
    let reason = Reason::of_gateway(Trigger::Manual, "why");
    bench.driver.rotate_now("agents", reason).unwrap_err();
    let lines = bench.lines();
    let Body::Outcome(refused) = &lines.last().unwrap().body else {
        panic!("{lines:?}");
    };
    assert_eq!(
        refused.event.act.keyring.as_ref().unwrap().as_str(),
        "agents"
    );
}

#[test]
fn rotation_that_joins_the_one_under_way_is_a_line() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.ask(Order::Rotate);
    let reason = |why: &str| Reason::of_gateway(Trigger::Manual, why);
    // The first of these waits, because the last rotation is less than a second ago.
    for why in ["first", "second"] {
        bench.driver.begin_rotation("default", reason(why));
    }
    let lines = bench.lines();
    let Body::Outcome(joined) = &lines.last().unwrap().body else {
        panic!("{lines:?}");
    };
    let act = &joined.event.act;
    assert_eq!(
        (act.what, act.why.as_str()),
        (Action::RotateRequested, "second")
    );
    assert_eq!(joined.outcome, OutcomeKind::Done);
}

#[test]
fn three_kills_with_one_message_each_are_three_messages_and_no_rotation() {
    let fixture = Fixture::new();
    let mut terms = Terms::default();
    terms.rotate.messages = 5000;
    terms.limit.messages = 10_000;
    let mut bench = Bench::with(&fixture, fixture.kek(), terms);
    for _ in 0..3 {
        bench = bench.killed(&fixture, |bench| bench.seal(1), CrashDisk::respawn);
        bench.driver.tick();
        bench.driver.advance();
    }
    bench.seal(1);
    let status = bench.driver.overview().keyrings;
    let [version] = status[0].versions.as_slice() else {
        panic!("{status:?}");
    };
    assert!((1..=4).contains(&version.sealed.messages), "{version:?}");
    assert!((4..5000).contains(&version.used.messages), "{version:?}");
}

#[test]
fn exposure_ends_when_the_version_stopped_sealing_and_stands_with_the_revocation() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.seal(7);
    bench.ask(Order::Compromise(1));
    let stopped = bench.driver.record(0).unwrap().version(1).unwrap().since;
    let lines = outcomes(&bench.lines());
    let mut revoked = lines.values();
    let revoked = revoked.find(|completed| completed.event.act.what == Action::Compromise);
    let exposure = revoked.unwrap().event.act.exposure.clone().unwrap();
    assert_eq!((exposure.messages[0], exposure.bytes[0]), (7, 7));
    assert_eq!(exposure.until, Some(stopped));
    bench.manual_clock.advance(Duration::from_hours(1));
    bench.ask(Order::Destroy(1));
    assert_eq!(bench.state(1), State::Destroyed);
    let exposure = bench.driver.exposure(("default", 1)).unwrap();
    assert_eq!(exposure.until, Some(Time(stopped)));
}
