//! Backpressure: memory for bytes in hand is bounded for each worker (`limits.pending`), so that slow peers cannot fill it.
//!
//! A direction takes a slot when bytes arrive and gives it back when they are processed, or when it waits for the rest of an
//! operation, whose beginning is kept in a loan. The loan of a message larger than a read doubles as its bytes arrive, whatever
//! size the message announces. A direction that gets no memory does not read; [`super::slow_peers`] says from whom memory is revoked
//! then. Small reads, of handshakes above all, have reserved slots, each for one read.
//!
//! Loans are taken before slots, so that a holder of a slot never waits for a loan of one that waits for a slot; [`Overdraft::One`]
//! resolves the remaining deadlock.

use std::rc::Rc;

use crate::wire::Buffer;

use super::buffer_pool::{BufferPool, READ_SIZE};
use super::byte_semaphore::{BytePermit, ByteSemaphore, Overdraft};
use super::slow_peers::{Held, Holder, Holders, MemoryKind, PeerStatus, PeerWait};
use super::socket_error::SocketError;

/// The bytes of a slot: a read, and the output of its batch.
const SLOT: usize = 6 * READ_SIZE;

/// A message is held twice: as read, and as written.
const COPIES: usize = 2;

/// The beginning of an operation up to this size is kept outside the limit; also the size of a small read.
const SMALL_READ: usize = 4 * 1024;

/// The smallest read into a loan.
const SMALLEST_READ: usize = 16 * 1024;

/// One slot in so many is reserved for small reads.
const RESERVE: usize = 4;

/// One part in so many of the loans is kept for the one that overdraws.
const OVERDRAFT: usize = 4;

/// A worker's memory for bytes in hand.
pub(super) struct PendingMemory {
    pub(super) pool: BufferPool,
    slots: ByteSemaphore,
    /// Slots for small reads.
    reserve: ByteSemaphore,
    /// For incomplete operations.
    loans: ByteSemaphore,
    holders: Holders,
}

/// What one direction of a session has read and not processed.
#[derive(Default)]
pub(super) struct Input<'w> {
    pub(super) buffer: Buffer,
    holder: Rc<Holder>,
    slot: Option<BytePermit<'w>>,
    /// A slot for one small read.
    reserve: Option<BytePermit<'w>>,
    loan: Option<BytePermit<'w>>,
}

impl PendingMemory {
    /// Half of `bytes` for slots, half for loans; at least one slot of each kind.
    pub(super) fn new(bytes: usize) -> Self {
        let half = bytes / 2;
        let slots = half / SLOT;
        let reserve = (slots / RESERVE).max(1);
        let slots = slots.saturating_sub(reserve).max(1);
        let room = |kind, count: usize| {
            ByteSemaphore::new(kind, SLOT.saturating_mul(count), Overdraft::Never)
        };
        let loans = half.saturating_sub(half / OVERDRAFT);
        Self {
            pool: BufferPool::default(),
            slots: room(MemoryKind::Slot, slots),
            reserve: room(MemoryKind::Reserve, reserve),
            loans: ByteSemaphore::new(MemoryKind::Loan, loans, Overdraft::One),
            holders: Holders::new(),
        }
    }
}

impl<'w> Input<'w> {
    /// With bytes that were read already and count as no slot yet.
    pub(super) fn holding(buffer: Buffer) -> Self {
        Self {
            buffer,
            ..Self::default()
        }
    }

    /// Whether its peer has been accepted.
    pub(super) fn set_status(&self, status: PeerStatus) {
        self.holder.set_status(status);
    }

    /// The peer has sent so much.
    pub(super) fn moved(&self, bytes: usize) {
        self.holder.moved(bytes);
    }

    /// For waiting for the peer that sends.
    pub(super) fn peer_wait<'a>(&'a self, pending: &'a PendingMemory) -> PeerWait<'a> {
        let bytes = |lent: &Option<BytePermit<'_>>| lent.as_ref().map_or(0, BytePermit::bytes);
        PeerWait {
            holders: &pending.holders,
            holder: &self.holder,
            held: Held {
                slot: bytes(&self.slot),
                reserve: bytes(&self.reserve),
                loan: bytes(&self.loan),
            },
        }
    }

