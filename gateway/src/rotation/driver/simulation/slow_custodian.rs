//! A custodian that does not answer keeps nothing waiting but what it was asked for.

use std::time::Duration;

use tokio::sync::oneshot;

use super::environment::Fixture;
use super::regressions::Bench;
use super::simulated_run::operator;
use crate::catalogue::State;
use crate::rotation::Terms;
use crate::rotation::driver::Driver;
use crate::rotation::driver::testing::{CustodianState, CustodianSwitch, SwitchedCustodian};
use crate::rotation::engine::Order;

fn terms() -> Terms {
    let mut terms = Terms::default();
    terms.limit.messages = 100_000;
    terms.rotate.messages = 90_000;
    terms
}

fn reserved(driver: &Driver) -> u64 {
    let record = driver.record(0).unwrap();
    record.active().unwrap().reserved.messages
}

fn seals(driver: &Driver) -> bool {
    driver.keys().load().sealing().count() != 0
}

/// Begins a rotation whose secret is never wrapped.
fn begin_stuck_rotation(bench: &mut Bench, custodian: &CustodianSwitch) {
    custodian.set(CustodianState::IsSilent);
    bench.manual_clock.advance(Duration::from_secs(1));
    let (answer, mut told) = oneshot::channel();
    bench.driver.rotate("default", operator(), answer);
    bench.driver.advance();
    assert!(told.try_recv().is_err(), "it is under way");
}

#[test]
fn budget_is_extended_while_the_secret_of_a_successor_is_being_wrapped() {
    let fixture = Fixture::new();
    let (kek, custodian) = SwitchedCustodian::over(fixture.kek());
    let mut bench = Bench::with(&fixture, kek, terms());
    begin_stuck_rotation(&mut bench, &custodian);
    let before = reserved(&bench.driver);
    for _ in 0..10 {
        bench.seal(1000);
        bench.driver.refill();
        bench.driver.advance();
    }
    assert!(reserved(&bench.driver) >= before + 5000);
    assert!(seals(&bench.driver));
}

#[test]
fn revocation_stops_sealing_at_once_while_the_custodian_is_silent() {
    let fixture = Fixture::new();
    for order in [Order::Compromise(1), Order::Suspend(1)] {
        let (kek, custodian) = SwitchedCustodian::over(fixture.kek());
        let mut bench = Bench::with(&fixture, kek, terms());
        begin_stuck_rotation(&mut bench, &custodian);
        assert!(seals(&bench.driver));
        let (answer, mut told) = oneshot::channel();
        bench.driver.order("default", order, operator(), answer);
        assert!(!seals(&bench.driver), "{order:?}");
        bench.driver.advance();
        // It is written down once the rotation is through with the custodian.
        assert!(told.try_recv().is_err(), "{order:?}");
        assert_eq!(bench.state(1), State::Active);
    }
}
