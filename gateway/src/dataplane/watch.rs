//! What goes on beside the sessions: whether a server can be reached, and what was left out of the log.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::interval;

use super::address::Ends;
use super::worker::Worker;
use super::{origin, session};

const TICK: Duration = Duration::from_secs(1);

/// A server that was reached is looked for again after this many ticks; one that was not, at every tick.
const CALM: u32 = 10;

/// Runs until dropped, on one of the workers.
pub(super) async fn run(worker: Rc<Worker>) {
    let shared = &worker.shared;
    let secured = shared.secure.reaches_servers();
    let mut tick = interval(TICK);
    let mut since = CALM;
    loop {
        tick.tick().await;
        shared.reports.catch_up(shared.clock.instant());
        since = since.saturating_add(1);
        // A handshake that fails is said; not at every tick.
        let impatient = !secured && !shared.servers.reach().is_good();
        if since >= CALM || impatient {
            since = 0;
            // Readiness must not wait for a client that a load balancer sends only when we are ready.
            look(&worker).await;
        }
    }
}

/// Connects to a server, with TLS if that is spoken, and leaves it again. A server that wants to hear where clients are complains of
/// one that leaves without a word.
async fn look(worker: &Worker) {
    let dialled = match worker.shared.servers.dial().await {
        Ok(dialled) => dialled,
        Err(error) => return tracing::debug!(%error, "not ready"),
    };
    let nobody = Ends {
        client: None,
        gateway: None,
    };
    if let Err(error) = origin::tell(&worker.shared.config, &dialled.0, &nobody).await {
        return tracing::debug!(%error, "a server takes nothing");
    }
    if worker.shared.secure.reaches_servers()
        && let Ok((server, _said)) = Box::pin(session::hear(worker, dialled)).await
    {
        session::part(worker, &server).await;
    }
}
