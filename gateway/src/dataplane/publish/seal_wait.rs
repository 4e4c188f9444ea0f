//! The wait of a session whose next publish cannot be sealed now: it stops reading from its client, and nothing is lost.

use std::io;
use std::time::{Duration, Instant};

use metrics::Gauge;
use tokio::time::sleep;

use crate::keyring::Changes;
use crate::policy::KeyringId;

use crate::dataplane::context::Worker;
use crate::dataplane::session_state::Session;
use crate::dataplane::socket::LINGER;
use crate::dataplane::socket_error::SocketError;

/// The batch is tried again after this at the latest.
const PAUSE: Duration = Duration::from_secs(1);

/// A wait for a keyring; counted in the gauge of waiting sessions while it lives.
pub(super) struct SealWait<'w> {
    keyring: KeyringId,
    changes: Changes,
    gauge: &'w Gauge,
    worker: &'w Worker,
    /// When the client was first seen to be gone.
    gone: Option<Instant>,
}

impl<'w> SealWait<'w> {
    /// Subscribes to changes of the keys. To miss none, try the batch once more before the first pause.
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

    /// Waits for a change; meanwhile flushes what the deliver direction has for the server. Publishes of a client that has
    /// half-closed still go out; a client whose connection is gone may hold the wait, and its claim to budget, for `LINGER` only.
    ///
    /// # Errors
    /// `ConnectionReset` when `LINGER` is over, and errors of the server's socket.
    pub(super) async fn pause(&mut self, session: &Session) -> Result<(), SocketError> {
        if session.client.is_gone() {
            let now = self.worker.shared.clock.instant();
            let gone = *self.gone.get_or_insert(now);
            if now.saturating_duration_since(gone) >= LINGER {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
            }
        }
        let mut pause = std::pin::pin!(sleep(PAUSE));
        loop {
            tokio::select! {
                () = self.changes.next() => return Ok(()),
                () = &mut pause => return Ok(()),
                () = session.wake_publish.notified() => session.flush_to_server().await?,
            }
        }
    }
}

impl Drop for SealWait<'_> {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}
