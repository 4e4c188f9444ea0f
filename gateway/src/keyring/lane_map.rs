//! The lanes of one version under which something has been opened, or that were drawn here ahead of use; shared by all connections.
//!
//! Another's lane is admitted only after a message under it has authenticated, so that made-up lane ids cost one derivation each and no
//! memory. The map belongs to its version: when the version goes, its lanes go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::envelope::{LaneId, LaneKey};

/// How many lanes of a version are kept; one more replaces some other. A lane lives 60 s at most, so this is enough for some
/// hundred writers during an overlap of ten minutes, at about 1 KiB each.
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

    /// Keeps a lane under which a message has authenticated, or that was drawn here.
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

    /// Any other lane will do: ids are random, and one that is still needed is derived again in a microsecond.
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
