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
    installed: watch::Sender<u64>,
}

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
        let installed = watch::Sender::new(snapshot.generation());
        (
            Self {
                snapshot: ArcSwap::from_pointee(snapshot),
                misses,
                installed,
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
        let generation = snapshot.generation();
        self.snapshot.store(Arc::new(snapshot));
        self.installed.send_replace(generation);
    }

    /// Asks for an absent version and waits for the verdict. The caller bounds the wait.
    pub async fn miss(&self, kid: Kid) -> Verdict {
        let (answer, verdict) = oneshot::channel();
        if self.misses.send(Miss { kid, answer }).await.is_err() {
            return Verdict::Absent;
        }
        verdict.await.unwrap_or(Verdict::Absent)
    }

    /// Waits until a snapshot newer than `generation` is installed.
    pub async fn newer_than(&self, generation: u64) {
        let mut installed = self.installed.subscribe();
        // The sender lives as long as `self`, so that the wait cannot fail.
        drop(installed.wait_for(|latest| *latest > generation).await);
    }
}
