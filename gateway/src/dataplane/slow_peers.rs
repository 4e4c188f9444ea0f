//! Slow peers are shed when others wait for the memory that their bytes occupy.
//!
//! There is no minimum rate while nobody waits. Otherwise a holder of memory is measured by the bytes that its peer has moved in
//! the time that the gateway waited for it: the required rate grows with the memory held, and with the time for which others have
//! waited. From those below it memory is revoked, the slowest first, until all waiters can be served.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::{self, Gauge};

use super::socket_error::SocketError;

/// How long others wait before a holder is measured.
const PATIENCE: Duration = Duration::from_secs(1);

/// Idle time of a peer that is not counted: networks pause.
const PAUSE: Duration = Duration::from_millis(250);

/// The required rate of the smallest holder, in bytes per second.
const RATE: u64 = 64 * 1024;

/// The required rate grows by `RATE` for each so many bytes held.
const BYTES_STEP: u64 = 512 * 1024;

/// And by the result for each such time in which others have waited.
const TIME_STEP: Duration = Duration::from_secs(2);

/// A holder that wants more is queued one second later for each so many bytes that it holds.
const BYTES_LATER: u64 = 8 * 1024;

/// The interval in which a waiter checks for slow holders.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(100);

/// A check within this time of another is skipped: one serves all waiters.
const CHECK_VALID: Duration = Duration::from_millis(50);

/// What the memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryKind {
    /// A read, and the output of its batch.
    Slot,
    /// One small read.
    Reserve,
    /// Incomplete operations.
    Loan,
}

/// What one direction of a session holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) slot: usize,
    pub(super) reserve: usize,
    pub(super) loan: usize,
}

/// Whether a peer has been accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PeerStatus {
    /// A server, or a client that a server has accepted.
    #[default]
    Accepted,
    /// No server has accepted it yet: its memory is the first to be revoked, at once.
    Unaccepted,
}

/// What a peer has moved since memory was taken for it.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    moved: u64,
    /// How long the gateway has waited for it.
    idle: Duration,
}

/// One direction of a session, as a holder of memory.
#[derive(Default)]
pub(super) struct Holder {
    held: Cell<Held>,
    pace: Cell<Pace>,
    status: Cell<PeerStatus>,
    /// How long others had waited in total when it took memory.
    begun: Cell<Duration>,
    /// Since when the gateway waits for its peer.
    since: Cell<Option<Instant>>,
    /// Since when it waits for more memory itself.
    queued: Cell<Option<Instant>>,
    revoked: Cell<bool>,
    wake: Notify,
    /// Its index in `Holders`.
    place: Cell<usize>,
}

/// The holders whose memory can be revoked, and how long others have waited for memory.
pub(super) struct Holders {
    revocable: RefCell<Vec<Rc<Holder>>>,
    waiting: Cell<usize>,
    /// Since when there are waiters.
    since: Cell<Instant>,
    /// How long there were waiters before that.
    waited: Cell<Duration>,
    checked: Cell<Option<Instant>>,
    gauge: Gauge,
}

/// What a holder waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Its peer.
    Peer,
    /// More memory.
    Memory,
}

/// A holder and what it holds, for waiting for its peer.
#[derive(Clone, Copy)]
pub(super) struct PeerWait<'a> {
    pub(super) holders: &'a Holders,
    pub(super) holder: &'a Rc<Holder>,
    pub(super) held: Held,
}

impl Held {
    const fn all(self) -> usize {
        self.slot
            .saturating_add(self.reserve)
            .saturating_add(self.loan)
    }

    const fn of(self, kind: MemoryKind) -> usize {
        match kind {
            MemoryKind::Slot => self.slot,
            MemoryKind::Reserve => self.reserve,
            MemoryKind::Loan => self.loan,
        }
    }
}

/// The required rate in bytes per second, for `held` bytes when others have waited for `kept`.
fn demanded(held: usize, kept: Duration) -> u64 {
    let held = u64::try_from(held).unwrap_or(u64::MAX);
    let by_size = RATE.saturating_add(times(RATE, held, BYTES_STEP));
    by_size.saturating_add(times(by_size, millis(kept), millis(TIME_STEP)))
}

