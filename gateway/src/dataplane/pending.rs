//! Bytes that sessions have in hand, and room for them: bounded for each worker, so that slow peers cannot fill the memory.
//!
//! A direction takes a slot when bytes arrive and gives it back when all of them are dealt with. A message larger than a read takes
//! room of its own, all at once, so that whoever has begun to read one can end it. Who finds no room does not read on; the peers that
//! keep what others wait for are given up (`Shed`) once they do nothing for a second.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::metrics::{self, Gauge};
use crate::wire::Buffer;

use super::pool::{Pool, READ_SIZE};

/// What a direction may hold while it has a slot: a read, and what a batch makes of it.
const SLOT: usize = 6 * READ_SIZE;

/// What is counted where messages are large.
const UNIT: usize = 1024;

/// A message takes its length twice: as it came, and as it goes.
const COPIES: usize = 2;

/// How long a peer may do nothing while others wait for the room that it takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// An operation of which no more than this has come is kept without a slot until the rest comes.
const MORSEL: usize = 4 * 1024;

/// A worker's room.
pub(super) struct Pending {
    slots: Semaphore,
    large: Semaphore,
    /// All of `large`.
    units: u32,
    waiting: Cell<usize>,
    gauge: Gauge,
}

/// What one direction of a session has read and not dealt with.
#[derive(Default)]
pub(super) struct Input<'w> {
    pub(super) buffer: Buffer,
    slot: Option<SemaphorePermit<'w>>,
    large: Option<SemaphorePermit<'w>>,
}

/// A peer did nothing while others waited for its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("given up: it did nothing while others waited for memory")]
pub(super) struct Shed;

impl Pending {
    /// Half of `bytes` for slots, half for large messages; one of each at least.
    pub(super) fn new(bytes: usize) -> Self {
        let half = bytes / 2;
        let units = u32::try_from((half / UNIT).max(1)).unwrap_or(u32::MAX >> 4);
        Self {
            slots: Semaphore::new((half / SLOT).max(1)),
            large: Semaphore::new(usize::try_from(units).unwrap_or(1)),
            units,
            waiting: Cell::new(0),
            gauge: metrics::pending_waiting(),
        }
    }

    /// Waits for a peer; gives it up when it does nothing, and others wait for the room that it takes.
    ///
    /// # Errors
    /// [`Shed`] among those of `peer`.
    pub(super) async fn patiently<T>(
        &self,
        peer: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut peer = std::pin::pin!(peer);
        loop {
            match timeout(PATIENCE, &mut peer).await {
                Ok(done) => return done,
                Err(_elapsed) if self.waiting.get() > 0 => {
                    return Err(io::Error::new(io::ErrorKind::OutOfMemory, Shed));
                }
                Err(_elapsed) => {}
            }
        }
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

/// One that waits for room.
struct Waiting<'w>(&'w Pending);

impl<'w> Waiting<'w> {
    fn new(pending: &'w Pending) -> Self {
        pending.waiting.set(pending.waiting.get().saturating_add(1));
        pending.gauge.increment(1.0);
        Self(pending)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let pending = self.0;
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
            self.slot = pending.acquire(&pending.slots, 1).await;
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

    /// Gives memory and room back; the buffer must be empty, or its bytes are lost.
    pub(super) fn release(&mut self, pool: &Pool) {
        if self.buffer.capacity() != 0 {
            pool.give(std::mem::take(&mut self.buffer));
        }
        self.slot = None;
        self.large = None;
    }

    /// Keeps the beginning of an operation in no more memory than it needs. Whether it did.
    pub(super) fn shrink(&mut self, pool: &Pool) -> bool {
        let small = self.buffer.len() <= MORSEL;
        if small && self.slot.is_some() {
            let mut morsel = Buffer::with_capacity(self.buffer.len());
            morsel.put(self.buffer.filled());
            self.release(pool);
            self.buffer = morsel;
        }
        small
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
        let (pool, pending) = (Pool::default(), Pending::new(4 * SLOT));
        let before = room(&pending);
        assert_eq!(before.0, 2);
        let mut input = Input::default();
        input.make_room(0, (&pool, &pending)).await;
        assert_eq!(room(&pending), (1, before.1));
        input.make_room(READ_SIZE + 1, (&pool, &pending)).await;
        let units = 2 * READ_SIZE / UNIT + 1;
        assert_eq!(room(&pending), (1, before.1 - units));
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
        let mut wait = Box::pin(second.make_room(0, (&pool, &pending)));
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

    #[tokio::test(start_paused = true)]
    async fn peer_that_does_nothing_is_given_up_only_while_others_wait() {
        let pending = Pending::new(1);
        let nothing = || std::future::pending::<io::Result<()>>();
        let mut idle = Box::pin(pending.patiently(nothing()));
        tokio::time::sleep(10 * PATIENCE).await;
        assert!(idle.as_mut().now_or_never().is_none());
        let _waits = Waiting::new(&pending);
        let given_up = pending.patiently(nothing()).await;
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
