//! The hot-swapped snapshot and the channel through which an absent version is asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{mpsc, oneshot, watch};

use crate::envelope::Kid;

use super::{Allowance, Closed, Snapshot};

/// How many misses may wait to be looked up; more are told to wait for their deadline.
const MISS_QUEUE: usize = 1024;

/// How often a kid is asked for that the snapshot has never heard of, by all connections together. Such kids are the bus's to make
/// up; one that is really new is in the snapshot soon after the first of them has had the catalogue read.
const UNKNOWN: Allowance = Allowance::new(256, Duration::from_millis(4));

/// The keys of the process. Readers load, rotation installs.
pub struct Keys {
    snapshot: ArcSwap<Snapshot>,
    misses: mpsc::Sender<Miss>,
    unknown: Mutex<Allowance>,
    /// Counts what [`Changes`] wait for.
    changes: watch::Sender<u64>,
}

/// What happens to the keys from now on, for whoever waits for something to seal with.
pub struct Changes(watch::Receiver<u64>);

/// Somebody needs a version that is not in the snapshot.
pub struct Miss {
    /// The version asked for.
    pub kid: Kid,
    /// How much its connection has asked lately: whoever has asked less comes first.
    pub spent: Duration,
    answer: oneshot::Sender<Verdict>,
}

/// A connection that asks for a version.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// When.
    pub now: Instant,
    /// How much it has asked lately.
    pub spent: Duration,
}

/// What became of a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The version is in the snapshot now.
    Loaded,
    /// There is no such version.
    Absent,
    /// It is known, and does not open.
    Closed(Closed),
    /// It may open, and its secret cannot be unwrapped.
    Unloadable,
    /// Too much has been asked lately: nobody has looked.
    Refused,
}

impl Miss {
    /// Somebody asks, and waits at the other end.
    #[must_use]
    pub fn new(kid: Kid, spent: Duration) -> (Self, oneshot::Receiver<Verdict>) {
        let (answer, verdict) = oneshot::channel();
        (Self { kid, spent, answer }, verdict)
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers whoever waits.
    pub fn answer(self, verdict: Verdict) {
        if self.answer.send(verdict).is_err() {
            tracing::trace!("whoever asked for the key version has gone");
        }
    }
}

impl Keys {
    /// The keys, and the misses that rotation has to answer.
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

    /// The same, to be held for as long as it takes.
    #[must_use]
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Replaces the snapshot. Batches that began before finish under the old one.
    pub fn install(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.replenished();
    }

    /// A budget has been extended: whoever was refused may try again.
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
    pub async fn miss(&self, kid: Kid, Asking { now, spent }: Asking) -> Verdict {
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
    /// Waits for a snapshot that was installed, or a budget that was extended, since the subscription or the last wait. Waits for
    /// ever once the keys are gone.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
