//! The gateway's budgets under every order of their memory accesses that the language allows, as loom enumerates them.
//!
//! The files are those of the gateway, compiled over loom's atomics instead of the standard library's. Only what stands around
//! them is a model: the snapshot that is swapped (arc-swap knows no loom), and the watch that wakes who waits. Run by `make loom`.
#![cfg(all(loom, test))]

#[path = "../../src/keyring/budget.rs"]
mod budget;
#[path = "../../src/keyring/grant.rs"]
mod grant;
#[path = "../../src/keyring/pool.rs"]
mod pool;
#[path = "../../src/envelope/used.rs"]
mod used;

pub use budget::Budget;
pub use sync::Notify;
pub use used::Used;

mod tests;

mod sync {
    pub(super) use loom::sync::Arc;
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};

    /// Counts what tokio's would wake for.
    #[derive(Default)]
    pub struct Notify(AtomicU64);

    impl Notify {
        /// Never notified.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        /// Notified once more.
        pub fn notify_one(&self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }

        /// How often it was notified.
        pub fn count(&self) -> u64 {
            self.0.load(Ordering::Acquire)
        }
    }
}
