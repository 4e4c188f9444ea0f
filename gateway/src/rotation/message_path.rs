//! The message path's end of rotation.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::keyring::{Keys, Miss, Snapshot};
use crate::policy::Policy;

/// Poll interval while lanes stop sealing, which their workers do between two batches.
pub(super) const SETTLE_POLL: Duration = Duration::from_millis(1);

/// How many polls [`stop_sealing`] makes at most.
const SETTLE_POLLS: u32 = 2000;

/// The message path's end of rotation, which outlives a restart of the driver.
pub struct MessagePath {
    /// The keys that the message path loads.
    pub keys: Arc<Keys>,
    /// The kids that it misses.
    pub misses: mpsc::Receiver<Miss>,
}

impl MessagePath {
    /// An empty snapshot.
    pub(super) fn new(policy: &Arc<Policy>) -> Self {
        let empty = Snapshot::new(Arc::clone(policy), Vec::new(), Vec::new(), 0);
        let (keys, misses) = Keys::new(empty);
        let keys = Arc::new(keys);
        Self { keys, misses }
    }
}

/// Stops all sealing, before the state directory's lock is given up. Waits for the current batches, two seconds at most.
pub fn stop_sealing(keys: &Keys) {
    let before = keys.load_full();
    keys.install(before.sealing_nothing());
    for _look in 0..SETTLE_POLLS {
        if before.sealing().all(|version| version.is_settled()) {
            return;
        }
        std::thread::park_timeout(SETTLE_POLL);
    }
    tracing::error!("a worker does not end its batch: it may seal while another process writes");
}
