//! Waits for a condition, never for a time.

/// After this a test that waits fails.
pub use keyway_test_kit::DEADLINE;

/// Polls `probe` until it yields a value; fails with `what` after [`DEADLINE`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    keyway_test_kit::until(probe).unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}
