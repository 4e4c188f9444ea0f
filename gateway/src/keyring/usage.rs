//! What has been sealed under a version by this process.
//!
//! One cache-padded slot per worker, written by that worker alone with plain loads and stores; a reader adds the slots up. No
//! message costs an atomic read-modify-write, and no worker touches another's cache line.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use super::WorkerId;

/// Counters of one version, a slot per worker.
pub struct Usage(Box<[CachePadded<Slot>]>);

#[derive(Default)]
struct Slot {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// Messages and plaintext bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Messages sealed.
    pub messages: u64,
    /// Plaintext bytes sealed.
    pub bytes: u64,
}

impl Usage {
    /// Counters for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self(
            (0..workers.max(1))
                .map(|_| CachePadded::default())
                .collect(),
        )
    }

    /// Adds what `worker` has sealed. Only that worker may call it.
    pub(super) fn add(&self, worker: WorkerId, used: Used) {
        if let Some(slot) = self.0.get(worker.0) {
            advance(&slot.messages, used.messages);
            advance(&slot.bytes, used.bytes);
        }
    }

    /// What all workers have sealed. May lag a batch behind.
    #[must_use]
    pub fn total(&self) -> Used {
        self.0.iter().fold(Used::default(), |sum, slot| Used {
            messages: sum
                .messages
                .saturating_add(slot.messages.load(Ordering::Relaxed)),
            bytes: sum.bytes.saturating_add(slot.bytes.load(Ordering::Relaxed)),
        })
    }
}

/// A single writer needs no read-modify-write.
fn advance(counter: &AtomicU64, by: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Relaxed,
    );
}
