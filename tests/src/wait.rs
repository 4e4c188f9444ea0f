//! Waits for a condition, never for a time.

use std::time::{Duration, Instant};

/// After this a test that waits fails. Generous: it is reached only when something is broken, and a busy disk may hold up a
/// process for half of it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls `probe` until it yields a value; fails with `what` after [`DEADLINE`].
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::park_timeout(POLL_INTERVAL);
    }
}
