//! A publish that nothing can be sealed for now: its session does not read on, and nothing is lost.

use std::io;
use std::time::{Duration, Instant};

use metrics::Gauge;
use tokio::time::sleep;

use crate::keyring::Changes;
use crate::policy::KeyringId;

use crate::dataplane::session::{LINGER, Session};
use crate::dataplane::worker::Worker;

/// The batch is tried again after this, should nobody announce a change.
const PAUSE: Duration = Duration::from_secs(1);

/// A session that waits for a keyring. Counted as such while this lives.
pub(super) struct Waiting<'w> {
    keyring: KeyringId,
    changes: Changes,
    gauge: &'w Gauge,
    worker: &'w Worker,
    /// Since when the client is known to be gone, having waited.
    gone: Option<Instant>,
}

impl<'w> Waiting<'w> {
    /// From now on every change ends a pause; the batch is to be tried once more before the first.
    pub(super) fn new(worker: &'w Worker, keyring: KeyringId) -> Self {
        let gauge = &worker.meters.keyring(Some(keyring.index())).waiting;
        gauge.increment(1.0);
        Self {
            keyring,
            changes: worker.shared.keys.changes(),
            gauge,
            worker,
            gone: None,
        }
    }

    pub(super) const fn keyring(&self) -> KeyringId {
        self.keyring
    }

    /// Until something has changed; serves the deliver direction meanwhile. A client that has closed gets its publishes out all the
    /// same; one whose connection is gone keeps nobody waiting, nor asking for budget, for longer than it would have to close.
    ///
    /// # Errors
    /// `ConnectionReset` once that time is over; whatever the server's socket says.
    pub(super) async fn pause(&mut self, session: &Session) -> io::Result<()> {
        if session.client.is_gone() {
            let now = self.worker.shared.clock.instant();
            let gone = *self.gone.get_or_insert(now);
            if now.saturating_duration_since(gone) >= LINGER {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        let mut pause = std::pin::pin!(sleep(PAUSE));
        loop {
            tokio::select! {
                () = self.changes.next() => return Ok(()),
                () = &mut pause => return Ok(()),
                () = session.nudge.notified() => super::flush_link(session).await?,
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}
