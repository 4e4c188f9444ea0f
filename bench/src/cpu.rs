//! The clock of all benches.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds for which this thread was on a core: nothing in a bench waits, and what else the machine does is not ours.
#[must_use]
pub fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap()
}