    /// For waiting for the peer that reads the output.
    pub(super) fn write_wait<'a>(&'a self, pending: &'a PendingMemory) -> PeerWait<'a> {
        self.holder.reset_pace();
        self.peer_wait(pending)
    }

    /// Takes memory for a read towards `need` bytes, waiting if necessary. Returns the most bytes to read.
    ///
    /// # Errors
    /// [`Shed`](super::slow_peers::Shed).
    pub(super) async fn make_room(
        &mut self,
        need: usize,
        pending: &'w PendingMemory,
    ) -> Result<usize, SocketError> {
        let filled = self.buffer.len();
        if self.peer_wait(pending).held == Held::default() {
            self.holder.begin(&pending.holders);
        }
        let read = read_size(filled, need);
        let want = filled.saturating_add(read);
        if need > READ_SIZE {
            let copies = if want > READ_SIZE { COPIES } else { 1 };
            let bytes = want.saturating_mul(copies);
            if !self.borrow(bytes, pending) {
                Box::pin(self.wait_for_loan(bytes, pending)).await?;
            }
        }
        let overdraws = self.loan.as_ref().is_some_and(BytePermit::overdraws);
        if self.slot.is_none() && !overdraws {
            self.leave_reserve(pending);
            self.slot = pending.slots.try_acquire(SLOT);
            if self.slot.is_none() {
                Box::pin(self.wait_for_slot(need, pending)).await?;
            }
        }
        if self.buffer.capacity() < READ_SIZE {
            let morsel = std::mem::replace(&mut self.buffer, pending.pool.take());
            self.buffer.put(morsel.filled());
        }
        self.buffer.reserve(read);
        // Where there are no loans, what turns out to be large must not wait with a slot.
        let lends = self.loan.is_some() || pending.loans.available() >= READ_SIZE;
        let small = need <= SMALL_READ && filled < SMALL_READ;
        Ok(if self.reserve.is_some() || small && !lends {
            // No more than is kept outside the limit.
            SMALL_READ.saturating_sub(filled).max(1)
        } else if need > READ_SIZE || pending.loans.is_scarce() {
            read
        } else {
            // As much as the buffer takes.
            usize::MAX
        })
    }

    /// Grows the loan to `bytes` without waiting; whether that succeeded.
    fn borrow(&mut self, bytes: usize, pending: &'w PendingMemory) -> bool {
        let more = bytes.saturating_sub(self.loaned());
        if more == 0 {
            return true;
        }
        if let Some(loan) = self.loan.as_mut().filter(|loan| loan.overdraws()) {
            loan.overdraw(more);
            return true;
        }
        let lent = pending.loans.try_acquire(more);
        lent.map(|lent| self.take_loan(lent)).is_some()
    }

    async fn wait_for_loan(
        &mut self,
        bytes: usize,
        pending: &'w PendingMemory,
    ) -> Result<(), SocketError> {
        self.settle(pending);
        let more = bytes.saturating_sub(self.loaned());
        let lent = pending.loans.acquire(more, self.peer_wait(pending)).await?;
        self.take_loan(lent);
        Ok(())
    }

    fn loaned(&self) -> usize {
        self.loan.as_ref().map_or(0, BytePermit::bytes)
    }

    fn take_loan(&mut self, lent: BytePermit<'w>) {
        match &mut self.loan {
            Some(loan) => loan.merge(lent),
            None => self.loan = Some(lent),
        }
    }

    /// A reserved slot is for one read: continuous readers must not keep it.
    fn leave_reserve(&mut self, pending: &PendingMemory) {
        if self.reserve.is_some() {
            self.set_aside(pending);
            self.holder.begin(&pending.holders);
        }
    }

    /// Waits for a slot; for a small read, for a reserved one.
    async fn wait_for_slot(
        &mut self,
        need: usize,
        pending: &'w PendingMemory,
    ) -> Result<(), SocketError> {
        let small = need <= SMALL_READ && self.buffer.len() < SMALL_READ && self.loan.is_none();
        let peer_wait = self.peer_wait(pending);
        if small {
            self.reserve = Some(pending.reserve.acquire(SLOT, peer_wait).await?);
        } else {
            self.slot = Some(pending.slots.acquire(SLOT, peer_wait).await?);
        }
        Ok(())
    }

