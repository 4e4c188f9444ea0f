//! How often something may be done: so many times at once, and then once in a while.

use std::time::{Duration, Instant};

/// A number of times that grows again as time goes by (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// What one time costs.
    each: Duration,
    /// What may be spent ahead of time.
    most: Duration,
    /// Up to when it is spent.
    spent: Option<Instant>,
}

impl Allowance {
    /// `most` times at once; one more for every `each` that has passed.
    #[must_use]
    pub const fn new(most: u32, each: Duration) -> Self {
        Self {
            each,
            most: each.saturating_mul(most),
            spent: None,
        }
    }

    /// Takes one. False: there is none now.
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

    /// Whether there is one.
    #[must_use]
    pub fn has(&self, now: Instant) -> bool {
        self.ahead(now).saturating_add(self.each) <= self.most
    }

    /// How much has been taken and has not grown again.
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
        let mut allowance = Allowance::new(3, each);
        let start = Clock::system().instant();
        let taken = |allowance: &mut Allowance, now| (0..9).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(&mut allowance, start), 3);
        assert_eq!(taken(&mut allowance, start + each / 2), 0);
        assert_eq!(taken(&mut allowance, start + each), 1);
        assert_eq!(allowance.ahead(start + each), 3 * each);
        assert_eq!(taken(&mut allowance, start + 100 * each), 3);
    }
}
