//! Criterion's measurements in the CPU time of this thread.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use keyway_bench::cpu;

/// Nanoseconds for which this thread was on a core.
pub(crate) struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        cpu::nanoseconds()
    }

    fn end(&self, begun: u64) -> u64 {
        self.start() - begun
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 nanoseconds are a hundred days"
    )]
    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
