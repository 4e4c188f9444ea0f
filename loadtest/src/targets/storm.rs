//! Constant rotation by an operator.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Gateway;
use crate::error::RunError;
use crate::load::now;

/// Runs `play` while `gateway` is rotated at the interval `every`.
pub(crate) fn storm<T>(
    gateway: &Gateway,
    every: Duration,
    play: impl FnOnce() -> Result<T, RunError>,
) -> Result<T, RunError> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let operator = scope.spawn(|| operate(gateway, every, &over));
        let played = play();
        over.store(true, Ordering::Release);
        operator.thread().unpark();
        let operated = operator
            .join()
            .unwrap_or_else(|_panic| Err(RunError::Limit("the operator panicked".to_owned())));
        operated.and(played)
    })
}

fn operate(gateway: &Gateway, every: Duration, over: &AtomicBool) -> Result<(), RunError> {
    let mut due = now();
    while !over.load(Ordering::Acquire) {
        if now() < due {
            std::thread::park_timeout(due.duration_since(now()));
            continue;
        }
        gateway.rotate()?;
        due = now().max(due + every);
    }
    Ok(())
}
