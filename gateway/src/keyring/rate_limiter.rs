//! A rate limiter: a burst, then a steady rate.

use std::time::{Duration, Instant};

/// A rate limiter by the generic cell rate algorithm (ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    /// The emission interval.
    each: Duration,
    /// The burst, as time.
    most: Duration,
    /// The theoretical arrival time.
    spent: Option<Instant>,
}

impl RateLimiter {
    /// A burst of `most`, and one more for every `each` that has passed.
    #[must_use]
    pub const fn new(most: u32, each: Duration) -> Self {
        Self {
            each,
            most: each.saturating_mul(most),
            spent: None,
        }
    }

    /// Takes one; false if there is none now.
    #[must_use]
    pub fn take(&mut self, now: Instant) -> bool {
        let may = self.has(now);
        if may {
            self.spent = self
                .spent
                .map_or(now, |spent| spent.max(now))
                .checked_add(self.each);
        }
        may
    }

    /// Whether there is one now.
    #[must_use]
    pub fn has(&self, now: Instant) -> bool {
        self.ahead(now).saturating_add(self.each) <= self.most
    }

    /// The used part of the burst, as time; 0 when all of it is available.
    #[must_use]
    pub fn ahead(&self, now: Instant) -> Duration {
        let spent = self.spent.unwrap_or(now);
        spent.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn allowance_that_is_used_up_grows_again_one_by_one() {
        let each = Duration::from_millis(100);
        let mut limiter = RateLimiter::new(3, each);
        let start = Clock::system().instant();
        let taken = |limiter: &mut RateLimiter, now| (0..9).filter(|_| limiter.take(now)).count();
        assert_eq!(taken(&mut limiter, start), 3);
        assert_eq!(taken(&mut limiter, start + each / 2), 0);
        assert_eq!(taken(&mut limiter, start + each), 1);
        assert_eq!(limiter.ahead(start + each), 3 * each);
        assert_eq!(taken(&mut limiter, start + 100 * each), 3);
    }
}
