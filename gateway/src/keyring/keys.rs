//! The hot-swapped snapshot and the channel through which an absent version is asked for.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{mpsc, oneshot, watch};

use crate::envelope::Kid;

use super::Snapshot;

/// How many misses may wait to be looked up; more are told to wait for their deadline.
const MISS_QUEUE: usize = 1024;

/// The keys of the process. Readers load, rotation installs.
pub struct Keys {
    snapshot: ArcSwap<Snapshot>,
    misses: mpsc::Sender<Miss>,
    /// Counts what [`Changes`] wait for.
    changes: watch::Sender<u64>,
}

/// What happens to the keys from now on, for whoever waits for something to seal with.
pub struct Changes(watch::Receiver<u64>);

/// Somebody needs a version that is not in the snapshot.
pub struct Miss {
    /// The version asked for.
    pub kid: Kid,
    answer: oneshot::Sender<Verdict>,
}

/// What became of a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The version is in the snapshot now.
    Loaded,
    /// There is no such version, or it may not be opened.
    Absent,
}

impl Miss {
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
    pub async fn miss(&self, kid: Kid) -> Verdict {
        let (answer, verdict) = oneshot::channel();
        if self.misses.send(Miss { kid, answer }).await.is_err() {
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
