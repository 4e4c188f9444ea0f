//! Injected faults, from the seed alone.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::testing::DiskFault;

/// Pseudo-random numbers from a seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

/// The present faults of disk and custodian.
#[derive(Clone)]
pub(super) struct Faults(Arc<Mutex<FaultState>>);

struct FaultState {
    rng: Rng,
    disk: Option<u64>,
    custody: Option<u64>,
    /// The process dies at this write, counted from now.
    death: Option<u64>,
    slow: bool,
    seen: FaultCounts,
}

/// Counts of injected faults.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FaultCounts {
    pub(super) disk: u64,
    pub(super) custody: u64,
    pub(super) deaths: u64,
}

impl Rng {
    /// Independent numbers for each `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 when that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// The same for an index.
    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(u64::try_from(end).unwrap())).unwrap()
    }

    /// Both ends included.
    pub(super) fn between(&mut self, first: u64, last: u64) -> u64 {
        first.saturating_add(self.below(last.saturating_sub(first).saturating_add(1)))
    }

    /// True once in `often`.
    pub(super) fn one_in(&mut self, often: u64) -> bool {
        self.below(often) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}

impl Faults {
    /// Without faults until [`Faults::draw`].
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(FaultState {
            rng: Rng::new(seed, 1),
            disk: None,
            custody: None,
            death: None,
            slow: false,
            seen: FaultCounts::default(),
        })))
    }

    /// Draws the faults of the next action.
    pub(super) fn draw(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let rng = &mut state.rng;
        state.disk = match rng.below(12) {
            0 => Some(2),
            1 | 2 => Some(6),
            3 => Some(20),
            _ => None,
        };
        state.custody = rng.one_in(8).then(|| rng.between(1, 3));
        state.death = rng.one_in(6).then(|| rng.below(18));
        state.slow = rng.one_in(10);
    }

    /// Ends all faults.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        (state.disk, state.custody, state.death, state.slow) = (None, None, None, false);
    }

    /// The fault of this write.
    pub(super) fn write_fault(&self) -> Option<DiskFault> {
        let mut state = self.state();
        let state = &mut *state;
        match state.death {
            Some(0) => {
                state.death = None;
                state.seen.deaths += 1;
                return Some(DiskFault::Crash);
            }
            left => state.death = left.map(|left| left - 1),
        }
        let often = state.disk?;
        state.rng.one_in(often).then(|| {
            state.seen.disk += 1;
            let kinds = [
                ErrorKind::StorageFull,
                ErrorKind::Other,
                ErrorKind::TimedOut,
            ];
            DiskFault::Error(state.rng.pick(&kinds))
        })
    }

    /// Whether this read fails.
    pub(super) fn read_fails(&self) -> bool {
        let mut state = self.state();
        let often = state.disk.map(|often| often * 8);
        let blind = often.is_some_and(|often| state.rng.one_in(often));
        state.seen.disk += u64::from(blind);
        blind
    }

    /// Whether the custodian refuses.
    pub(super) fn custodian_refuses(&self) -> bool {
        let mut state = self.state();
        let often = state.custody;
        let refused = often.is_some_and(|often| state.rng.one_in(often));
        state.seen.custody += u64::from(refused);
        refused
    }

    /// The custodian's delay in milliseconds.
    pub(super) fn delay(&self) -> u64 {
        let mut state = self.state();
        if state.slow { state.rng.below(3000) } else { 0 }
    }

    pub(super) fn seen(&self) -> FaultCounts {
        self.state().seen
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.0.lock().unwrap()
    }
}
