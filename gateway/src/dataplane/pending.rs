//! Bytes that sessions have in hand, and room for them: bounded for each worker, so that slow peers cannot fill the memory.
//!
//! A direction takes a slot when bytes arrive and gives it back when all of them are dealt with. A message larger than a read takes
//! room of its own, all at once, so that whoever has begun to read one can end it. Who finds no room does not read on; the peers that
//! keep what others wait for are given up (`Shed`) once they have kept them for a second and moved too little (`Pace`). What is small,
//! a greeting above all, has slots in reserve, each for one read: it gets through whoever keeps the others.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::metrics::{self, Gauge};
use crate::wire::Buffer;

use super::pool::{Pool, READ_SIZE};

/// What a direction may hold while it has a slot: a read, and what a batch makes of it.
const SLOT: usize = 6 * READ_SIZE;

/// What is counted where messages are large.
const UNIT: usize = 1024;

/// A message takes its length twice: as it came, and as it goes.
const COPIES: usize = 2;

/// How long others may wait while a peer that takes room is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that a peer moves to earn a second of that. A phone on a bad line moves more; the largest message that servers take by default
/// is through within 16 s.
const RATE: u64 = 64 * 1024;

/// How often, at most, it is looked whether a peer is to be given up; one without credit may keep nobody waiting, and would be looked at
/// all the time.
const LOOK: Duration = Duration::from_millis(250);

/// An operation of which no more than this has come is kept without a slot until the rest comes.
const MORSEL: usize = 4 * 1024;

/// One slot of so many is kept for what is small.
const RESERVE: usize = 4;

/// A worker's room.
pub(super) struct Pending {
    slots: Semaphore,
    /// Slots for what is small.
    reserve: Semaphore,
    large: Semaphore,
    /// All of `large`.
    units: u32,
    waiting: Cell<usize>,
    /// When the first of those that wait began to.
    since: Cell<Instant>,
    /// For how long somebody waited, before that.
    waited: Cell<Duration>,
    gauge: Gauge,
}

/// What one direction of a session has read and not dealt with.
#[derive(Default)]
pub(super) struct Input<'w> {
    pub(super) buffer: Buffer,
    /// How its peer does since it took room.
    pub(super) pace: Pace,
    slot: Option<SemaphorePermit<'w>>,
    /// A slot for one small read.
    reserve: Option<SemaphorePermit<'w>>,
    large: Option<SemaphorePermit<'w>>,
}

/// What a peer may yet keep others waiting. Only time in which the gateway waits for the peer is taken off: not what the gateway or
/// the other side needs.
pub(super) struct Pace {
    left: Duration,
}

/// A peer moved too little while others waited for its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("given up: it was slow while others waited for memory")]
pub(super) struct Shed;

impl Pending {
    /// Half of `bytes` for slots, half for large messages; one of each at least.
    pub(super) fn new(bytes: usize) -> Self {
        let half = bytes / 2;
        let units = u32::try_from((half / UNIT).max(1)).unwrap_or(u32::MAX >> 4);
        let slots = half / SLOT;
        let reserve = (slots / RESERVE).max(1);
        Self {
            slots: Semaphore::new(slots.saturating_sub(reserve).max(1)),
            reserve: Semaphore::new(reserve),
            large: Semaphore::new(usize::try_from(units).unwrap_or(1)),
            units,
            waiting: Cell::new(0),
            since: Cell::new(Instant::now()),
            waited: Cell::new(Duration::ZERO),
            gauge: metrics::pending_waiting(),
        }
    }

    /// Waits for a peer; gives it up when it has moved too little, and others wait for the room that it takes.
    ///
    /// # Errors
    /// [`Shed`] among those of `peer`.
    pub(super) async fn patiently<T>(
        &self,
        pace: &mut Pace,
        peer: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut peer = std::pin::pin!(peer);
        loop {
            let look = pace.left.max(LOOK);
            let charged = Charge::new(self, pace);
            let waited = timeout(look, &mut peer).await;
            drop(charged);
            // Though the peer may have moved by now: one that drips always has.
            if pace.left.is_zero() && self.waiting.get() > 0 {
                return Err(io::Error::new(io::ErrorKind::OutOfMemory, Shed));
            }
            if let Ok(done) = waited {
                return done;
            }
        }
    }

