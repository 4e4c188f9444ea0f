//! The gateway's budgets under every order of memory accesses that the memory model allows, as loom enumerates them.
//!
//! The files are the gateway's own, compiled with loom's atomics instead of the standard library's. Only their surroundings are
//! modelled: the swapped snapshot (arc-swap does not support loom) and the notification that wakes waiters. Run by `make loom`.
#![cfg(all(loom, test))]

#[path = "../../src/keyring/budget.rs"]
mod budget;
#[path = "../../src/keyring/grant.rs"]
mod grant;
#[path = "../../src/keyring/pool.rs"]
mod pool;
#[path = "../../envelope/src/volume.rs"]
mod volume;

pub use budget::Budget;
pub use sync::Notify;
pub use volume::Volume;

mod tests;

mod sync {
    pub(super) use loom::sync::Arc;
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};

    /// Counts the notifications of tokio's `Notify`.
    #[derive(Default)]
    pub struct Notify(AtomicU64);

    impl Notify {
        /// Never notified.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        /// Counts one more notification.
        pub fn notify_one(&self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }

        /// How often it was notified.
        pub fn count(&self) -> u64 {
            self.0.load(Ordering::Acquire)
        }
    }
}