/// `what` times `part` over `whole`.
fn times(what: u64, part: u64, whole: u64) -> u64 {
    let all = u128::from(what).saturating_mul(u128::from(part));
    let share = all.checked_div(u128::from(whole)).unwrap_or(all);
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Pace {
    /// The moved part of what is required, in thousandths; `None` if it suffices or is not required yet.
    fn shortfall(self, held: usize, kept: Duration) -> Option<u64> {
        let judged = self.idle.checked_sub(PAUSE)?;
        if kept < PATIENCE {
            return None;
        }
        let owed = times(demanded(held, kept), millis(judged), 1000);
        (self.moved < owed).then(|| times(self.moved, 1000, owed))
    }
}

impl Holder {
    /// It takes its first memory.
    pub(super) fn begin(&self, holders: &Holders) {
        self.begun.set(holders.waited());
    }

    /// It has given all memory back.
    pub(super) fn end(&self) {
        self.pace.take();
        self.revoked.set(false);
        self.queued.set(None);
    }

    /// Measures from now on: another peer is waited for, or more depends on this one.
    pub(super) fn reset_pace(&self) {
        self.pace.take();
    }

    /// The peer has sent or read so much.
    pub(super) fn moved(&self, bytes: usize) {
        let pace = self.pace.get();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let moved = pace.moved.saturating_add(bytes);
        self.pace.set(Pace { moved, ..pace });
    }

    pub(super) fn set_status(&self, status: PeerStatus) {
        self.status.set(status);
    }

    /// Its position in the queue for memory: the time of arrival, plus the peer's idle time, plus a penalty for memory held. Fast
    /// and small ones pass slow and large ones, which do not starve.
    pub(super) fn queue_position(&self, held: Held) -> Instant {
        let queued = self.queued.get().unwrap_or_else(Instant::now);
        self.queued.set(Some(queued));
        let held = u64::try_from(held.all()).unwrap_or(u64::MAX);
        let held = Duration::from_millis(times(1000, held, BYTES_LATER));
        let later = self.pace.get().idle.saturating_add(held);
        queued.checked_add(later).unwrap_or(queued)
    }

    /// It has got the memory.
    pub(super) fn served(&self) {
        self.queued.set(None);
    }

    /// Waits until its memory is revoked.
    pub(super) async fn revoked(&self) {
        while !self.revoked.get() {
            self.wake.notified().await;
        }
    }

    fn idle(&self, now: Instant) -> Duration {
        let since = self.since.get();
        let now = since.map_or(Duration::ZERO, |since| now.duration_since(since));
        self.pace.get().idle.saturating_add(now)
    }

    fn shortfall(&self, now: Instant, waited: Duration) -> Option<u64> {
        match self.status.get() {
            PeerStatus::Unaccepted => Some(0),
            PeerStatus::Accepted => {
                let idle = self.idle(now);
                let kept = waited.saturating_sub(self.begun.get());
                let pace = self.pace.get();
                Pace { idle, ..pace }.shortfall(self.held.get().all(), kept)
            }
        }
    }
}

impl Holders {
    pub(super) fn new() -> Self {
        Self {
            revocable: RefCell::default(),
            waiting: Cell::new(0),
            since: Cell::new(Instant::now()),
            waited: Cell::new(Duration::ZERO),
            checked: Cell::new(None),
            gauge: metrics::pending_waiting(),
        }
    }

    /// How long there have been waiters in total.
    fn waited(&self) -> Duration {
        let now = match self.waiting.get() {
            0 => Duration::ZERO,
            _ => self.since.get().elapsed(),
        };
        self.waited.get().saturating_add(now)
    }

    /// Revokes memory of this kind from slow holders, as much as all waiters need.
    pub(super) fn revoke_slow(&self, (kind, needed): (MemoryKind, usize), caller: &Rc<Holder>) {
        let now = Instant::now();
        let fresh = |checked: Instant| now.duration_since(checked) < CHECK_VALID;
        if self.checked.get().is_some_and(fresh) {
            return;
        }
        self.checked.set(Some(now));
        let waited = self.waited();
        let alone = self.waiting.get() <= 1;
        let mut needed = needed;
        let mut slow = Vec::new();
        for holder in self.revocable.borrow().iter() {
            let gives = holder.held.get().of(kind);
            if holder.revoked.get() {
                needed = needed.saturating_sub(gives);
            } else if gives == 0 || alone && Rc::ptr_eq(holder, caller) {
            } else if let Some(moved) = holder.shortfall(now, waited) {
                slow.push((moved, Rc::clone(holder)));
            }
        }
        slow.sort_by_key(|(moved, _holder)| *moved);
        for (_moved, holder) in slow {
            if needed == 0 {
                break;
            }
            needed = needed.saturating_sub(holder.held.get().of(kind));
            holder.revoked.set(true);
            holder.wake.notify_one();
        }
    }
}

impl PeerWait<'_> {
    /// Waits for a peer, unless the memory held for it is revoked.
    ///
    /// # Errors
    /// [`SocketError::Shed`], or that of `peer`.
    pub(super) async fn unless_revoked<T>(
        self,
        peer: impl Future<Output = io::Result<T>>,
    ) -> Result<T, SocketError> {
        if self.held == Held::default() {
            return Ok(peer.await?);
        }
        let _watched = Revocable::new(self, WaitsFor::Peer);
        // Revoked even if the peer is ready by now: one that trickles always is.
        tokio::select! {
            biased;
            () = self.holder.revoked() => Err(SocketError::Shed),
            done = peer => Ok(done?),
        }
    }
}

