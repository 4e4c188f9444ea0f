//! A table by the hash of a subject, bounded in entries, in age and in bytes.
//!
//! It has two generations: when the young one is full or old enough it replaces the old one, which is forgotten. Keyed 64-bit
//! hashes make a long subject cost no more than a short one.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::memory::MemoryReservation;

/// How many entries a hash map of 2^14 slots holds: one more would double it.
pub(super) const FULL: usize = 14_336;

/// How many pending entries are carried from a generation that is forgotten to the next.
const CARRIED: usize = FULL / 4;

/// The hash of a subject.
pub(in crate::dataplane) type Hash = u64;

/// What is remembered of one subject.
pub(super) trait Entry {
    /// How long it is remembered at least.
    const LIFE: Duration;

    /// Whether it is worth keeping longer than others.
    fn is_pending(&self) -> bool {
        false
    }
}

/// Remembers at least the latest [`FULL`] entries, if the session's memory account has room for them, and at most twice as many;
/// each for at least `life`, and at most twice as long.
pub(super) struct Table<V> {
    life: Duration,
    reservation: Rc<MemoryReservation>,
    young: Generation<V>,
    old: Generation<V>,
    /// Whether an entry was forgotten.
    forgot: bool,
}

struct Generation<V> {
    entries: HashMap<Hash, V, foldhash::fast::RandomState>,
    since: Option<Instant>,
}

impl<V> Default for Generation<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            since: None,
        }
    }
}

impl<V> Generation<V> {
    /// Whether its first entry is older than `life`.
    fn is_older_than(&self, life: Duration, now: Instant) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= life)
    }

    /// What its map takes, in bytes: that of the standard library has a byte beside each slot, and an eighth of the slots free.
    fn bytes(&self) -> usize {
        bytes::<V>(self.entries.capacity())
    }
}

fn bytes<V>(capacity: usize) -> usize {
    let places = match capacity {
        0 => 0,
        1..4 => 4,
        4..8 => 8,
        more => more.saturating_mul(8).div_ceil(7).next_power_of_two(),
    };
    places.saturating_mul(size_of::<(Hash, V)>().saturating_add(1))
}

impl<V: Entry> Table<V> {
    pub(super) fn new(reservation: Rc<MemoryReservation>) -> Self {
        Self::with_life(V::LIFE, reservation)
    }

    pub(super) fn with_life(life: Duration, reservation: Rc<MemoryReservation>) -> Self {
        Self {
            life,
            reservation,
            young: Generation::default(),
            old: Generation::default(),
            forgot: false,
        }
    }

    /// The entry of a subject, whatever its age.
    pub(super) fn get_mut(&mut self, hash: Hash) -> Option<&mut V> {
        let young = self.young.entries.get_mut(&hash);
        young.or_else(|| self.old.entries.get_mut(&hash))
    }

    /// The entry of a subject, unless it has expired.
    pub(super) fn live(&self, hash: Hash, now: Instant) -> Option<&V> {
        let twice = self.life.saturating_mul(2);
        [&self.young, &self.old]
            .into_iter()
            .filter(|generation| !generation.is_older_than(twice, now))
            .find_map(|generation| generation.entries.get(&hash))
    }

    pub(super) fn remove(&mut self, hash: Hash) {
        self.young.entries.remove(&hash);
        self.old.entries.remove(&hash);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.young.entries.is_empty() && self.old.entries.is_empty()
    }

    /// Whether an entry was forgotten.
    pub(super) const fn has_forgotten(&self) -> bool {
        self.forgot
    }

    /// Inserts or renews an entry.
    pub(super) fn insert(&mut self, hash: Hash, entry: V, now: Instant) {
        self.old.entries.remove(&hash);
        if self.young.entries.contains_key(&hash) || self.make_room(now) {
            self.young.since.get_or_insert(now);
            self.young.entries.insert(hash, entry);
        } else {
            self.forgot = true;
        }
    }

