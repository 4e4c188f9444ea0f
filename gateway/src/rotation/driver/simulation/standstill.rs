//! Whatever keeps a keyring's publishes waiting is reported at the next tick, and so is its end.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use strum::VariantArray as _;

use super::environment::Fixture;
use super::regressions::Bench;
use crate::disk::testing::DiskFault;
use crate::envelope::{Binding, OVERHEAD};
use crate::keyring::{Lanes, SealRefused, WorkerId};
use crate::rotation::Terms;
use crate::rotation::driver::testing::{CustodianState, CustodianSwitch, SwitchedCustodian};
use crate::rotation::engine::Order;
use crate::rotation::report::PublishStall;

/// A gateway whose custodian can be unavailable, with a worker that seals.
struct StandstillBench {
    bench: Bench,
    custodian: CustodianSwitch,
    lanes: Lanes,
}

impl StandstillBench {
    fn new(fixture: &Fixture) -> Self {
        let (kek, custodian) = SwitchedCustodian::over(fixture.kek());
        let bench = Bench::with(fixture, kek, terms(20_000));
        let lanes = Lanes::new(
            WorkerId(0),
            bench.driver.shared(|shared| shared.clock.instant()),
        );
        Self {
            bench,
            custodian,
            lanes,
        }
    }

    /// Seals until that is refused.
    fn seal_until_refused(&mut self) -> SealRefused {
        let snapshot = Arc::clone(&self.bench.driver.keys().load());
        self.lanes.begin(
            &snapshot,
            self.bench.driver.shared(|shared| shared.clock.instant()),
        );
        let keyring = snapshot.policy().by_name("default").unwrap();
        let mut out = [0; 1 + OVERHEAD];
        loop {
            let binding = Binding::to(Some(b"a.b"));
            let sealed = self
                .lanes
                .seal(&snapshot, keyring, binding, (b"x", &mut out));
            if let Err(refused) = sealed {
                self.lanes.report();
                return refused;
            }
        }
    }

    /// The reported standstill after a tick, which must also be the announced one.
    fn reported(&mut self) -> Option<PublishStall> {
        self.bench.driver.tick();
        self.bench.driver.advance();
        let status = self.bench.driver.status(0);
        assert_eq!(status.stopped.is_some(), status.standstill().is_some());
        assert_eq!(
            self.bench
                .driver
                .keyring(0, |keyring, _shared| keyring.stopped),
            status.stopped
        );
        status.stopped
    }
}

fn terms(limit: u64) -> Terms {
    let mut terms = Terms::default();
    terms.limit.messages = limit;
    terms.rotate.messages = limit - 1;
    terms
}

/// Causes the standstill.
fn cause(stopped: PublishStall, setup: &mut StandstillBench) {
    let away = |setup: &StandstillBench| setup.custodian.set(CustodianState::Refuses);
    match stopped {
        PublishStall::NoVersion => {
            away(setup);
            setup.bench.ask(Order::Compromise(1));
        }
        PublishStall::Halted => {
            setup.bench.disk.arm(0, DiskFault::Error(ErrorKind::Other));
            setup.bench.ask(Order::Suspend(1));
        }
        PublishStall::NotLoaded => {
            away(setup);
            setup.bench.reload(">", terms(10));
        }
        PublishStall::UsedUp => {
            setup.bench.reload(">", terms(10));
            away(setup);
            setup.bench.driver.refill();
            setup.bench.driver.advance();
            assert_eq!(setup.seal_until_refused(), SealRefused::BudgetExhausted);
            setup.bench.driver.refill();
            setup.bench.driver.advance();
        }
        PublishStall::NotReserved => {
            setup.bench.disk.capacity(Some(setup.bench.disk.used()));
            assert_eq!(setup.seal_until_refused(), SealRefused::BudgetExhausted);
            setup.bench.driver.refill();
            setup.bench.driver.advance();
        }
    }
}

#[test]
fn every_standstill_is_told_by_the_next_look_and_so_is_its_end() {
    let fixture = Fixture::new();
    for &stopped in PublishStall::VARIANTS {
        let mut setup = StandstillBench::new(&fixture);
        assert_eq!(setup.reported(), None);
        cause(stopped, &mut setup);
        assert_eq!(setup.reported(), Some(stopped));
        assert!(setup.seal_until_refused() != SealRefused::SubjectTooLong);
        setup.bench.disk.capacity(None);
        setup.custodian.set(CustodianState::Works);
        for _ in 0..3 {
            setup.bench.manual_clock.advance(Duration::from_mins(1));
            setup.reported();
        }
        assert_eq!(setup.reported(), None, "{stopped:?} is over");
    }
}
