//! How much may still be sealed under a key version.
//!
//! ```text
//!  catalogue record ◀── reserve, durably ── rotation ── extend ──▶ Budget: reserved ≥ taken
//!                                              ▲                      │ grant     ▲ what is left of it
//!                                              └──── refill ──────────┤           │
//!                                                                     ▼           │
//!                                                        Grant, one for each lane ┘ ── spend ──▶ sealed
//! ```
//!
//! A crash loses what was reserved and not sealed: it over-counts, and never under-counts. Messages and bytes are two pools that
//! are independent of each other; a lane needs a grant from both.

use super::Volume;
use super::pool::{Pool, Taken};
use super::sync::{Arc, Notify};

/// The grant that a lane asks for: the shared pool is touched once for so many messages.
const MESSAGES: u64 = 8192;

/// The same for bytes: 8192 messages of 1 KiB.
const BYTES: u64 = 8 << 20;

/// The budget of one key version, shared by all workers.
pub struct Budget {
    messages: Pool,
    bytes: Pool,
    before: Volume,
    refill: Arc<Notify>,
}

impl Budget {
    /// A budget of which `used`, everything that was ever reserved, counts as used. Nothing can be sealed before
    /// [`extend`](Self::extend). `refill` is notified when more should be reserved.
    #[must_use]
    pub fn new(used: Volume, workers: usize, refill: Arc<Notify>) -> Self {
        let workers = u64::try_from(workers).unwrap_or(u64::MAX);
        Self {
            messages: Pool::new(used.messages, workers),
            bytes: Pool::new(used.bytes, workers),
            before: used,
            refill,
        }
    }

    /// An unlimited budget.
    #[must_use]
    pub fn unlimited(workers: usize) -> Self {
        let budget = Self::new(Volume::default(), workers, Arc::new(Notify::new()));
        budget.extend(Volume {
            messages: u64::MAX,
            bytes: u64::MAX,
        });
        budget
    }

    /// Allows `by` more to be sealed. Only after it was reserved durably, and by rotation alone: two callers would lose one
    /// extension.
    pub fn extend(&self, by: Volume) {
        self.messages.extend(by.messages);
        self.bytes.extend(by.bytes);
    }

    /// Counts a durable reservation that another process uses. By rotation alone.
    pub fn lend(&self, part: Volume) {
        self.messages.lend(part.messages);
        self.bytes.lend(part.bytes);
    }

    /// Everything that was ever reserved.
    #[must_use]
    pub fn reserved(&self) -> Volume {
        Volume {
            messages: self.messages.reserved(),
            bytes: self.bytes.reserved(),
        }
    }

    /// What is sealed or granted, including all earlier reservations. No more than this can have been sealed.
    #[must_use]
    pub fn taken(&self) -> Volume {
        Volume {
            messages: self.messages.taken(),
            bytes: self.bytes.taken(),
        }
    }

    /// What can still be granted.
    #[must_use]
    pub fn left(&self) -> Volume {
        Volume {
            messages: self.messages.left(),
            bytes: self.bytes.left(),
        }
    }

    /// What lanes hold in grants, if `sealed` has been sealed out of this budget.
    #[must_use]
    pub fn outstanding(&self, sealed: Volume) -> Volume {
        let drained = Volume {
            messages: self.messages.drained(),
            bytes: self.bytes.drained(),
        };
        self.taken().minus(self.before).minus(sealed).minus(drained)
    }

    /// Takes everything that is left, so that nothing more is granted. Call it again for what lanes give back afterwards.
    pub fn drain(&self) {
        self.messages.drain();
        self.bytes.drain();
    }

    /// Whether more should be reserved: since the last extension less than half of it was left, or a grant was refused.
    #[must_use]
    pub fn needs_refill(&self) -> bool {
        self.messages.needs_refill() || self.bytes.needs_refill()
    }

    /// Grants messages to a lane.
    pub(super) fn take_messages(&self) -> Option<u64> {
        self.notify_if_low(self.messages.take(1, MESSAGES))
    }

    /// Grants at least `least` bytes to a lane.
    pub(super) fn take_bytes(&self, least: u64) -> Option<u64> {
        self.notify_if_low(self.bytes.take(least, BYTES))
    }

    /// Takes back what a lane has not sealed.
    pub(super) fn give_back(&self, unused: Volume) {
        self.messages.give_back(unused.messages);
        self.bytes.give_back(unused.bytes);
    }

    /// The part of a grant that has to be given back after a batch, because little is left for others.
    pub(super) fn surplus(&self, held: Volume) -> Volume {
        let part = |pool: &Pool, wish, held| if pool.is_scarce(wish) { held } else { 0 };
        Volume {
            messages: part(&self.messages, MESSAGES, held.messages),
            bytes: part(&self.bytes, BYTES, held.bytes),
        }
    }

    fn notify_if_low(&self, taken: Taken) -> Option<u64> {
        if taken.tell {
            self.refill.notify_one();
        }
        taken.grant
    }
}