    /// Gives the buffer and all memory back; bytes in the buffer are lost.
    pub(super) fn release(&mut self, pending: &PendingMemory) {
        if self.buffer.capacity() != 0 {
            pending.pool.give(std::mem::take(&mut self.buffer));
        }
        self.slot = None;
        self.reserve = None;
        self.loan = None;
        self.holder.end();
    }

    /// Shrinks to the memory that the beginning of an operation needs, before the rest is waited for.
    pub(super) fn settle(&mut self, pending: &'w PendingMemory) {
        let filled = self.buffer.len();
        if filled <= SMALL_READ {
            if self.peer_wait(pending).held != Held::default() {
                self.set_aside(pending);
            }
            return;
        }
        let scarce = pending.loans.is_scarce();
        let needs = match filled {
            // A pooled buffer is kept while memory is plentiful.
            0..=READ_SIZE if scarce => filled.next_power_of_two(),
            0..=READ_SIZE => READ_SIZE,
            _ => filled.saturating_mul(COPIES),
        };
        let more = needs.saturating_sub(self.loaned());
        if more != 0 {
            let Some(lent) = pending.loans.try_acquire(more) else {
                // Keeps its slot, then.
                return;
            };
            self.take_loan(lent);
        } else if let Some(loan) = self.loan.as_mut().filter(|_| filled <= READ_SIZE) {
            loan.shrink(needs);
        }
        if scarce && filled <= READ_SIZE && self.buffer.capacity() > needs {
            self.move_into(Buffer::with_capacity(needs), pending);
        }
        self.slot = None;
        self.reserve = None;
    }

    /// Gives all memory back and keeps the bytes.
    fn set_aside(&mut self, pending: &PendingMemory) {
        self.move_into(Buffer::with_capacity(self.buffer.len()), pending);
        let kept = std::mem::take(&mut self.buffer);
        self.release(pending);
        self.buffer = kept;
    }

    fn move_into(&mut self, mut other: Buffer, pending: &PendingMemory) {
        other.put(self.buffer.filled());
        pending
            .pool
            .give(std::mem::replace(&mut self.buffer, other));
    }
}

