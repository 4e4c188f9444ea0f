//! The hot-swapped snapshot, and the channel for misses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{mpsc, oneshot, watch};

use crate::envelope::Kid;

use super::{Closed, RateLimiter, Snapshot};

/// Misses that may be queued; further ones wait until their deadline.
const MISS_QUEUE: usize = 1024;

/// Limits lookups of kids unknown to the snapshot, for all connections together. Anybody who can publish can make such kids up; a
/// real new version is in the snapshot soon after the first of its kids has caused a read of the catalogue.
const UNKNOWN: RateLimiter = RateLimiter::new(256, Duration::from_millis(4));

/// The keys of the process. Readers load, rotation installs.
pub struct Keys {
    snapshot: ArcSwap<Snapshot>,
    misses: mpsc::Sender<Miss>,
    unknown: Mutex<RateLimiter>,
    /// Counts what [`Changes`] wait for.
    changes: watch::Sender<u64>,
}

/// Notifies of new snapshots and extended budgets.
pub struct Changes(watch::Receiver<u64>);

/// A request for a version that is not in the snapshot.
pub struct Miss {
    /// The version asked for.
    pub kid: Kid,
    /// The connection's recent use of its rate limit: the least comes first.
    pub spent: Duration,
    answer: oneshot::Sender<Verdict>,
}

/// What a connection states with a miss.
#[derive(Clone, Copy, Debug)]
pub struct MissRequest {
    /// The time of the miss.
    pub now: Instant,
    /// Its recent use of its rate limit.
    pub spent: Duration,
}

/// What became of a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The version is in the snapshot now.
    Loaded,
    /// There is no such version.
    Absent,
    /// It is known, and may not open.
    Closed(Closed),
    /// It may open, and its secret cannot be unwrapped.
    Unloadable,
    /// Rate-limited: it was not looked up.
    Refused,
}

impl Miss {
    /// A miss, and the receiver of its verdict.
    #[must_use]
    pub fn new(kid: Kid, spent: Duration) -> (Self, oneshot::Receiver<Verdict>) {
        let (answer, verdict) = oneshot::channel();
        (Self { kid, spent, answer }, verdict)
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.answer.is_closed()
    }

    /// Sends the verdict.
    pub fn answer(self, verdict: Verdict) {
        if self.answer.send(verdict).is_err() {
            tracing::trace!("whoever asked for the key version has gone");
        }
    }
}

impl Keys {
    /// The keys, and the receiver of misses, which rotation answers.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> (Self, mpsc::Receiver<Miss>) {
        let (misses, asked) = mpsc::channel(MISS_QUEUE);
        (
            Self {
                snapshot: ArcSwap::from_pointee(snapshot),
                misses,
                unknown: Mutex::new(UNKNOWN),
                changes: watch::Sender::new(0),
            },
            asked,
        )
    }

    /// The snapshot valid now. Load once per batch; never hold the guard across an await.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The same as an `Arc`, which may be held across an await.
    #[must_use]
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Replaces the snapshot. Batches that began before finish under the old one.
    pub fn install(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.replenished();
    }

    /// A budget has been extended: wakes those that wait for it.
    pub fn replenished(&self) {
        self.changes
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Changes from now on. Subscribe, then try, then wait: what happens after the subscription ends the wait at once.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.changes.subscribe())
    }

    /// Asks for an absent version and waits for the verdict. The caller bounds the wait.
    pub async fn miss(&self, kid: Kid, MissRequest { now, spent }: MissRequest) -> Verdict {
        if !self.load().on_demand().contains(&kid) {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            if !unknown.take(now) {
                return Verdict::Refused;
            }
        }
        let (miss, verdict) = Miss::new(kid, spent);
        if self.misses.send(miss).await.is_err() {
            return Verdict::Absent;
        }
        verdict.await.unwrap_or(Verdict::Absent)
    }
}

impl Changes {
    /// Waits for a snapshot that was installed, or a budget that was extended, since the subscription or the last wait; for ever,
    /// once [`Keys`] is dropped.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