    /// Makes room for one more young entry; `false` when the memory account has none at all.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.young.is_older_than(self.life, now) {
            self.give_back();
            self.next_generation(0);
        } else if self.young.entries.len() >= FULL {
            self.next_generation(CARRIED);
        }
        while self.young.entries.len() == self.young.entries.capacity() && !self.grow() {
            if self.young.entries.is_empty() && self.old.entries.capacity() == 0 {
                return false;
            }
            // Older entries of the same session make room.
            self.next_generation(0);
        }
        true
    }

    /// Doubles the young map, if the memory account has room for that.
    fn grow(&mut self) -> bool {
        let entries = &mut self.young.entries;
        let (now, next) = (entries.capacity(), entries.capacity().saturating_add(1));
        let more = bytes::<V>(next).saturating_sub(bytes::<V>(now));
        let grows = self.reservation.grow(more);
        if grows {
            entries.reserve(1);
        }
        grows
    }

    /// The young generation becomes the old one, which is forgotten, but for at most `carried` of its pending entries. The map of
    /// the old one is reused.
    fn next_generation(&mut self, carried: usize) {
        let mut map = std::mem::take(&mut self.old.entries);
        let held = map.len();
        let mut pending = Vec::new();
        for (hash, entry) in map.drain() {
            if pending.len() < carried && entry.is_pending() {
                pending.push((hash, entry));
            }
        }
        self.forgot |= pending.len() < held;
        self.old = std::mem::take(&mut self.young);
        let room = map.capacity();
        map.extend(pending.into_iter().take(room));
        self.young.entries = map;
    }

    /// Forgets the old generation and gives back its map.
    fn give_back(&mut self) {
        self.forgot |= !self.old.entries.is_empty();
        self.reservation.shrink(self.old.bytes());
        self.old = Generation::default();
    }

    /// What its maps take, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.young.bytes().saturating_add(self.old.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::memory::{MOST, MemoryPool};

    /// [`FULL`], as hashes are counted.
    const COUNT: Hash = 14_336;
    const LIFE: Duration = Duration::from_mins(30);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Kept(bool);

    impl Entry for Kept {
        const LIFE: Duration = LIFE;

        fn is_pending(&self) -> bool {
            self.0
        }
    }

    fn table(bytes: usize) -> (Table<Kept>, Instant) {
        let reservation = MemoryPool::new(bytes).open();
        (Table::new(reservation), Clock::system().instant())
    }

    #[test]
    fn entry_is_known_for_its_life_however_many_follow_within_bounds() {
        let (mut table, now) = table(MOST);
        for hash in 0..COUNT {
            table.insert(hash, Kept(false), now);
        }
        let last = now + 2 * LIFE - Duration::from_nanos(1);
        for hash in [0, COUNT - 1] {
            assert_eq!(table.live(hash, last), Some(&Kept(false)));
            assert_eq!(table.live(hash, now + 2 * LIFE), None);
        }
        assert!(!table.has_forgotten());
    }

    #[test]
    fn full_generation_does_not_grow_its_map() {
        let full = HashMap::<Hash, Kept>::with_capacity(FULL).capacity();
        assert_eq!((full, u64::try_from(full)), (FULL, Ok(COUNT)));
        assert_eq!(bytes::<Kept>(FULL), (1 << 14) * 17);
    }

    #[test]
    fn flood_of_what_is_done_pushes_out_nothing_that_is_pending() {
        let (mut table, now) = table(MOST);
        table.insert(0, Kept(true), now);
        for hash in 1..10 * COUNT {
            table.insert(hash, Kept(false), now);
        }
        assert_eq!(table.get_mut(0), Some(&mut Kept(true)));
        assert_eq!(table.get_mut(1), None);
        assert!(table.has_forgotten());
    }

    #[test]
    fn whether_anything_was_forgotten_is_known() {
        let (mut table, now) = table(MOST);
        for hash in 0..2 * COUNT {
            table.insert(hash, Kept(true), now);
        }
        assert!(!table.has_forgotten());
        for hash in 2 * COUNT..4 * COUNT {
            table.insert(hash, Kept(true), now);
        }
        assert!(table.has_forgotten());
    }

    #[test]
    fn table_takes_no_more_than_its_account_has_and_goes_on_with_the_latest() {
        let reservation = MemoryPool::new(20_000).open();
        let (mut table, now) = (
            Table::new(Rc::clone(&reservation)),
            Clock::system().instant(),
        );
        for hash in 0..COUNT {
            table.insert(hash, Kept(false), now);
            assert!(table.live(hash, now).is_some());
            assert_eq!(table.bytes(), reservation.held());
        }
        assert!(reservation.held() <= 20_000 + crate::dataplane::memory::FLOOR);
    }

    #[test]
    fn table_without_any_room_remembers_nothing_and_says_so() {
        let reservation = MemoryPool::new(0).open();
        assert!(reservation.grow(crate::dataplane::memory::FLOOR));
        let (mut table, now) = (Table::new(reservation), Clock::system().instant());
        table.insert(1, Kept(true), now);
        assert!(table.get_mut(1).is_none() && table.has_forgotten());
    }

    #[test]
    fn generation_that_was_large_once_is_given_back() {
        let reservation = MemoryPool::new(MOST).open();
        let (mut table, now) = (
            Table::new(Rc::clone(&reservation)),
            Clock::system().instant(),
        );
        for hash in 0..COUNT {
            table.insert(hash, Kept(false), now);
        }
        for later in 1..4 {
            table.insert(COUNT + u64::from(later), Kept(false), now + LIFE * later);
        }
        assert_eq!(table.bytes(), reservation.held());
        assert!(reservation.held() < 1024, "{}", reservation.held());
    }
}
