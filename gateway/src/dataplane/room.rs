//! A semaphore over bytes, fair but for slow and large holders, which may be overdrawn by one of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::pace::{Held, Keeper, Kind, LOOK, Waiting, WaitsFor, Watched, shed};

/// Whether more bytes than there are may be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    /// No.
    Nobody,
    /// To the first waiter, one at a time, until it has given everything back: otherwise holders that want more would deadlock.
    One,
}

/// The semaphore.
pub(super) struct Room {
    kind: Kind,
    total: usize,
    beyond: Beyond,
    lent: Cell<usize>,
    /// Whether one overdraws.
    overdrawn: Cell<bool>,
    queue: RefCell<Vec<Rc<Place>>>,
}

/// Bytes that are held until this is dropped.
pub(super) struct Lent<'w> {
    room: &'w Room,
    bytes: usize,
    overdraws: Overdraws,
}

/// Whether a permit overdraws the semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdraws {
    Yes,
    No,
}

struct Place {
    turn: Instant,
    bytes: usize,
    granted: Cell<Option<Overdraws>>,
    wake: Notify,
}

impl Room {
    pub(super) const fn new(kind: Kind, total: usize, beyond: Beyond) -> Self {
        Self {
            kind,
            total,
            beyond,
            lent: Cell::new(0),
            overdrawn: Cell::new(false),
            queue: RefCell::new(Vec::new()),
        }
    }

    pub(super) const fn free(&self) -> usize {
        self.total.saturating_sub(self.lent.get())
    }

    /// Whether more than half of it is lent.
    pub(super) const fn is_scarce(&self) -> bool {
        self.free() < self.total / 2
    }

    /// Acquires without waiting, ahead of the queue.
    pub(super) fn try_lend(&self, bytes: usize) -> Option<Lent<'_>> {
        (bytes <= self.free()).then(|| self.lend_now(bytes, Overdraws::No))
    }

    /// Acquires in the order of the queue.
    ///
    /// # Errors
    /// [`Shed`](super::pace::Shed): the memory that the holder has already was revoked.
    pub(super) async fn lend<'w>(
        &'w self,
        bytes: usize,
        keeper: Keeper<'_>,
    ) -> io::Result<Lent<'w>> {
        if self.queue.borrow().is_empty()
            && let Some(lent) = self.try_lend(bytes)
        {
            return Ok(lent);
        }
        let queued = Queued::new(self, bytes, keeper.holder.turn_at(keeper.held));
        let _waits = Waiting::new(keeper.holders);
        let _watched =
            (keeper.held != Held::default()).then(|| Watched::new(keeper, WaitsFor::Room));
        loop {
            if let Some(lent) = queued.take() {
                keeper.holder.served(lent.overdraws);
                return Ok(lent);
            }
            let call = (self.kind, self.wanted());
            keeper.holders.call_back(call, keeper.holder);
            tokio::select! {
                biased;
                () = keeper.holder.called() => return Err(shed()),
                () = queued.place.wake.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    fn lend_now(&self, bytes: usize, overdraws: Overdraws) -> Lent<'_> {
        self.lent.set(self.lent.get().saturating_add(bytes));
        Lent {
            room: self,
            bytes,
            overdraws,
        }
    }

    /// Bytes that must be given back before all waiters are served.
    fn wanted(&self) -> usize {
        let queue = self.queue.borrow();
        let all = queue.iter().fold(0_usize, |sum, place| {
            let waits = place.granted.get().is_none();
            sum.saturating_add(if waits { place.bytes } else { 0 })
        });
        all.saturating_sub(self.free())
    }

    /// Grants what can be granted, in the order of the queue.
    fn serve(&self) {
        loop {
            let first = {
                let queue = self.queue.borrow();
                let waits = queue.iter().filter(|place| place.granted.get().is_none());
                waits.min_by_key(|place| place.turn).map(Rc::clone)
            };
            let Some(first) = first else { return };
            let overdraws = if first.bytes <= self.free() {
                Overdraws::No
            } else if self.beyond == Beyond::One && !self.overdrawn.get() {
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

impl Lent<'_> {
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
        self.room
            .lent
            .set(self.room.lent.get().saturating_add(more));
    }

    pub(super) fn join(&mut self, mut more: Self) {
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
            self.room.give_back(more, Overdraws::No);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.bytes, self.overdraws);
    }
}

/// Leaves the queue when dropped, and gives back what was granted meanwhile.
struct Queued<'w> {
    room: &'w Room,
    place: Rc<Place>,
}

