//! A latency histogram of constant size, in nanoseconds.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use keyway::clock::Clock;

use crate::error::RunError;
use crate::report::float;

/// The highest value: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Latencies of many messages.
#[derive(Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self, RunError> {
        Histogram::new_with_bounds(1, LONGEST, 3)
            .map(Self)
            .map_err(|error| RunError::Limit(error.to_string()))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.record_nanos(u64::try_from(took.as_nanos()).unwrap_or(LONGEST));
    }

    /// Records a time; longer ones count as [`LONGEST`].
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }

    /// Adds all of the other's.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), RunError> {
        self.0
            .add(&other.0)
            .map_err(|error| RunError::Limit(error.to_string()))
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The quantile of `part` (0 to 1), in microseconds.
    pub(crate) fn micros(&self, part: f64) -> f64 {
        float(self.0.value_at_quantile(part)) / 1e3
    }

    /// The longest, in microseconds.
    pub(crate) fn longest(&self) -> f64 {
        float(self.0.max()) / 1e3
    }
}

pub(crate) fn now() -> Instant {
    Clock::system().instant()
}

pub(crate) fn nanos(begun: Instant) -> u64 {
    u64::try_from(now().duration_since(begun).as_nanos()).unwrap_or(u64::MAX)
}