    /// For how long somebody has waited for room by now; stands still while nobody does.
    fn waited(&self) -> Duration {
        let now = match self.waiting.get() {
            0 => Duration::ZERO,
            _ => self.since.get().elapsed(),
        };
        self.waited.get().saturating_add(now)
    }

    async fn acquire<'w>(&'w self, from: &'w Semaphore, count: u32) -> Option<SemaphorePermit<'w>> {
        if let Ok(permit) = from.try_acquire_many(count) {
            return Some(permit);
        }
        let _counted = Waiting::new(self);
        // The semaphore is never closed.
        from.acquire_many(count).await.ok()
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { left: PATIENCE }
    }
}

impl Pace {
    /// The peer has sent or taken so much.
    pub(super) fn moved(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = Duration::from_nanos(bytes.saturating_mul(1_000_000_000 / RATE));
        self.left = self.left.saturating_add(earned).min(PATIENCE);
    }
}

/// Takes off a peer's time what others wait meanwhile; also when nobody waits for the peer to the end.
struct Charge<'p> {
    pending: &'p Pending,
    pace: &'p mut Pace,
    before: Duration,
}

impl<'p> Charge<'p> {
    fn new(pending: &'p Pending, pace: &'p mut Pace) -> Self {
        let before = pending.waited();
        Self {
            pending,
            pace,
            before,
        }
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let kept = self.pending.waited().saturating_sub(self.before);
        self.pace.left = self.pace.left.saturating_sub(kept);
    }
}

/// One that waits for room.
struct Waiting<'w>(&'w Pending);

impl<'w> Waiting<'w> {
    fn new(pending: &'w Pending) -> Self {
        if pending.waiting.get() == 0 {
            pending.since.set(Instant::now());
        }
        pending.waiting.set(pending.waiting.get().saturating_add(1));
        pending.gauge.increment(1.0);
        Self(pending)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let pending = self.0;
        let waited = pending.waited();
        pending.since.set(Instant::now());
        pending.waited.set(waited);
        pending.waiting.set(pending.waiting.get().saturating_sub(1));
        pending.gauge.decrement(1.0);
    }
}

impl<'w> Input<'w> {
    /// What was read already, and takes no room yet.
    pub(super) fn holding(buffer: Buffer) -> Self {
        Self {
            buffer,
            ..Self::default()
        }
    }

