//! One dimension of a budget, messages or bytes: units reserved, and units granted to lanes or sealed.
//!
//! The two counters need no common lock: `reserved` only grows, so that a stale value is merely conservative; and `taken` is
//! advanced by compare-and-swap up to the `reserved` that was read. Hence taken ≤ reserved at every moment, and every unit is in
//! exactly one grant.

use super::sync::{AtomicU64, Ordering};

/// Units reserved, and taken out of them.
pub(super) struct Pool {
    /// taken ≤ reserved, but for a moment in [`lend`](Self::lend). Only it and [`extend`](Self::extend) let it grow.
    reserved: AtomicU64,
    taken: AtomicU64,
    /// More should be reserved once `taken` exceeds this. Written before `reserved` and read after it: a new `reserved` with an
    /// old `low` would ask too early, and then not again in time.
    low: AtomicU64,
    /// One more than the `reserved` at which rotation was last asked for more; initially 0.
    asked: AtomicU64,
    /// Units taken by [`drain`](Self::drain) and [`lend`](Self::lend), not by lanes.
    drained: AtomicU64,
    /// A grant is at most one part in `shares` of what is left, so that all workers share the rest.
    shares: u64,
}

/// The result of asking for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Units granted; `None` when less than the least is left.
    pub(super) grant: Option<u64>,
    /// Whether to notify rotation that more is needed: once for each extension.
    pub(super) tell: bool,
}

impl Pool {
    /// A pool for `workers` workers with `used` units, all that were ever reserved, counted as taken.
    pub(super) fn new(used: u64, workers: u64) -> Self {
        Self {
            reserved: AtomicU64::new(used),
            taken: AtomicU64::new(used),
            low: AtomicU64::new(used),
            asked: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            shares: workers.saturating_mul(2).max(1),
        }
    }

    /// Grants between `least` and `wish` units, fewer the less is left.
    pub(super) fn take(&self, least: u64, wish: u64) -> Taken {
        // Acquire: sealing out of the grant happens after the durable write before `extend`.
        let reserved = self.reserved.load(Ordering::Acquire);
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let left = reserved.saturating_sub(taken);
            if left < least {
                return Taken {
                    grant: None,
                    tell: self.ask(reserved),
                };
            }
            let grant = left
                .checked_div(self.shares)
                .unwrap_or(left)
                .min(wish)
                .max(least);
            let after = taken.saturating_add(grant);
            match self.taken.compare_exchange_weak(
                taken,
                after,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_before) => {
                    let tell = after > self.low.load(Ordering::Relaxed) && self.ask(reserved);
                    return Taken {
                        grant: Some(grant),
                        tell,
                    };
                }
                Err(now) => taken = now,
            }
        }
    }

    /// Takes everything that is left. Only rotation may call it.
    pub(super) fn drain(&self) {
        let reserved = self.reserved.load(Ordering::Acquire);
        let before = self.taken.fetch_max(reserved, Ordering::AcqRel);
        let drained = self.drained.load(Ordering::Relaxed);
        let drained = drained.saturating_add(reserved.saturating_sub(before));
        self.drained.store(drained, Ordering::Relaxed);
    }

    /// Units taken that are neither sealed nor granted.
    pub(super) fn drained(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }

    /// Returns unused units of a grant.
    pub(super) fn give_back(&self, units: u64) {
        if units != 0 {
            self.taken.fetch_sub(units, Ordering::AcqRel);
        }
    }

    /// Raises `reserved`, after a durable write. Only rotation may call it.
    pub(super) fn extend(&self, by: u64) {
        if by == 0 {
            return;
        }
        let reserved = self.reserved.load(Ordering::Relaxed).saturating_add(by);
        self.low
            .store(reserved.saturating_sub(by / 2), Ordering::Relaxed);
        self.reserved.store(reserved, Ordering::Release);
    }

    /// Raises `reserved` for another process: what is left here does not change. Only rotation may call it.
    pub(super) fn lend(&self, by: u64) {
        // Taken first: for a moment less seems to be left, never more.
        self.taken.fetch_add(by, Ordering::AcqRel);
        let drained = self.drained.load(Ordering::Relaxed).saturating_add(by);
        self.drained.store(drained, Ordering::Relaxed);
        let low = self.low.load(Ordering::Relaxed).saturating_add(by);
        self.low.store(low, Ordering::Relaxed);
        let reserved = self.reserved.load(Ordering::Relaxed).saturating_add(by);
        self.reserved.store(reserved, Ordering::Release);
    }

    /// Units reserved so far.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Acquire)
    }

    /// Units granted or sealed: no more than this can have been sealed.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Units that can still be granted.
    pub(super) fn left(&self) -> u64 {
        self.reserved().saturating_sub(self.taken())
    }

    /// Whether grants are smaller than `wish` now.
    pub(super) fn is_scarce(&self, wish: u64) -> bool {
        self.left() < wish.saturating_mul(self.shares)
    }

    /// Whether more was asked for since the last extension.
    pub(super) fn needs_refill(&self) -> bool {
        self.asked.load(Ordering::Acquire) > self.reserved.load(Ordering::Relaxed)
    }

    /// Whether this is the first request for more than `reserved` units.
    fn ask(&self, reserved: u64) -> bool {
        let mark = reserved.saturating_add(1);
        self.asked.load(Ordering::Relaxed) < mark
            && self.asked.fetch_max(mark, Ordering::AcqRel) < mark
    }
}
