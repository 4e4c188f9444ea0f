//! A custodian that does not answer keeps nothing waiting but what it was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::environment::Fixture;
use super::regressions::Bench;
use super::simulated_run::operator;
use crate::catalogue::State;
use crate::custodian::{Custodian, Description, UnwrapFailed, WrapFailed, Wrapped};
use crate::later::Later;
use crate::rotation::Terms;
use crate::rotation::driver::Driver;
use crate::rotation::engine::Order;
use crate::secret::Secret;

/// A custodian whose answers never come while it is silent.
struct SilentCustodian {
    kek: Arc<dyn Custodian>,
    silent: Arc<AtomicBool>,
}

impl SilentCustodian {
    fn new(fixture: &Fixture) -> (Arc<Self>, Arc<AtomicBool>) {
        let silent = Arc::<AtomicBool>::default();
        let custodian = Self {
            kek: fixture.kek(),
            silent: Arc::clone(&silent),
        };
        (Arc::new(custodian), silent)
    }

    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}

impl Custodian for SilentCustodian {
    fn wrap<'a>(
        &'a self,
        secret: &'a Secret,
        context: &'a [u8],
    ) -> Later<'a, Result<Wrapped, WrapFailed>> {
        if self.is_silent() {
            return Box::pin(std::future::pending());
        }
        self.kek.wrap(secret, context)
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a [u8],
    ) -> Later<'a, Result<Secret, UnwrapFailed>> {
        if self.is_silent() {
            return Box::pin(std::future::pending());
        }
        self.kek.unwrap(wrapped, context)
    }

    fn describe(&self) -> Description {
        self.kek.describe()
    }
}

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
fn begin_stuck_rotation(bench: &mut Bench, silent: &AtomicBool) {
    silent.store(true, Ordering::Relaxed);
    bench.manual_clock.advance(Duration::from_secs(1));
    let (answer, mut told) = oneshot::channel();
    bench.driver.rotate("default", operator(), answer);
    bench.driver.advance();
    assert!(told.try_recv().is_err(), "it is under way");
}

#[test]
fn budget_is_extended_while_the_secret_of_a_successor_is_being_wrapped() {
    let fixture = Fixture::new();
    let (custodian, silent) = SilentCustodian::new(&fixture);
    let mut bench = Bench::with(&fixture, custodian, terms());
    begin_stuck_rotation(&mut bench, &silent);
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
        let (custodian, silent) = SilentCustodian::new(&fixture);
        let mut bench = Bench::with(&fixture, custodian, terms());
        begin_stuck_rotation(&mut bench, &silent);
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
