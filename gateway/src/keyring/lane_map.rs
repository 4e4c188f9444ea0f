//! The lane keys of one version, shared by all connections: those that have opened something, and those drawn here ahead of use.
//!
//! Others' lanes are admitted only after a message under them has authenticated, so that forged lane ids cost one derivation each
//! and no memory. The map is dropped with its version.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::envelope::{LaneId, LaneKey};

/// The most lanes kept for a version; one more replaces another. A lane lives 60 s at most: enough for several hundred writers
/// over ten minutes, at about 1 KiB each.
pub const LANES_PER_VERSION: usize = 8192;

/// A bounded concurrent map from lane id to lane key.
pub struct LaneMap {
    lanes: DashMap<LaneId, Arc<LaneKey>, foldhash::fast::RandomState>,
    held: AtomicUsize,
    capacity: usize,
}

impl Default for LaneMap {
    fn default() -> Self {
        Self::with_capacity(LANES_PER_VERSION)
    }
}

impl LaneMap {
    /// An empty map that keeps at most `capacity` lanes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            lanes: DashMap::default(),
            held: AtomicUsize::new(0),
            capacity: capacity.max(1),
        }
    }

    /// The lane's key, if it is kept.
    #[must_use]
    pub fn get(&self, lane: LaneId) -> Option<Arc<LaneKey>> {
        self.lanes.get(&lane).map(|entry| Arc::clone(entry.value()))
    }

    /// Adds a lane under which a message has authenticated, or that was drawn here.
    pub fn admit(&self, lane: LaneId, key: Arc<LaneKey>) {
        if self.held.load(Ordering::Relaxed) >= self.capacity {
            self.evict_one(lane);
        }
        if self.lanes.insert(lane, key).is_none() {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lanes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether no lane is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Evicts any other lane: one that is still needed is derived again in a microsecond.
    fn evict_one(&self, keep: LaneId) {
        let victim = self
            .lanes
            .iter()
            .map(|entry| *entry.key())
            .find(|id| *id != keep);
        if victim.is_some_and(|victim| self.lanes.remove(&victim).is_some()) {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