/// Memory of the holder can be revoked while this lives.
pub(super) struct Revocable<'a>(PeerWait<'a>);

impl<'a> Revocable<'a> {
    pub(super) fn new(wait: PeerWait<'a>, waits_for: WaitsFor) -> Self {
        let holder = wait.holder;
        holder.held.set(wait.held);
        let since = (waits_for == WaitsFor::Peer).then(Instant::now);
        holder.since.set(since);
        let mut revocable = wait.holders.revocable.borrow_mut();
        holder.place.set(revocable.len());
        revocable.push(Rc::clone(holder));
        Self(wait)
    }
}

impl Drop for Revocable<'_> {
    fn drop(&mut self) {
        let PeerWait {
            holders, holder, ..
        } = self.0;
        let idle = holder.idle(Instant::now());
        holder.since.set(None);
        let pace = holder.pace.get();
        holder.pace.set(Pace { idle, ..pace });
        let mut revocable = holders.revocable.borrow_mut();
        let place = holder.place.get();
        if place < revocable.len() {
            drop(revocable.swap_remove(place));
        }
        if let Some(moved) = revocable.get(place) {
            moved.place.set(place);
        }
    }
}

/// Counts a waiter while it lives.
pub(super) struct Waiting<'a>(&'a Holders);

impl<'a> Waiting<'a> {
    pub(super) fn new(holders: &'a Holders) -> Self {
        if holders.waiting.get() == 0 {
            holders.since.set(Instant::now());
        }
        holders.waiting.set(holders.waiting.get().saturating_add(1));
        holders.gauge.increment(1.0);
        Self(holders)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let holders = self.0;
        let waited = holders.waited();
        holders.since.set(Instant::now());
        holders.waited.set(waited);
        holders.waiting.set(holders.waiting.get().saturating_sub(1));
        holders.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn pace(moved: usize, idle: Duration) -> Pace {
        let moved = u64::try_from(moved).unwrap();
        Pace { moved, idle }
    }

    #[test]
    fn more_is_demanded_of_who_holds_more_and_of_who_has_held_it_longer() {
        assert_eq!(demanded(0, Duration::ZERO), RATE);
        assert_eq!(demanded(512 * KIB, Duration::ZERO), 2 * RATE);
        assert_eq!(demanded(2 * MIB, Duration::ZERO), 5 * RATE);
        assert_eq!(demanded(0, secs(2)), 2 * RATE);
        assert_eq!(demanded(2 * MIB, secs(6)), 20 * RATE);
        assert_eq!(demanded(usize::MAX, Duration::MAX), u64::MAX);
    }

    #[test]
    fn pace_is_judged_once_others_have_waited_a_second_and_the_peer_has_paused() {
        let idle = pace(0, secs(60));
        assert_eq!(idle.shortfall(1, Duration::from_millis(999)), None);
        assert_eq!(idle.shortfall(1, secs(1)), Some(0));
        assert_eq!(pace(0, PAUSE).shortfall(MIB, secs(60)), None);
        // Without idle time the peer is not slow, however long others have waited.
        assert_eq!(pace(1, Duration::ZERO).shortfall(64 * MIB, secs(60)), None);
    }

    #[test]
    fn slower_of_two_falls_shorter_and_the_larger_of_two_that_are_as_fast() {
        let time = secs(5);
        let slow = pace(100 * KIB, time).shortfall(MIB, time);
        let faster = pace(200 * KIB, time).shortfall(MIB, time);
        let larger = pace(200 * KIB, time).shortfall(2 * MIB, time);
        assert!(slow < faster && larger < faster && larger.is_some());
        assert_eq!(pace(10 * MIB, time).shortfall(2 * MIB, time), None);
    }

    /// The second in which a peer is shed that moves `rate` bytes per second, is always waited for, and holds twice what it has
    /// moved.
    fn lasts(rate: usize) -> Option<u64> {
        (1..60).find(|&s: &u64| {
            let moved = rate.saturating_mul(usize::try_from(s).unwrap());
            pace(moved, secs(s))
                .shortfall(moved.saturating_mul(2), secs(s))
                .is_some()
        })
    }

    #[test]
    fn who_drips_above_the_least_rate_lasts_no_longer_than_others_wait() {
        for rate in [1, 64, 72, 80] {
            assert_eq!(lasts(rate * KIB), Some(1), "{rate}");
        }
        assert!(lasts(MIB) > Some(1));
    }

    fn held(loan: usize) -> Held {
        Held {
            loan,
            ..Held::default()
        }
    }

    type Wait<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), SocketError>> + 'a>>;

