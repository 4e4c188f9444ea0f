//! Which key versions a connection waits for, and how often.
//!
//! Kids are the bus's to make up, and old ones to repeat. A connection waits for a version that can be loaded, as often as it has
//! waits left; for one that the snapshot has never heard of, unless it has asked for many such within a second.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::Kid;
use crate::keyring::{Allowance, Asking, Snapshot};

/// How long a kid that could not be loaded is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// How many such kids a session remembers. As long as these are as many, no other is asked for that the snapshot does not know.
const MOST_ABSENT: usize = 16;

/// How often a connection waits: a replay of as many versions at once, and then of sixteen in a second.
const WAITS: Allowance = Allowance::new(256, Duration::from_micros(62_500));

/// Of one connection.
pub(super) struct Misses {
    waits: Allowance,
    /// What could not be loaded, and until when nobody waits for it.
    absent: VecDeque<(Kid, Instant)>,
    /// What can be loaded, as the snapshot of this generation says.
    on_demand: Arc<HashSet<Kid>>,
    generation: u64,
}

impl Default for Misses {
    fn default() -> Self {
        Self {
            waits: WAITS,
            absent: VecDeque::new(),
            on_demand: Arc::default(),
            generation: 0,
        }
    }
}

impl Misses {
    /// Costs one comparison when nothing has changed.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot) {
        if self.generation != snapshot.generation() {
            self.generation = snapshot.generation();
            self.on_demand = Arc::clone(snapshot.on_demand());
        }
    }

    /// The wait for this version ended without it: messages under it are not worth another wait for a while.
    pub(super) fn give_up(&mut self, kid: Kid, now: Instant) {
        self.absent
            .retain(|(known, until)| *known != kid && now < *until);
        self.absent.truncate(MOST_ABSENT.saturating_sub(1));
        if let Some(until) = now.checked_add(ABSENT_FOR) {
            self.absent.push_front((kid, until));
        }
    }

    /// Whether this version is not worth a wait.
    pub(super) fn is_absent(&self, kid: Kid, now: Instant) -> bool {
        self.absent(now).any(|known| known == kid)
    }

    /// Whether it may be, but the connection has asked for too much.
    pub(super) fn is_refused(&self, kid: Kid, now: Instant) -> bool {
        let may = self.on_demand.contains(&kid) || self.absent(now).count() < MOST_ABSENT;
        !may || !self.waits.has(now)
    }

    /// What could not be loaded, and is not asked for yet.
    fn absent(&self, now: Instant) -> impl Iterator<Item = Kid> {
        let still = self.absent.iter().filter(move |(_kid, until)| now < *until);
        still.map(|(kid, _until)| *kid)
    }

    /// What is remembered, and what may be, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> (usize, usize) {
        let place = size_of::<(Kid, Instant)>();
        let bytes = |places: usize| places.saturating_mul(place);
        (bytes(self.absent.capacity()), bytes(2 * MOST_ABSENT))
    }

    /// The connection begins to wait.
    pub(super) fn ask(&mut self, now: Instant) -> Asking {
        let spent = self.waits.ahead(now);
        // Whether there was one left has been looked at; one that was not is no reason to wait for nothing.
        let _had_one = self.waits.take(now);
        Asking { now, spent }
    }
}
