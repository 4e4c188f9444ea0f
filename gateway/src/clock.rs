//! Time as an argument: the system's, or set manually in tests.
//!
//! Everything that decides by time takes a [`Clock`]. Nothing else in the crate may ask the system for the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::SignedDuration;
use rustix::time::{ClockId, clock_gettime};

/// A source of monotonic and wall-clock time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<ManualTime>>>);

/// The time of a manual clock.
#[derive(Debug)]
struct ManualTime {
    instant: Instant,
    wall: SystemTime,
    uptime: Duration,
    boot: u32,
}

/// A deviation of the wall clock from elapsed time that counts as a step; time servers cause smaller ones all the time.
pub const STEP: Duration = Duration::from_secs(1);

/// Two readings further apart cannot be compared: the process was stopped between them.
const MAX_READ_GAP: Duration = Duration::from_millis(100);

/// The initial uptime of a manual clock.
const FIRST_UPTIME: Duration = Duration::from_hours(1);

/// Detects steps of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct StepDetector {
    wall: SystemTime,
    uptime: Duration,
}

/// Sets the time of a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<ManualTime>>);

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `wall` until its [`ManualClock`] moves it.
    #[must_use]
    pub fn manual(wall: SystemTime) -> (Self, ManualClock) {
        let hand = Arc::new(Mutex::new(ManualTime {
            instant: system_instant(),
            wall,
            uptime: FIRST_UPTIME,
            boot: 0,
        }));
        (Self(Some(Arc::clone(&hand))), ManualClock(hand))
    }

    /// Monotonic time.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.0
            .as_ref()
            .map_or_else(system_instant, |hand| lock(hand).instant)
    }

    /// Wall-clock time: for labels, records and logs, never for a safety decision.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.0
            .as_ref()
            .map_or_else(system_wall, |hand| lock(hand).wall)
    }

    /// Time since the host booted, sleep included (`CLOCK_BOOTTIME`). It cannot be set, and all processes share it.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0
            .as_ref()
            .map_or_else(system_uptime, |hand| lock(hand).uptime)
    }

    /// Identifies the boot that the uptime counts from; `None` if unknown.
    #[must_use]
    pub fn boot(&self) -> Option<String> {
        match &self.0 {
            Some(hand) => Some(lock(hand).boot.to_string()),
            None => system_boot(),
        }
    }
}

impl StepDetector {
    /// Starts from the present time.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self {
            wall: clock.wall(),
            uptime: clock.uptime(),
        }
    }

    /// The step of the wall clock since the last call; `None`: there was none, or the clocks cannot be compared now.
    pub fn look(&mut self, clock: &Clock) -> Option<SignedDuration> {
        let now = Self::new(clock);
        if clock.uptime().saturating_sub(now.uptime) > MAX_READ_GAP {
            return None;
        }
        let passed = now.uptime.saturating_sub(self.uptime);
        let expected = self.wall.checked_add(passed);
        *self = now;
        let step = SignedDuration::system_until(expected?, now.wall).ok()?;
        (step.unsigned_abs() >= STEP).then_some(step)
    }
}

impl ManualClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut hand = lock(&self.0);
        if let (Some(instant), Some(wall)) =
            (hand.instant.checked_add(by), hand.wall.checked_add(by))
        {
            hand.instant = instant;
            hand.wall = wall;
            hand.uptime = hand.uptime.saturating_add(by);
        }
    }

    /// Simulates a reboot: the uptime starts at 0, and the wall clock goes on.
    pub fn reboot(&self) {
        let mut hand = lock(&self.0);
        hand.boot = hand.boot.wrapping_add(1);
        hand.uptime = Duration::ZERO;
    }

    /// Sets the wall clock alone, as a time server or a person would.
    pub fn set_wall(&self, wall: SystemTime) {
        lock(&self.0).wall = wall;
    }
}

fn lock(hand: &Mutex<ManualTime>) -> std::sync::MutexGuard<'_, ManualTime> {
    hand.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the system"
)]
fn system_instant() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the system"
)]
fn system_wall() -> SystemTime {
    SystemTime::now()
}

/// Zero where the kernel's clock is out of range.
fn system_uptime() -> Duration {
    let passed = clock_gettime(ClockId::Boottime);
    Duration::try_from(passed).unwrap_or_default()
}

/// The kernel's boot id and this process's time namespace, in which uptime has an offset (`time_namespaces(7)`).
fn system_boot() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    Some(
        format!("{} {}", boot.trim_end(), space.display())
            .trim_end()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_driven_clock_moves_only_when_wound() {
        let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH);
        let before = clock.instant();
        assert_eq!(clock.instant(), before);
        manual_clock.advance(Duration::from_secs(5));
        assert_eq!(clock.instant() - before, Duration::from_secs(5));
        assert_eq!(
            clock.wall(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(5)
        );
    }
    #[test]
    fn wall_clock_that_is_set_is_noticed_once_with_its_size_and_time_that_passes_is_not() {
        let (clock, manual_clock) =
            Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_hours(48));
        let mut steps = StepDetector::new(&clock);
        manual_clock.advance(Duration::from_hours(2));
        assert_eq!(steps.look(&clock), None);
        for hours in [24, -25] {
            let by = SignedDuration::from_hours(hours);
            let wall = clock.wall();
            manual_clock.set_wall(if hours > 0 {
                wall + by.unsigned_abs()
            } else {
                wall - by.unsigned_abs()
            });
            manual_clock.advance(Duration::from_secs(9));
            assert_eq!(steps.look(&clock), Some(by));
            assert_eq!(steps.look(&clock), None);
        }
    }

    #[test]
    fn system_s_uptime_grows_and_its_boot_has_a_name() {
        let clock = Clock::system();
        let before = clock.uptime();
        assert!(before > Duration::ZERO && clock.uptime() >= before);
        assert_eq!(clock.boot(), clock.boot());
        assert!(clock.boot().is_some());
    }
}
