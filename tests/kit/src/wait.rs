//! Waits for a condition, never for a time.

use std::time::{Duration, Instant};

/// The longest wait. Generous: it is reached only when something is broken, and a busy disk may hold up a process for half of it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls `probe` until it yields a value; `None` after [`DEADLINE`].
pub fn until<T>(mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = probe();
        if found.is_some() || begun.elapsed() > DEADLINE {
            return found;
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
}
