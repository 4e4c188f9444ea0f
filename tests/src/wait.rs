//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take before the test that waits for it fails. Generous: it is reached only when something is broken, and a
/// disk that others keep busy may hold up a process for half of it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition that cannot wake us is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until `probe` yields a value, and fails with `what` after [`DEADLINE`].
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
        std::thread::park_timeout(LOOK);
    }
}
