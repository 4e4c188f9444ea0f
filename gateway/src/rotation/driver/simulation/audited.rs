//! What the audit log says of an act is what happened, at whatever step of the disk it is cut off.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::regressions::Bench;
use super::world::Home;
use crate::audit::{Act, Action, Body, Completed, EventId, Line, OutcomeWord, Trigger};
use crate::catalogue::{State, Version};
use crate::control::Answer;
use crate::disk::testing::{Forgetful, Trouble};
use crate::rotation::Wish;
use crate::rotation::because::{Because, Ground};
use crate::rotation::driver::perform::Wanted;
use crate::rotation::engine::Order;

/// More than any order here takes.
const STEPS: usize = 60;

/// The last word on every event.
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
    let found = bench
        .driver
        .catalogue
        .find_by_kid(crate::envelope::Kid(kid.0));
    found.map(|(_keyring, version)| version.clone())
}

/// The log's last word on every act is what the record says; none is open.
fn assert_true(bench: &Bench, step: usize) {
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
            other => panic!("nobody has asked for {other}"),
        };
        // What failed once may have been done later.
        let same =
            |other: &&Completed| other.event.act.what == *what && other.event.act.version == *named;
        let same = outcomes.values().filter(same);
        let done = same.filter(|other| other.outcome == OutcomeWord::Done);
        assert_eq!(
            done.count(),
            usize::from(happened),
            "step {step}: {completed:?}"
        );
    }
}

/// Kills the process at every step that `order` takes.
fn killed_at_every_step(order: Order, revive: impl Fn(&Forgetful)) {
    let home = Home::new();
    for step in 0..STEPS {
        let mut struck = true;
        let dies = |bench: &mut Bench| {
            bench.disk.arm(step, Trouble::Death);
            bench.ask(order);
            struck = bench.disk.is_dead();
        };
        let bench = Bench::new(&home).killed(&home, dies, &revive);
        assert_true(&bench, step);
        if !struck {
            return;
        }
    }
    panic!("more than {STEPS} steps");
}

#[test]
fn act_cut_off_by_a_kill_at_any_step_is_done_in_the_log_if_the_record_has_it() {
    killed_at_every_step(Order::Rotate, Forgetful::respawn);
    killed_at_every_step(Order::Compromise(1), Forgetful::respawn);
}

#[test]
fn act_cut_off_by_a_power_cut_at_any_step_is_done_in_the_log_if_the_record_has_it() {
    for kept in 0..3 {
        killed_at_every_step(Order::Rotate, |disk| disk.restart(kept));
    }
}

/// A write that fails and takes effect, on a disk that does not give back what it has.
#[test]
fn act_of_which_nobody_knows_whether_it_took_effect_is_unknown_until_the_record_can_be_read() {
    let home = Home::new();
    let mut unknown = 0;
    for step in 0..STEPS {
        let mut bench = Bench::new(&home);
        bench.disk.arm(step, Trouble::Blindness);
        bench.ask(Order::Compromise(1));
        let struck = bench.disk.struck();
        let said = outcomes(&bench.lines());
        let words = said.values().map(|completed| completed.outcome);
        unknown += words.filter(|word| *word == OutcomeWord::Unknown).count();
        bench.disk.sees_again();
        bench.driver.tick();
        assert_true(&bench, step);
        if !struck {
            assert!(unknown > 0, "nothing was ever unknown");
            return;
        }
    }
    panic!("more than {STEPS} steps");
}

#[test]
fn version_that_could_not_be_made_is_the_one_that_the_failure_names() {
    let home = Home::new();
    let mut bench = Bench::new(&home);
    let before = bench.lines().len();
    bench.disk.arm(3, Trouble::Error(ErrorKind::Other));
    bench.ask(Order::Rotate);
    let lines = bench.lines();
    let failed = outcomes(&lines[before..]);
    let failed = failed
        .values()
        .find(|completed| completed.outcome == OutcomeWord::Failed);
    let version = failed.unwrap().event.act.version.clone().unwrap();
    assert!(version.label.as_str().ends_with(".2"), "{version:?}");
}

/// What an order to destroy version 1 leaves in the log: by what the bus has said, or by force.
fn destroyed(bench: &mut Bench, stored: Option<&Answer>) -> Completed {
    for order in [Order::Rotate, Order::Archive(1)] {
        bench.ask(order);
    }
    let wanted = Wanted {
        wish: Wish {
            forced: stored.is_none(),
            approves: false,
        },
        because: Because::of_gateway(Trigger::Manual, "a test says so"),
    };
    let given = match stored {
        Some(stored) => bench.driver.destroy_if((0, 1), wanted, stored),
        None => bench
            .driver
            .give_wish((0, Order::Destroy(1)), wanted, Ground::Forced),
    };
    given.unwrap();
    let outcomes = outcomes(&bench.lines());
    let mut ends = outcomes.into_values();
    ends.find(|completed| completed.event.act.what == Action::Destroy)
        .unwrap()
}

#[test]
fn forced_destruction_is_told_from_one_that_was_proven() {
    let home = Home::new();
    let forced = destroyed(&mut Bench::new(&home), None).event.act;
    assert_eq!((forced.forced, forced.evidence), (Some(true), None));
    let clear = Answer::Clear { streams: 2 };
    let proven = destroyed(&mut Bench::new(&home), Some(&clear)).event.act;
    assert_eq!(proven.forced, Some(false));
    let evidence = proven.evidence.unwrap();
    assert!(evidence.as_str().contains("2 streams"), "{evidence}");
}
