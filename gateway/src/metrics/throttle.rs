//! Rate limit of log lines: one per second and cause, with a count of the suppressed ones.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// The minimum time between two lines of a cause.
const SILENCE: Duration = Duration::from_secs(1);

/// The rate limit of one cause.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    /// Admits the first line.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State {
            last: None,
            left_out: 0,
        }))
    }

    /// The number of lines suppressed since the last one, when a line may be written now.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < SILENCE)
        {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }

    /// The number of suppressed lines, if a second has passed since the last line and none has followed.
    pub fn overdue(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = state
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < SILENCE);
        if silent || state.left_out == 0 {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn second_line_within_a_second_is_left_out_and_counted() {
        let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH);
        let throttle = Throttle::new();
        assert_eq!(throttle.admit(clock.instant()), Some(0));
        assert_eq!(throttle.admit(clock.instant()), None);
        assert_eq!(throttle.admit(clock.instant()), None);
        manual_clock.advance(SILENCE);
        assert_eq!(throttle.admit(clock.instant()), Some(2));
    }

    #[test]
    fn lines_left_out_are_overdue_once_the_second_is_over() {
        let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH);
        let throttle = Throttle::new();
        throttle.admit(clock.instant());
        throttle.admit(clock.instant());
        assert_eq!(throttle.overdue(clock.instant()), None);
        manual_clock.advance(SILENCE);
        assert_eq!(throttle.overdue(clock.instant()), Some(1));
        assert_eq!(throttle.overdue(clock.instant()), None);
    }
}
