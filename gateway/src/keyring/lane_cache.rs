//! A connection's own cache of lanes: no lock, no hash, one comparison.
//!
//! Two-way set-associative by bits of the lane id, which is random. It starts empty, and doubles when three lanes in use map to
//! one set, up to [`MAX_PLACES`] places: a subscriber to one publisher holds four, a subscriber to many what it needs. Lanes end after
//! a minute and are not used again; in a full set, one of those is replaced.

use std::cell::Cell;
use std::sync::Arc;

use crate::envelope::{Header, Kid, LaneId, LaneKey};

use crate::policy::KeyringId;

use super::{Snapshot, Usage, WorkerId};

const MIN_PLACES: usize = 4;
/// For 256 lanes: with 256 places, six in ten of them map to a set of three or more lanes, which is looked up in the shared map
/// time and again; with four times as many places, one in eleven.
const MAX_PLACES: usize = 1024;
/// A lane is in use if it was looked up within the last `IN_USE` × places lookups.
const IN_USE: u64 = 16;

/// A connection's lane cache.
pub struct LaneCache {
    worker: WorkerId,
    places: Vec<Option<Place>>,
    generation: u64,
    /// Counts lookups.
    now: Cell<u64>,
}

struct Place {
    entry: Entry,
    /// The lookup that found it last.
    used: Cell<u64>,
}

/// A lane that has opened something on this connection.
pub(super) struct Entry {
    pub(super) kid: Kid,
    pub(super) lane: LaneId,
    pub(super) keyring: KeyringId,
    pub(super) key: Arc<LaneKey>,
    /// The version's; not the version itself, whose secret a cache must not keep alive.
    pub(super) usage: Usage,
}

impl LaneCache {
    /// An empty cache for a connection of `worker`.
    #[must_use]
    pub const fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            places: Vec::new(),
            generation: 0,
            now: Cell::new(0),
        }
    }

    /// Drops lanes of versions that are no longer in the snapshot. One comparison when nothing has changed.
    pub fn refresh(&mut self, snapshot: &Snapshot) {
        if self.generation == snapshot.generation() {
            return;
        }
        self.generation = snapshot.generation();
        let gone = |place: &Place| snapshot.by_kid(place.entry.kid).is_none();
        for place in self
            .places
            .iter_mut()
            .filter(|place| place.as_ref().is_some_and(gone))
        {
            *place = None;
        }
    }

    /// Counts an envelope that opened under no subject that it may have been sealed for.
    pub fn count_failed(&self, snapshot: &Snapshot, envelope: &[u8]) {
        let version = Header::parse(envelope)
            .ok()
            .and_then(|header| snapshot.by_kid(header.kid));
        if let Some(version) = version {
            version.usage.count_failed_open(self.worker);
        }
    }

    #[cfg(test)]
    pub(super) const fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) const fn worker(&self) -> WorkerId {
        self.worker
    }

    #[inline]
    pub(super) fn get(&self, kid: Kid, lane: LaneId) -> Option<&Entry> {
        let now = self.now.get().wrapping_add(1);
        self.now.set(now);
        let wanted = |place: &&Place| place.entry.lane == lane && place.entry.kid == kid;
        let place = place_of(lane, self.places.len());
        let at = |place: usize| {
            self.places
                .get(place)
                .and_then(Option::as_ref)
                .filter(wanted)
        };
        let found = at(place).or_else(|| at(place ^ 1))?;
        found.used.set(now);
        Some(&found.entry)
    }

    pub(super) fn put(&mut self, entry: Entry) {
        if self.places.is_empty() {
            self.places.resize_with(MIN_PLACES, || None);
        }
        let mut place = self.room_for(entry.lane);
        while place.is_none() && self.places.len() < MAX_PLACES {
            self.double();
            place = self.room_for(entry.lane);
        }
        let place = place.unwrap_or_else(|| place_of(entry.lane, self.places.len()));
        let used = Cell::new(self.now.get());
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some(Place { entry, used });
        }
    }

    /// A place of the lane's set that is free, its own, or held by a lane no longer in use.
    fn room_for(&self, lane: LaneId) -> Option<usize> {
        let place = place_of(lane, self.places.len());
        let size = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        let oldest = self.now.get().saturating_sub(size.saturating_mul(IN_USE));
        let ended = |there: &Place| there.used.get() < oldest;
        let has_room = |place: &usize| {
            self.places.get(*place).is_some_and(|slot| {
                slot.as_ref()
                    .is_none_or(|there| there.entry.lane == lane || ended(there))
            })
        };
        [place, place ^ 1].into_iter().find(has_room)
    }

    fn double(&mut self) {
        let size = self.places.len().saturating_mul(2);
        let old = std::mem::take(&mut self.places);
        self.places.resize_with(size, || None);
        for moved in old.into_iter().flatten() {
            let lane = moved.entry.lane;
            let place = self.room_for(lane).unwrap_or_else(|| place_of(lane, size));
            if let Some(slot) = self.places.get_mut(place) {
                *slot = Some(moved);
            }
        }
    }
}

/// `places` is zero or a power of two.
fn place_of(lane: LaneId, places: usize) -> usize {
    let [first, second, ..] = lane.0;
    usize::from(u16::from_le_bytes([first, second])) & places.saturating_sub(1)
}