    /// Makes room for a read towards `need` bytes, waiting for it if there is none.
    pub(super) async fn make_room(&mut self, need: usize, (pool, pending): (&Pool, &'w Pending)) {
        if self.slot.is_none() {
            self.take_slot(need, (pool, pending)).await;
        }
        if need > READ_SIZE {
            let units = need.saturating_mul(COPIES).div_ceil(UNIT);
            let units = u32::try_from(units).unwrap_or(u32::MAX).min(pending.units);
            let held = self.large.as_ref().map_or(0, SemaphorePermit::num_permits);
            if usize::try_from(units).is_ok_and(|units| held < units) {
                // Never while holding some: two that hold and want more would wait for one another.
                self.large = None;
                self.large = pending.acquire(&pending.large, units).await;
            }
        }
        if self.buffer.capacity() < READ_SIZE {
            let morsel = std::mem::replace(&mut self.buffer, pool.take());
            self.buffer.put(morsel.filled());
        }
    }

    /// A slot; or, for what is small while there is none, one of the reserve.
    async fn take_slot(&mut self, need: usize, (pool, pending): (&Pool, &'w Pending)) {
        if self.reserve.is_some() {
            // It is for one read, so that whoever reads on and on leaves it to others between.
            self.set_aside(pool);
        }
        self.slot = pending.slots.try_acquire().ok();
        if self.slot.is_some() {
            return;
        }
        if need <= MORSEL && self.buffer.len() < MORSEL {
            self.reserve = pending.acquire(&pending.reserve, 1).await;
        } else {
            self.slot = pending.acquire(&pending.slots, 1).await;
        }
    }

    /// How much the next read may bring: out of the reserve, no more than is kept without a slot.
    pub(super) fn most(&self) -> usize {
        match self.reserve {
            Some(_) => MORSEL.saturating_sub(self.buffer.len()).max(1),
            None => usize::MAX,
        }
    }

    /// Gives memory and room back; the buffer must be empty, or its bytes are lost.
    pub(super) fn release(&mut self, pool: &Pool) {
        if self.buffer.capacity() != 0 {
            pool.give(std::mem::take(&mut self.buffer));
        }
        self.slot = None;
        self.reserve = None;
        self.large = None;
        self.pace = Pace::default();
    }

    /// Keeps the beginning of an operation in no more memory than it needs. Whether it did.
    pub(super) fn shrink(&mut self, pool: &Pool) -> bool {
        let small = self.buffer.len() <= MORSEL;
        if small && (self.slot.is_some() || self.reserve.is_some()) {
            self.set_aside(pool);
        }
        small
    }

    /// Gives room back and keeps the bytes.
    fn set_aside(&mut self, pool: &Pool) {
        let mut kept = Buffer::with_capacity(self.buffer.len());
        kept.put(self.buffer.filled());
        self.release(pool);
        self.buffer = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn room(pending: &Pending) -> (usize, usize) {
        (
            pending.slots.available_permits(),
            pending.large.available_permits(),
        )
    }

    #[tokio::test]
    async fn room_is_taken_by_whoever_has_bytes_and_given_back() {
        let (pool, pending) = (Pool::default(), Pending::new(8 * SLOT));
        let before = room(&pending);
        assert_eq!(before.0, 3);
        let mut input = Input::default();
        input.make_room(0, (&pool, &pending)).await;
        assert_eq!(room(&pending), (2, before.1));
        input.make_room(READ_SIZE + 1, (&pool, &pending)).await;
        let units = 2 * READ_SIZE / UNIT + 1;
        assert_eq!(room(&pending), (2, before.1 - units));
        input.release(&pool);
        assert_eq!(room(&pending), before);
    }

    #[tokio::test]
    async fn message_larger_than_all_room_takes_all_and_is_read() {
        let (pool, pending) = (Pool::default(), Pending::new(2 * UNIT));
        let mut input = Input::default();
        input.make_room(usize::MAX, (&pool, &pending)).await;
        assert_eq!(room(&pending), (0, 0));
    }

    #[tokio::test]
    async fn whoever_finds_no_room_waits_until_somebody_gives_it_back() {
        let (pool, pending) = (Pool::default(), Pending::new(1));
        let (mut first, mut second) = (Input::default(), Input::default());
        first.make_room(0, (&pool, &pending)).await;
        let mut wait = Box::pin(second.make_room(READ_SIZE, (&pool, &pending)));
        assert!(wait.as_mut().now_or_never().is_none());
        assert_eq!(pending.waiting.get(), 1);
        first.release(&pool);
        wait.await;
        assert_eq!(pending.waiting.get(), 0);
    }

    #[tokio::test]
    async fn beginning_of_an_operation_takes_no_room_until_the_rest_comes() {
        let (pool, pending) = (Pool::default(), Pending::new(1));
        let mut input = Input::default();
        input.make_room(0, (&pool, &pending)).await;
        input.buffer.put(b"PUB a 1");
        assert!(input.shrink(&pool));
        assert_eq!(room(&pending).0, 1);
        assert_eq!(input.buffer.filled(), b"PUB a 1");
        assert!(input.buffer.capacity() < READ_SIZE);
        input.make_room(0, (&pool, &pending)).await;
        assert_eq!(input.buffer.filled(), b"PUB a 1");
        assert!(input.buffer.capacity() >= READ_SIZE);
    }

    #[tokio::test]
    async fn what_is_small_gets_through_whoever_keeps_all_other_room() {
        let (pool, pending) = (Pool::default(), Pending::new(1));
        let mut large = Input::default();
        large.make_room(0, (&pool, &pending)).await;
        let (mut first, mut second) = (Input::default(), Input::default());
        let made = first.make_room(0, (&pool, &pending)).now_or_never();
        assert!(made.is_some());
        assert_eq!((large.most(), first.most()), (usize::MAX, MORSEL));
        // A second read is behind whoever waits for its first.
        first.buffer.put(b"PUB a 1");
        let mut wait = Box::pin(second.make_room(0, (&pool, &pending)));
        assert!(wait.as_mut().now_or_never().is_none());
        let again = first.make_room(0, (&pool, &pending)).now_or_never();
        assert!(again.is_none());
        wait.await;
        assert_eq!(first.buffer.filled(), b"PUB a 1");
    }

    #[tokio::test]
    async fn what_grows_large_leaves_the_reserve_and_waits_for_room() {
        let (pool, pending) = (Pool::default(), Pending::new(1));
        let (mut large, mut input) = (Input::default(), Input::default());
        large.make_room(0, (&pool, &pending)).await;
        input.make_room(0, (&pool, &pending)).await;
        input.buffer.put(&[b'x'; MORSEL]);
        let mut wait = Box::pin(input.make_room(0, (&pool, &pending)));
        assert!(wait.as_mut().now_or_never().is_none());
        assert_eq!(pending.reserve.available_permits(), 1);
        large.release(&pool);
        wait.await;
        assert_eq!((input.buffer.len(), input.most()), (MORSEL, usize::MAX));
    }

    /// A peer that moves so many bytes each time after so long, for a minute.
    async fn minute(pending: &Pending, (bytes, every): (usize, Duration)) -> io::Result<()> {
        let mut pace = Pace::default();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let peer = async {
                tokio::time::sleep(every).await;
                Ok(())
            };
            pending.patiently(&mut pace, peer).await?;
            pace.moved(bytes);
        }
        Ok(())
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn peer_is_given_up_by_what_it_moves_and_only_while_others_wait() {
        let pending = Pending::new(1);
        let slow = [
            (1, millis(400)),
            (1, millis(10)),
            (READ_SIZE / 8, millis(250)),
            (READ_SIZE / 2, millis(1100)),
            (0, Duration::from_secs(100)),
        ];
        for peer in slow {
            assert!(minute(&pending, peer).await.is_ok(), "{peer:?}");
        }
        let _waits = Waiting::new(&pending);
        for peer in slow {
            let given_up = minute(&pending, peer).await.map_err(|error| error.kind());
            assert_eq!(given_up, Err(io::ErrorKind::OutOfMemory), "{peer:?}");
        }
        for peer in [(READ_SIZE / 3, millis(250)), (READ_SIZE, millis(900))] {
            assert!(minute(&pending, peer).await.is_ok(), "{peer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_does_nothing_is_given_up_after_a_second_in_which_others_wait() {
        let pending = Pending::new(1);
        let mut pace = Pace::default();
        let nothing = || std::future::pending::<io::Result<()>>();
        let mut idle = Box::pin(pending.patiently(&mut pace, nothing()));
        assert!(idle.as_mut().now_or_never().is_none());
        tokio::time::sleep(10 * PATIENCE).await;
        assert!(idle.as_mut().now_or_never().is_none());
        let waits = Waiting::new(&pending);
        tokio::time::sleep(PATIENCE / 2).await;
        drop(waits);
        assert!(idle.as_mut().now_or_never().is_none());
        // Left and taken up again, as when there is news for the other side: what was waited counts.
        drop(idle);
        let before = Instant::now();
        let _waits = Waiting::new(&pending);
        assert!(pending.patiently(&mut pace, nothing()).await.is_err());
        assert_eq!(before.elapsed().as_millis(), (PATIENCE / 2).as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_waits_for_room_itself_is_not_slow() {
        let (pool, pending) = (Pool::default(), Pending::new(1));
        let (mut first, mut second) = (Input::default(), Input::default());
        first.make_room(0, (&pool, &pending)).await;
        let mut wait = Box::pin(second.make_room(READ_SIZE, (&pool, &pending)));
        assert!(wait.as_mut().now_or_never().is_none());
        tokio::time::sleep(10 * PATIENCE).await;
        first.release(&pool);
        wait.await;
        assert_eq!(second.pace.left, PATIENCE);
    }
}
