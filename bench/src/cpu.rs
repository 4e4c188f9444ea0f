//! The clock of all benches.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread in nanoseconds: benches never wait, and other processes do not count.
#[must_use]
pub fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap()
}
