//! Time as an argument: real, and driven by hand in tests.
//!
//! Everything that decides by time takes a [`Clock`]. Nothing else in the crate may ask the system for the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A source of monotonic and wall-clock time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Hand>>>);

/// What a hand-driven clock shows.
#[derive(Debug)]
struct Hand {
    instant: Instant,
    wall: SystemTime,
}

/// Turns a hand-driven [`Clock`].
#[derive(Clone, Debug)]
pub struct Winder(Arc<Mutex<Hand>>);

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `wall` until its [`Winder`] turns it.
    #[must_use]
    pub fn by_hand(wall: SystemTime) -> (Self, Winder) {
        let hand = Arc::new(Mutex::new(Hand {
            instant: system_instant(),
            wall,
        }));
        (Self(Some(Arc::clone(&hand))), Winder(hand))
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
}

impl Winder {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut hand = lock(&self.0);
        if let (Some(instant), Some(wall)) =
            (hand.instant.checked_add(by), hand.wall.checked_add(by))
        {
            hand.instant = instant;
            hand.wall = wall;
        }
    }

    /// Sets the wall clock alone, as a time server or a person would.
    pub fn set_wall(&self, wall: SystemTime) {
        lock(&self.0).wall = wall;
    }
}

fn lock(hand: &Mutex<Hand>) -> std::sync::MutexGuard<'_, Hand> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_driven_clock_moves_only_when_wound() {
        let (clock, winder) = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let before = clock.instant();
        assert_eq!(clock.instant(), before);
        winder.advance(Duration::from_secs(5));
        assert_eq!(clock.instant() - before, Duration::from_secs(5));
        assert_eq!(
            clock.wall(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(5)
        );
    }
}
