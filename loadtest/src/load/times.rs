//! How long things took: nanoseconds in a histogram of constant size.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use keyway::clock::Clock;

use crate::failed::Failed;
use crate::report::float;

/// What is told apart: up to a minute, with three digits.
const LONGEST: u64 = 60_000_000_000;

/// Times of many messages.
#[derive(Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self, Failed> {
        Histogram::new_with_bounds(1, LONGEST, 3)
            .map(Self)
            .map_err(|error| Failed::Limit(error.to_string()))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.record_nanos(u64::try_from(took.as_nanos()).unwrap_or(LONGEST));
    }

    /// What is longer than the longest counts as that.
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }

    /// Takes in all of the other's.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failed> {
        self.0
            .add(&other.0)
            .map_err(|error| Failed::Limit(error.to_string()))
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The time that this part of all, 0 to 1, did not exceed; microseconds.
    pub(crate) fn micros(&self, part: f64) -> f64 {
        float(self.0.value_at_quantile(part)) / 1e3
    }

    /// The longest, in microseconds.
    pub(crate) fn longest(&self) -> f64 {
        float(self.0.max()) / 1e3
    }
}

/// The time.
pub(crate) fn now() -> Instant {
    Clock::system().instant()
}

/// Nanoseconds since then.
pub(crate) fn nanos(begun: Instant) -> u64 {
    u64::try_from(now().duration_since(begun).as_nanos()).unwrap_or(u64::MAX)
}
