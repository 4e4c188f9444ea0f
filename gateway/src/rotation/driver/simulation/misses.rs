//! Floods of misses (kids that are not in the snapshot), against the real driver.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot::Receiver};

use super::environment::Fixture;
use super::regressions::Bench;
use super::simulated_run::operator;
use crate::catalogue::State;
use crate::disk::testing::DiskFault;
use crate::envelope::Kid;
use crate::keyring::{Closed, Miss, Verdict};
use crate::rotation::Terms;
use crate::rotation::driver::loaded::MAX_ON_DEMAND;
use crate::rotation::driver::testing::{CustodianState, SwitchedCustodian};
use crate::rotation::engine::Order;
use crate::rotation::terms::OpenPolicy;

/// More archived versions than are kept loaded.
const ARCHIVED: u32 = MAX_ON_DEMAND + 20;

/// Serves a connection's miss.
fn ask(bench: &mut Bench, kid: Kid, spent: Duration) -> Receiver<Verdict> {
    let verdict = put(bench, kid, spent);
    bench.driver.serve_misses();
    bench.driver.advance();
    verdict
}

/// Enqueues a miss.
fn put(bench: &mut Bench, kid: Kid, spent: Duration) -> Receiver<Verdict> {
    let (miss, verdict) = Miss::new(kid, spent);
    let (_nobody, mut none) = mpsc::channel(1);
    bench.driver.misses.put(miss, &mut none);
    verdict
}

/// How many snapshots were made: one for each version loaded, and for each read of the catalogue.
fn snapshots(bench: &Bench) -> u64 {
    bench.driver.keys().load().generation()
}

fn with_archived(fixture: &Fixture) -> (Bench, Vec<Kid>) {
    let mut bench = Bench::new(fixture);
    for number in 1..=ARCHIVED {
        bench.ask(Order::Rotate);
        bench.ask(Order::Archive(number));
        assert_eq!(bench.state(number), State::Archived);
    }
    let kids = (1..=ARCHIVED).map(|number| bench.driver.kid(0, number).unwrap());
    let kids = kids.collect();
    (bench, kids)
}

#[test]
fn flood_of_archived_kids_loads_at_a_bounded_rate_and_whoever_has_asked_least_comes_first() {
    let fixture = Fixture::new();
    let (mut bench, kids) = with_archived(&fixture);
    let (before, mut waiting) = (snapshots(&bench), Vec::new());
    for kid in kids.iter().cycle().take(kids.len() * 20) {
        let mut verdict = ask(&mut bench, *kid, Duration::from_secs(16));
        if verdict.try_recv().is_err() {
            waiting.push(verdict);
        }
    }
    assert_eq!(snapshots(&bench) - before, u64::from(MAX_ON_DEMAND));
    assert!(!waiting.is_empty());

    let loaded = |kid: &Kid, bench: &Bench| bench.driver.keys().load().by_kid(*kid).is_some();
    let absent = kids.iter().find(|kid| !loaded(kid, &bench)).unwrap();
    let mut honest = ask(&mut bench, *absent, Duration::ZERO);
    assert!(honest.try_recv().is_err());
    bench.manual_clock.advance(Duration::from_millis(40));
    bench.driver.serve_misses();
    assert_eq!(honest.try_recv(), Ok(Verdict::Loaded));
    assert!(loaded(absent, &bench));
    assert_eq!(snapshots(&bench) - before, u64::from(MAX_ON_DEMAND) + 1);

    bench.manual_clock.advance(Duration::from_secs(1));
    for _round in 0..10 {
        bench.driver.serve_misses();
    }
    assert!(snapshots(&bench) - before <= u64::from(MAX_ON_DEMAND) + 33);
    assert!(loaded(absent, &bench), "it is kept while the flood lasts");
}