    /// Holders of a MiB each with idle peers, as futures that end when memory is revoked.
    fn idle<'a>(holders: &'a Holders, all: &'a [Rc<Holder>]) -> Vec<Wait<'a>> {
        let one = |holder| -> Wait<'a> {
            let wait = PeerWait {
                holders,
                holder,
                held: held(MIB),
            };
            Box::pin(wait.unless_revoked(std::future::pending()))
        };
        let mut idle: Vec<_> = all.iter().map(one).collect();
        for one in &mut idle {
            assert!(one.as_mut().now_or_never().is_none());
        }
        idle
    }

    fn revoked(all: &[Rc<Holder>]) -> Vec<usize> {
        let revoked = all.iter().enumerate().filter(|(_, one)| one.revoked.get());
        revoked.map(|(number, _)| number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_called_back_as_it_takes_and_the_slowest_first() {
        let holders = Holders::new();
        let all: Vec<Rc<Holder>> = (0..5).map(|_| Rc::default()).collect();
        let peers = idle(&holders, &all);
        let caller = Rc::default();
        all.iter()
            .zip([40, 0, 30, 10, 60_000])
            .for_each(|(one, kib)| one.moved(kib * KIB));
        tokio::time::advance(secs(60)).await;
        holders.revoke_slow((MemoryKind::Loan, 2 * MIB), &caller);
        assert_eq!(revoked(&all), [0_usize; 0], "nobody has waited");
        let _waits = Waiting::new(&holders);
        tokio::time::advance(secs(2)).await;
        holders.revoke_slow((MemoryKind::Slot, 2 * MIB), &caller);
        assert_eq!(revoked(&all), [0_usize; 0], "none of them has a slot");
        tokio::time::advance(CHECK_EVERY).await;
        holders.revoke_slow((MemoryKind::Loan, MIB + 1), &caller);
        assert_eq!(revoked(&all), [1, 3]);
        tokio::time::advance(CHECK_EVERY).await;
        holders.revoke_slow((MemoryKind::Loan, 2 * MIB), &caller);
        assert_eq!(revoked(&all), [1, 3], "what is called back is on its way");
        tokio::time::advance(CHECK_EVERY).await;
        holders.revoke_slow((MemoryKind::Loan, 100 * MIB), &caller);
        assert_eq!(revoked(&all), [0, 1, 2, 3], "one of them keeps its pace");
        for (number, peer) in peers.into_iter().enumerate() {
            assert_eq!(peer.now_or_never().is_some(), number != 4);
        }
        assert!(holders.revocable.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_give_way_at_once_and_before_others() {
        let holders = Holders::new();
        let all: Vec<Rc<Holder>> = (0..2).map(|_| Rc::default()).collect();
        all[1].set_status(PeerStatus::Unaccepted);
        let _peers = idle(&holders, &all);
        let _waits = Waiting::new(&holders);
        holders.revoke_slow((MemoryKind::Loan, 2 * MIB), &Rc::default());
        assert_eq!(revoked(&all), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_called_back_is_given_up_although_it_moves_again() {
        let holders = Holders::new();
        let holder = Rc::<Holder>::default();
        holder.revoked.set(true);
        let wait = PeerWait {
            holders: &holders,
            holder: &holder,
            held: held(1),
        };
        let ready = std::future::ready(Ok(()));
        let given_up = wait.unless_revoked(ready).await;
        assert!(matches!(given_up, Err(SocketError::Shed)));
        holder.end();
        let ready = std::future::ready(Ok(()));
        assert!(wait.unless_revoked(ready).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_alone_for_more_is_not_called_back_for_itself() {
        let holders = Holders::new();
        let all = [Rc::<Holder>::default()];
        let _peers = idle(&holders, &all);
        let _waits = Waiting::new(&holders);
        tokio::time::advance(secs(60)).await;
        holders.revoke_slow((MemoryKind::Loan, MIB), &all[0]);
        assert_eq!(revoked(&all), [0_usize; 0]);
    }
}
