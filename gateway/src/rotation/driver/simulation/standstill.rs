//! Whatever keeps a keyring's publishes waiting is reported at the next tick, and so is its end.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::regressions::Bench;
use super::world::Home;
use crate::custody::{Custodian, Description, UnwrapFailed, WrapFailed, Wrapped};
use crate::disk::testing::Trouble;
use crate::envelope::{Binding, OVERHEAD};
use crate::keyring::{Lanes, SealRefused, WorkerId};
use crate::rotation::Terms;
use crate::rotation::engine::Order;
use crate::rotation::report::Stopped;
use crate::secret::Secret;

/// A custodian that can be made unavailable.
pub(super) struct Absent {
    kek: Arc<dyn Custodian>,
    away: Arc<AtomicBool>,
}

impl Absent {
    /// Unavailable while the flag is set.
    pub(super) fn new(home: &Home) -> (Arc<Self>, Arc<AtomicBool>) {
        let away = Arc::new(AtomicBool::new(false));
        let custodian = Self {
            kek: home.kek(),
            away: Arc::clone(&away),
        };
        (Arc::new(custodian), away)
    }
}

impl Custodian for Absent {
    fn wrap(&self, secret: &Secret, context: &[u8]) -> Result<Wrapped, WrapFailed> {
        if self.away.load(Ordering::Relaxed) {
            return Err(WrapFailed::Cipher);
        }
        self.kek.wrap(secret, context)
    }

    fn unwrap(&self, wrapped: &Wrapped, context: &[u8]) -> Result<Secret, UnwrapFailed> {
        if self.away.load(Ordering::Relaxed) {
            return Err(UnwrapFailed::Damaged);
        }
        self.kek.unwrap(wrapped, context)
    }

    fn describe(&self) -> Description {
        self.kek.describe()
    }
}

/// A gateway whose custodian can be unavailable, with a worker that seals.
struct Stage {
    bench: Bench,
    away: Arc<AtomicBool>,
    lanes: Lanes,
}

impl Stage {
    fn new(home: &Home) -> Self {
        let (custodian, away) = Absent::new(home);
        let bench = Bench::with(home, custodian, terms(20_000));
        let lanes = Lanes::new(WorkerId(0), bench.driver.clock.instant());
        Self { bench, away, lanes }
    }

    /// Seals until that is refused.
    fn exhaust(&mut self) -> SealRefused {
        let snapshot = Arc::clone(&self.bench.driver.keys().load());
        self.lanes
            .begin(&snapshot, self.bench.driver.clock.instant());
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
    fn told(&mut self) -> Option<Stopped> {
        self.bench.driver.tick();
        let status = self.bench.driver.status_of(0).unwrap();
        assert_eq!(status.stopped.is_some(), status.standstill().is_some());
        assert_eq!(self.bench.driver.rings[0].stopped, status.stopped);
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
fn bring_about(stopped: Stopped, stage: &mut Stage) {
    let away = |stage: &Stage| stage.away.store(true, Ordering::Relaxed);
    match stopped {
        Stopped::NoVersion => {
            away(stage);
            stage.bench.ask(Order::Compromise(1));
        }
        Stopped::Halted => {
            stage.bench.disk.arm(0, Trouble::Error(ErrorKind::Other));
            stage.bench.ask(Order::Suspend(1));
        }
        Stopped::NotLoaded => {
            away(stage);
            stage.bench.reload(">", terms(10));
        }
        Stopped::UsedUp => {
            stage.bench.reload(">", terms(10));
            away(stage);
            stage.bench.driver.quench();
            assert_eq!(stage.exhaust(), SealRefused::BudgetExhausted);
            stage.bench.driver.quench();
        }
        Stopped::NotReserved => {
            stage.bench.disk.capacity(Some(stage.bench.disk.used()));
            assert_eq!(stage.exhaust(), SealRefused::BudgetExhausted);
            stage.bench.driver.quench();
        }
    }
}

#[test]
fn every_standstill_is_told_by_the_next_look_and_so_is_its_end() {
    let home = Home::new();
    for stopped in Stopped::ALL {
        let mut stage = Stage::new(&home);
        assert_eq!(stage.told(), None);
        bring_about(stopped, &mut stage);
        assert_eq!(stage.told(), Some(stopped));
        assert!(stage.exhaust() != SealRefused::SubjectTooLong);
        stage.bench.disk.capacity(None);
        stage.away.store(false, Ordering::Relaxed);
        for _ in 0..3 {
            stage.bench.winder.advance(Duration::from_mins(1));
            stage.told();
        }
        assert_eq!(stage.told(), None, "{stopped:?} is over");
    }
}