#[test]
fn whoever_no_longer_waits_has_nothing_loaded() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    bench.ask(Order::Rotate);
    bench.ask(Order::Archive(1));
    let kid = bench.driver.kid(0, 1).unwrap();
    bench.driver.shared(|shared| shared.loaded.forget(kid));
    let before = snapshots(&bench);
    drop(put(&mut bench, kid, Duration::ZERO));
    bench.driver.serve_misses();
    assert_eq!(snapshots(&bench), before);
    let mut waits = put(&mut bench, kid, Duration::ZERO);
    bench.driver.serve_misses();
    assert_eq!(waits.try_recv(), Ok(Verdict::Loaded));
}

#[test]
fn made_up_kids_have_the_catalogue_read_once_a_second() {
    let fixture = Fixture::new();
    let mut bench = Bench::new(&fixture);
    let before = snapshots(&bench);
    for round in 1..=3 {
        bench.manual_clock.advance(Duration::from_secs(1));
        for number in 0..1000_u64 {
            let mut verdict = ask(&mut bench, Kid(number.to_be_bytes()), Duration::ZERO);
            assert_eq!(verdict.try_recv(), Ok(Verdict::Absent));
        }
        assert_eq!(snapshots(&bench) - before, round);
    }
}

/// Why a version does not open, which the snapshot and the answer to a miss must agree on.
fn closed(bench: &mut Bench, number: u32) -> Option<Closed> {
    let kid = bench.driver.kid(0, number).unwrap();
    let known = bench.driver.keys().load().closed().get(&kid).copied();
    let told = ask(bench, kid, Duration::ZERO).try_recv();
    assert_eq!(told, Ok(known.map_or(Verdict::Loaded, Verdict::Closed)));
    known
}

#[test]
fn version_that_does_not_open_is_told_from_one_that_nobody_knows() {
    let fixture = Fixture::new();
    let terms = Terms {
        open: OpenPolicy::Nothing,
        ..Terms::default()
    };
    let mut bench = Bench::with(&fixture, fixture.kek(), terms);
    bench.ask(Order::Rotate);
    assert_eq!(closed(&mut bench, 1), None);
    for (order, expected) in [
        (Order::Suspend(1), Some(Closed::Suspended)),
        (Order::Restore(1), None),
        (Order::Compromise(1), Some(Closed::Compromised)),
        (Order::Destroy(1), Some(Closed::Destroyed)),
    ] {
        bench.ask(order);
        assert_eq!(closed(&mut bench, 1), expected, "{order:?}");
    }
}

#[test]
fn version_that_is_not_ready_yet_is_told_from_one_that_nobody_knows() {
    let fixture = Fixture::new();
    let made = (0..).find_map(|step| {
        let mut bench = Bench::new(&fixture);
        bench.manual_clock.advance(Duration::from_secs(1));
        bench.disk.arm(step, DiskFault::Error(ErrorKind::Other));
        bench.driver.begin_rotation("default", operator());
        let record = bench.driver.record(0).unwrap();
        let last = record.versions.last().unwrap();
        (last.state == State::PreActive).then_some(bench)
    });
    assert_eq!(closed(&mut made.unwrap(), 2), Some(Closed::PreActive));
}

#[test]
fn version_whose_secret_cannot_be_unwrapped_is_told_from_one_that_nobody_knows() {
    let fixture = Fixture::new();
    let (kek, custodian) = SwitchedCustodian::over(fixture.kek());
    let mut bench = Bench::with(&fixture, kek, Terms::default());
    bench.ask(Order::Rotate);
    bench.ask(Order::Archive(1));
    let kid = bench.driver.kid(0, 1).unwrap();
    for (state, verdict) in [
        (CustodianState::Refuses, Verdict::Unloadable),
        (CustodianState::Works, Verdict::Loaded),
    ] {
        bench.driver.shared(|shared| shared.loaded.forget(kid));
        custodian.set(state);
        let mut told = ask(&mut bench, kid, Duration::ZERO);
        assert_eq!(told.try_recv(), Ok(verdict));
    }
}
