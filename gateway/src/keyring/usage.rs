//! Counters of what this process has sealed and opened under a version.
//!
//! One cache-padded slot per worker, written by that worker alone with plain loads and stores; a reader sums the slots. No
//! message costs an atomic read-modify-write, and no worker touches another's cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::envelope::Volume;

/// A worker's index, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(pub usize);

/// Counters of one version, a slot per worker; clones share them.
#[derive(Clone)]
pub struct Usage(Arc<[CachePadded<Slot>]>);

#[derive(Default)]
struct Slot {
    messages: AtomicU64,
    bytes: AtomicU64,
    lanes: AtomicU64,
    opened: AtomicU64,
    failed_opens: AtomicU64,
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

    /// What all workers have sealed; may lag by a batch.
    #[must_use]
    pub fn total(&self) -> Volume {
        Volume {
            messages: self.sum(|slot| &slot.messages),
            bytes: self.sum(|slot| &slot.bytes),
        }
    }

    /// Lanes drawn.
    #[must_use]
    pub fn lanes(&self) -> u64 {
        self.sum(|slot| &slot.lanes)
    }

    /// Envelopes opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.sum(|slot| &slot.opened)
    }

    /// Envelopes that named the version and authenticated for none of their possible subjects.
    #[must_use]
    pub fn failed_opens(&self) -> u64 {
        self.sum(|slot| &slot.failed_opens)
    }

    /// Adds what `worker` has sealed. These methods may be called by that worker only.
    pub(super) fn count_sealed(&self, worker: WorkerId, used: Volume) {
        if let Some(slot) = self.0.get(worker.0) {
            advance(&slot.messages, used.messages);
            advance(&slot.bytes, used.bytes);
        }
    }

    pub(super) fn count_lane(&self, worker: WorkerId) {
        if let Some(slot) = self.0.get(worker.0) {
            advance(&slot.lanes, 1);
        }
    }

    pub(super) fn count_opened(&self, worker: WorkerId) {
        if let Some(slot) = self.0.get(worker.0) {
            advance(&slot.opened, 1);
        }
    }

    pub(super) fn count_failed_open(&self, worker: WorkerId) {
        if let Some(slot) = self.0.get(worker.0) {
            advance(&slot.failed_opens, 1);
        }
    }

    fn sum(&self, counter: impl Fn(&Slot) -> &AtomicU64) -> u64 {
        self.0.iter().fold(0, |sum, slot| {
            sum.saturating_add(counter(slot).load(Ordering::Relaxed))
        })
    }
}

/// There is a single writer, so no read-modify-write is needed.
fn advance(counter: &AtomicU64, by: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Relaxed,
    );
}
