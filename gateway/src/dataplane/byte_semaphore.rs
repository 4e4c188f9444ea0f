//! A semaphore over bytes, fair but for slow and large holders, which may be overdrawn by one of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::slow_peers::{CHECK_EVERY, Held, MemoryKind, PeerWait, Revocable, Waiting, WaitsFor};
use super::socket_error::SocketError;

/// Whether more bytes than there are may be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdraft {
    /// No.
    Never,
    /// To the first waiter, one at a time, until it has given everything back: otherwise holders that want more would deadlock.
    One,
}

/// The semaphore.
pub(super) struct ByteSemaphore {
    kind: MemoryKind,
    total: usize,
    overdraft: Overdraft,
    lent: Cell<usize>,
    /// Whether one overdraws.
    overdrawn: Cell<bool>,
    queue: RefCell<Vec<Rc<Waiter>>>,
}

/// Bytes that are held until this is dropped.
pub(super) struct BytePermit<'w> {
    semaphore: &'w ByteSemaphore,
    bytes: usize,
    overdraws: Overdraws,
}

/// Whether a permit overdraws the semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdraws {
    Yes,
    No,
}

struct Waiter {
    turn: Instant,
    bytes: usize,
    granted: Cell<Option<Overdraws>>,
    wake: Notify,
}

impl ByteSemaphore {
    pub(super) const fn new(kind: MemoryKind, total: usize, overdraft: Overdraft) -> Self {
        Self {
            kind,
            total,
            overdraft,
            lent: Cell::new(0),
            overdrawn: Cell::new(false),
            queue: RefCell::new(Vec::new()),
        }
    }

    pub(super) const fn available(&self) -> usize {
        self.total.saturating_sub(self.lent.get())
    }

    /// Whether more than half of it is lent.
    pub(super) const fn is_scarce(&self) -> bool {
        self.available() < self.total / 2
    }

    /// Acquires without waiting, ahead of the queue.
    pub(super) fn try_acquire(&self, bytes: usize) -> Option<BytePermit<'_>> {
        (bytes <= self.available()).then(|| self.acquire_now(bytes, Overdraws::No))
    }

    /// Acquires in the order of the queue.
    ///
    /// # Errors
    /// [`SocketError::Shed`]: the memory that the holder has already was revoked.
    pub(super) async fn acquire<'w>(
        &'w self,
        bytes: usize,
        peer_wait: PeerWait<'_>,
    ) -> Result<BytePermit<'w>, SocketError> {
        if self.queue.borrow().is_empty()
            && let Some(lent) = self.try_acquire(bytes)
        {
            return Ok(lent);
        }
        let queued =
            QueuedWaiter::new(self, bytes, peer_wait.holder.queue_position(peer_wait.held));
        let _waits = Waiting::new(peer_wait.holders);
        let _watched = (peer_wait.held != Held::default())
            .then(|| Revocable::new(peer_wait, WaitsFor::Memory));
        let lent = loop {
            if let Some(lent) = queued.take() {
                break lent;
            }
            let call = (self.kind, self.wanted());
            peer_wait.holders.revoke_slow(call, peer_wait.holder);
            tokio::select! {
                biased;
                () = peer_wait.holder.revoked() => return Err(SocketError::Shed),
                () = queued.waiter.wake.notified() => {}
                () = sleep(CHECK_EVERY) => {}
            }
        };
        peer_wait.holder.served();
        if lent.overdraws() {
            peer_wait.holder.reset_pace();
        }
        Ok(lent)
    }

    fn acquire_now(&self, bytes: usize, overdraws: Overdraws) -> BytePermit<'_> {
        self.lent.set(self.lent.get().saturating_add(bytes));
        BytePermit {
            semaphore: self,
            bytes,
            overdraws,
        }
    }

    /// Bytes that must be given back before all waiters are served.
    fn wanted(&self) -> usize {
        let queue = self.queue.borrow();
        let all = queue.iter().fold(0_usize, |sum, waiter| {
            let waits = waiter.granted.get().is_none();
            sum.saturating_add(if waits { waiter.bytes } else { 0 })
        });
        all.saturating_sub(self.available())
    }

    /// Grants what can be granted, in the order of the queue.
    fn serve(&self) {
        loop {
            let first = {
                let queue = self.queue.borrow();
                let waits = queue.iter().filter(|waiter| waiter.granted.get().is_none());
                waits.min_by_key(|waiter| waiter.turn).map(Rc::clone)
            };
            let Some(first) = first else { return };
            let overdraws = if first.bytes <= self.available() {
                Overdraws::No
            } else if self.overdraft == Overdraft::One && !self.overdrawn.get() {
                self.overdrawn.set(true);
                Overdraws::Yes
            } else {
                return;
            };
            self.lent.set(self.lent.get().saturating_add(first.bytes));
            first.granted.set(Some(overdraws));
            first.wake.notify_one();
        }
    }

    fn give_back(&self, bytes: usize, overdraws: Overdraws) {
        self.lent.set(self.lent.get().saturating_sub(bytes));
        if overdraws == Overdraws::Yes {
            self.overdrawn.set(false);
        }
        if !self.queue.borrow().is_empty() {
            self.serve();
        }
    }
}