/// The size of the next read: up to a pooled buffer, then as much as has arrived, so that announcing a large message reserves
/// nothing.
fn read_size(filled: usize, need: usize) -> usize {
    match READ_SIZE.saturating_sub(filled) {
        rest @ SMALLEST_READ.. => rest,
        _ => need.saturating_sub(filled).clamp(SMALLEST_READ, filled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const MIB: usize = 1024 * 1024;

    /// Free bytes of slots and of loans.
    fn room(pending: &PendingMemory) -> (usize, usize) {
        (pending.slots.available(), pending.loans.available())
    }

    async fn reads(input: &mut Input<'_>, bytes: usize) {
        input.buffer.put(&vec![b'x'; bytes]);
        input.moved(bytes);
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn room_is_taken_by_whoever_has_bytes_and_given_back() {
        let pending = PendingMemory::new(8 * SLOT);
        let before = room(&pending);
        assert_eq!(before.0, 3 * SLOT);
        let mut input = Input::default();
        input.make_room(0, &pending).await.unwrap();
        assert_eq!(room(&pending), (2 * SLOT, before.1));
        input.release(&pending);
        assert_eq!(room(&pending), before);
    }

    #[tokio::test]
    async fn room_for_a_large_message_is_lent_as_its_bytes_come() {
        let pending = PendingMemory::new(32 * MIB);
        let before = room(&pending);
        let mut input = Input::default();
        let mut lent = Vec::new();
        for arrived in [0, 10, 50, 64, 128, 512, 1000] {
            let more = arrived * 1024 - input.buffer.len();
            reads(&mut input, more).await;
            input.settle(&pending);
            input.make_room(MIB, &pending).await.unwrap();
            lent.push((before.1 - room(&pending).1) / 1024);
        }
        // A pooled buffer; then twice what it may grow to, as read and as written.
        assert_eq!(lent, [64, 64, 200, 256, 512, 2048, 2048]);
        input.release(&pending);
        assert_eq!(room(&pending), before);
    }

    #[tokio::test]
    async fn ordinary_message_is_read_without_a_loan() {
        let pending = PendingMemory::new(32 * MIB);
        let mut input = Input::default();
        for _ in 0..3 {
            input.make_room(READ_SIZE, &pending).await.unwrap();
            reads(&mut input, READ_SIZE / 4).await;
        }
        assert!(input.loan.is_none());
    }

    #[tokio::test]
    async fn beginning_of_an_operation_takes_less_room_than_a_buffer_once_room_is_scarce() {
        let pending = PendingMemory::new(32 * MIB);
        let _others = pending.loans.try_acquire(pending.loans.available() / 2 + 1);
        let before = room(&pending);
        let mut input = Input::default();
        input.make_room(0, &pending).await.unwrap();
        reads(&mut input, 10_000).await;
        input.settle(&pending);
        assert_eq!(room(&pending), (before.0, before.1 - 16 * 1024));
        assert_eq!(input.buffer.capacity(), 16 * 1024);
        assert_eq!(input.buffer.filled(), [b'x'; 10_000]);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_peer_keeps_its_slot_only_where_nothing_can_be_lent() {
        let pending = PendingMemory::new(32 * MIB);
        let others = pending.loans.try_acquire(pending.loans.available());
        let before = room(&pending);
        let mut input = Input::default();
        input.make_room(0, &pending).await.unwrap();
        reads(&mut input, 10_000).await;
        input.settle(&pending);
        assert_eq!(room(&pending).0, before.0 - SLOT);
        drop(others);
        input.settle(&pending);
        assert_eq!(room(&pending).0, before.0);
    }

    #[tokio::test]
    async fn message_larger_than_all_room_is_read() {
        let pending = PendingMemory::new(1);
        let mut input = Input::default();
        for _ in 0..32 {
            let ready = input.make_room(2 * MIB, &pending).now_or_never();
            ready.expect("nobody else").unwrap();
            reads(&mut input, READ_SIZE).await;
            input.settle(&pending);
        }
        input.release(&pending);
        assert_eq!(room(&pending), (SLOT, 0));
    }

    async fn ends<'w>(input: &mut Input<'w>, pending: &'w PendingMemory) {
        while input.buffer.len() < MIB {
            input.make_room(MIB, pending).await.unwrap();
            reads(input, READ_SIZE).await;
        }
        input.release(pending);
    }

    #[tokio::test]
    async fn messages_that_have_all_room_between_them_are_read_one_after_the_other() {
        let pending = PendingMemory::new(MIB);
        let mut inputs: Vec<_> = (0..4).map(|_| Input::default()).collect();
        for input in &mut inputs {
            reads(input, READ_SIZE).await;
            input.settle(&pending);
        }
        let both = &pending;
        let reading = inputs.iter_mut().map(|input| ends(input, both));
        futures_util::future::join_all(reading).await;
    }

    #[tokio::test]
    async fn whoever_finds_no_room_waits_until_somebody_gives_it_back() {
        let pending = PendingMemory::new(1);
        let (mut first, mut second) = (Input::default(), Input::default());
        first.make_room(0, &pending).await.unwrap();
        let mut wait = Box::pin(second.make_room(READ_SIZE, &pending));
        assert!(wait.as_mut().now_or_never().is_none());
        first.release(&pending);
        wait.await.unwrap();
    }

    #[tokio::test]
    async fn morsel_of_an_operation_takes_no_room_until_the_rest_comes() {
        let pending = PendingMemory::new(1);
        let mut input = Input::default();
        input.make_room(0, &pending).await.unwrap();
        input.buffer.put(b"PUB a 1");
        input.settle(&pending);
        assert_eq!(room(&pending).0, SLOT);
        assert_eq!(input.buffer.filled(), b"PUB a 1");
        assert!(input.buffer.capacity() < READ_SIZE);
        input.make_room(0, &pending).await.unwrap();
        assert_eq!(input.buffer.filled(), b"PUB a 1");
        assert!(input.buffer.capacity() >= READ_SIZE);
    }

    #[tokio::test]
    async fn what_is_small_gets_through_whoever_keeps_all_other_room() {
        let pending = PendingMemory::new(1);
        let mut large = Input::default();
        large.make_room(0, &pending).await.unwrap();
        let (mut first, mut second) = (Input::default(), Input::default());
        let made = first.make_room(0, &pending).now_or_never();
        assert!(made.is_some_and(|most| most.is_ok_and(|most| most == SMALL_READ)));
        // A second read comes after others' first ones.
        first.buffer.put(b"PUB a 1");
        let mut wait = Box::pin(second.make_room(0, &pending));
        assert!(wait.as_mut().now_or_never().is_none());
        let again = first.make_room(0, &pending).now_or_never();
        assert!(again.is_none());
        wait.await.unwrap();
        assert_eq!(first.buffer.filled(), b"PUB a 1");
    }

    #[tokio::test]
    async fn what_grows_large_leaves_the_reserve_and_waits_for_room() {
        let pending = PendingMemory::new(1);
        let (mut large, mut input) = (Input::default(), Input::default());
        large.make_room(0, &pending).await.unwrap();
        input.make_room(0, &pending).await.unwrap();
        input.buffer.put(&[b'x'; SMALL_READ]);
        let mut wait = Box::pin(input.make_room(0, &pending));
        assert!(wait.as_mut().now_or_never().is_none());
        assert_eq!(pending.reserve.available(), SLOT);
        large.release(&pending);
        wait.await.unwrap();
        assert_eq!(input.buffer.len(), SMALL_READ);
    }

    /// A peer that reads 8 KiB at each interval, for a minute.
    async fn takes(
        input: &Input<'_>,
        every: Duration,
        pending: &PendingMemory,
    ) -> Result<(), SocketError> {
        let peer_wait = input.write_wait(pending);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let peer = async {
                sleep(every).await;
                Ok(())
            };
            peer_wait.unless_revoked(peer).await?;
            peer_wait.holder.moved(8 * 1024);
        }
        Ok(())
    }

    /// The same; gives its memory back in the end.
    async fn given_up(
        input: &mut Input<'_>,
        every: Duration,
        pending: &PendingMemory,
    ) -> Result<(), SocketError> {
        let taken = takes(input, every, pending).await;
        input.release(pending);
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_slowly_what_it_gets_is_given_up_only_for_others() {
        let pending = PendingMemory::new(1);
        let slow = [100, 1000, 10_000].map(Duration::from_millis);
        for every in slow {
            let mut first = Input::default();
            first.make_room(0, &pending).await.unwrap();
            takes(&first, every, &pending).await.unwrap();
        }
        for every in slow {
            let (mut first, mut second) = (Input::default(), Input::default());
            first.make_room(0, &pending).await.unwrap();
            let taking = given_up(&mut first, every, &pending);
            let waiting = second.make_room(READ_SIZE, &pending);
            let (taken, lent) = tokio::join!(taking, waiting);
            assert!(taken.is_err() && lent.is_ok(), "{every:?}");
        }
    }

    /// A peer that sends a MiB at this rate.
    async fn sends(rate: usize, pending: &PendingMemory) -> Result<(), SocketError> {
        let mut input = Input::default();
        while input.buffer.len() < MIB {
            input.settle(pending);
            let peer = async {
                sleep(Duration::from_millis(100)).await;
                Ok(())
            };
            input.peer_wait(pending).unless_revoked(peer).await?;
            input.make_room(MIB, pending).await?;
            reads(&mut input, rate / 10).await;
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn slow_link_gets_a_large_message_through_while_there_is_room() {
        let pending = PendingMemory::new(16 * MIB);
        let both = &pending;
        let rates = [16, 125, 1000].map(|kib| sends(kib * 1024, both));
        let sent = futures_util::future::join_all(rates).await;
        assert!(sent.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn crowd_that_drips_gives_way_to_whoever_is_quicker() {
        let pending = PendingMemory::new(16 * MIB);
        let both = &pending;
        let crowd = futures_util::future::join_all((0..200).map(|_| sends(80 * 1024, both)));
        let quick = async {
            sleep(Duration::from_secs(3)).await;
            sends(4 * MIB, both).await
        };
        let (crowd, quick) = tokio::join!(crowd, quick);
        assert!(quick.is_ok());
        assert!(crowd.iter().any(Result::is_err));
    }
}