impl<'w> Queued<'w> {
    fn new(room: &'w Room, bytes: usize, turn: Instant) -> Self {
        let place = Rc::new(Place {
            turn,
            bytes,
            granted: Cell::new(None),
            wake: Notify::new(),
        });
        room.queue.borrow_mut().push(Rc::clone(&place));
        room.serve();
        Self { room, place }
    }

    /// The permit, if it was granted.
    fn take(&self) -> Option<Lent<'w>> {
        let overdraws = self.place.granted.get()?;
        let mut queue = self.room.queue.borrow_mut();
        queue.retain(|place| !Rc::ptr_eq(place, &self.place));
        Some(Lent {
            room: self.room,
            bytes: self.place.bytes,
            overdraws,
        })
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut queue = self.room.queue.borrow_mut();
        let before = queue.len();
        queue.retain(|place| !Rc::ptr_eq(place, &self.place));
        let left = queue.len() < before;
        drop(queue);
        if !left {
            return;
        }
        if let Some(overdraws) = self.place.granted.get() {
            self.room.give_back(self.place.bytes, overdraws);
        } else {
            self.room.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::pace::{Holder, Holders};
    use futures_util::FutureExt as _;
    use std::time::Duration;

    fn keeper<'a>(holders: &'a Holders, holder: &'a Rc<Holder>) -> Keeper<'a> {
        Keeper {
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
        let slow = Keeper {
            held,
            ..keeper(holders, holder)
        };
        let peer = sleep(Duration::from_secs(3)).map(Ok);
        slow.patiently(peer).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_gateway_waiting_comes_after_who_does_not() {
        let (holders, room) = (Holders::new(), Room::new(Kind::Slot, 10, Beyond::Nobody));
        let all = room.try_lend(10).unwrap();
        let [slow, quick] = [Rc::<Holder>::default(), Rc::default()];
        keeps_waiting(&holders, &slow).await;
        let mut first = Box::pin(room.lend(10, keeper(&holders, &slow)));
        assert!(first.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(2)).await;
        let mut second = Box::pin(room.lend(10, keeper(&holders, &quick)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(all);
        assert!(first.as_mut().now_or_never().is_none());
        drop(second.await);
        drop(first.await);
        assert_eq!(room.free(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_goes_beyond_what_there_is_and_the_next_when_it_has_ended() {
        let (holders, room) = (Holders::new(), Room::new(Kind::Loan, 10, Beyond::One));
        let _all = room.try_lend(9).unwrap();
        let [one, two] = [Rc::<Holder>::default(), Rc::default()];
        let mut first = room.lend(5, keeper(&holders, &one)).await.unwrap();
        assert!(first.overdraws());
        first.overdraw(20);
        let mut second = Box::pin(room.lend(5, keeper(&holders, &two)));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.await.is_ok_and(|lent| lent.overdraws()));
        assert_eq!(room.free(), 1);
        assert!(!room.overdrawn.get());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_no_longer_leaves_its_place_and_what_it_was_granted() {
        let (holders, room) = (Holders::new(), Room::new(Kind::Slot, 10, Beyond::Nobody));
        let all = room.try_lend(10).unwrap();
        let holder = Rc::<Holder>::default();
        for granted in [None, Some(all)] {
            let mut wait = Box::pin(room.lend(10, keeper(&holders, &holder)));
            assert!(wait.as_mut().now_or_never().is_none());
            drop(granted);
            drop(wait);
            assert!(room.queue.borrow().is_empty());
        }
        assert_eq!(room.free(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_joined_and_shrunk_is_given_back_once() {
        let room = Room::new(Kind::Loan, 10, Beyond::One);
        let mut lent = room.try_lend(3).unwrap();
        lent.join(room.try_lend(5).unwrap());
        assert_eq!((lent.bytes(), room.free()), (8, 2));
        lent.shrink(1);
        assert_eq!((lent.bytes(), room.free()), (1, 9));
        assert!(!room.is_scarce());
        drop(lent);
        assert_eq!(room.free(), 10);
    }
}