impl BytePermit<'_> {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it overdraws: then its holder must not wait, since all others wait for it.
    pub(super) const fn overdraws(&self) -> bool {
        matches!(self.overdraws, Overdraws::Yes)
    }

    /// Overdraws by so much more.
    pub(super) fn overdraw(&mut self, more: usize) {
        self.bytes = self.bytes.saturating_add(more);
        self.semaphore
            .lent
            .set(self.semaphore.lent.get().saturating_add(more));
    }

    pub(super) fn merge(&mut self, mut more: Self) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut more.bytes));
        if more.overdraws() {
            self.overdraws = std::mem::replace(&mut more.overdraws, Overdraws::No);
        }
    }

    /// Gives back all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let more = self.bytes.saturating_sub(bytes);
        if more != 0 {
            self.bytes = bytes;
            self.semaphore.give_back(more, Overdraws::No);
        }
    }
}

impl Drop for BytePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.give_back(self.bytes, self.overdraws);
    }
}

/// Leaves the queue when dropped, and gives back what was granted meanwhile.
struct QueuedWaiter<'w> {
    semaphore: &'w ByteSemaphore,
    waiter: Rc<Waiter>,
}

impl<'w> QueuedWaiter<'w> {
    fn new(semaphore: &'w ByteSemaphore, bytes: usize, turn: Instant) -> Self {
        let waiter = Rc::new(Waiter {
            turn,
            bytes,
            granted: Cell::new(None),
            wake: Notify::new(),
        });
        semaphore.queue.borrow_mut().push(Rc::clone(&waiter));
        semaphore.serve();
        Self { semaphore, waiter }
    }

    /// The permit, if it was granted.
    fn take(&self) -> Option<BytePermit<'w>> {
        let overdraws = self.waiter.granted.get()?;
        let mut queue = self.semaphore.queue.borrow_mut();
        queue.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        Some(BytePermit {
            semaphore: self.semaphore,
            bytes: self.waiter.bytes,
            overdraws,
        })
    }
}

impl Drop for QueuedWaiter<'_> {
    fn drop(&mut self) {
        let mut queue = self.semaphore.queue.borrow_mut();
        let before = queue.len();
        queue.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        let left = queue.len() < before;
        drop(queue);
        if !left {
            return;
        }
        if let Some(overdraws) = self.waiter.granted.get() {
            self.semaphore.give_back(self.waiter.bytes, overdraws);
        } else {
            self.semaphore.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::slow_peers::{Holder, Holders};
    use futures_util::FutureExt as _;
    use std::time::Duration;

    fn peer_wait<'a>(holders: &'a Holders, holder: &'a Rc<Holder>) -> PeerWait<'a> {
        PeerWait {
            holders,
            holder,
            held: Held::default(),
        }
    }

    /// The peer is idle for three seconds.
    async fn keeps_waiting(holders: &Holders, holder: &Rc<Holder>) {
        let held = Held {
            loan: 1,
            ..Held::default()
        };
        let slow = PeerWait {
            held,
            ..peer_wait(holders, holder)
        };
        let peer = sleep(Duration::from_secs(3)).map(Ok);
        slow.unless_revoked(peer).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_gateway_waiting_comes_after_who_does_not() {
        let (holders, semaphore) = (
            Holders::new(),
            ByteSemaphore::new(MemoryKind::Slot, 10, Overdraft::Never),
        );
        let all = semaphore.try_acquire(10).unwrap();
        let [slow, quick] = [Rc::<Holder>::default(), Rc::default()];
        keeps_waiting(&holders, &slow).await;
        let mut first = Box::pin(semaphore.acquire(10, peer_wait(&holders, &slow)));
        assert!(first.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(2)).await;
        let mut second = Box::pin(semaphore.acquire(10, peer_wait(&holders, &quick)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(all);
        assert!(first.as_mut().now_or_never().is_none());
        drop(second.await);
        drop(first.await);
        assert_eq!(semaphore.available(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_goes_beyond_what_there_is_and_the_next_when_it_has_ended() {
        let (holders, semaphore) = (
            Holders::new(),
            ByteSemaphore::new(MemoryKind::Loan, 10, Overdraft::One),
        );
        let _all = semaphore.try_acquire(9).unwrap();
        let [one, two] = [Rc::<Holder>::default(), Rc::default()];
        let mut first = semaphore
            .acquire(5, peer_wait(&holders, &one))
            .await
            .unwrap();
        assert!(first.overdraws());
        first.overdraw(20);
        let mut second = Box::pin(semaphore.acquire(5, peer_wait(&holders, &two)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.await.is_ok_and(|lent| lent.overdraws()));
        assert_eq!(semaphore.available(), 1);
        assert!(!semaphore.overdrawn.get());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_no_longer_leaves_its_place_and_what_it_was_granted() {
        let (holders, semaphore) = (
            Holders::new(),
            ByteSemaphore::new(MemoryKind::Slot, 10, Overdraft::Never),
        );
        let all = semaphore.try_acquire(10).unwrap();
        let holder = Rc::<Holder>::default();
        for granted in [None, Some(all)] {
            let mut wait = Box::pin(semaphore.acquire(10, peer_wait(&holders, &holder)));
            assert!(wait.as_mut().now_or_never().is_none());
            drop(granted);
            drop(wait);
            assert!(semaphore.queue.borrow().is_empty());
        }
        assert_eq!(semaphore.available(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_joined_and_shrunk_is_given_back_once() {
        let semaphore = ByteSemaphore::new(MemoryKind::Loan, 10, Overdraft::One);
        let mut lent = semaphore.try_acquire(3).unwrap();
        lent.merge(semaphore.try_acquire(5).unwrap());
        assert_eq!((lent.bytes(), semaphore.available()), (8, 2));
        lent.shrink(1);
        assert_eq!((lent.bytes(), semaphore.available()), (1, 9));
        assert!(!semaphore.is_scarce());
        drop(lent);
        assert_eq!(semaphore.available(), 10);
    }
}
