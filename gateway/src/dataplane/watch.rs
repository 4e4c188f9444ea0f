//! What goes on beside the sessions: whether a server can be reached, and what was left out of the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::interval;

use super::worker::Shared;

const TICK: Duration = Duration::from_secs(1);

/// A server that was reached is looked for again after this many ticks; one that was not, at every tick.
const CALM: u32 = 10;

/// Runs until dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut tick = interval(TICK);
    let mut since = CALM;
    loop {
        tick.tick().await;
        shared.reports.catch_up(shared.clock.instant());
        since = since.saturating_add(1);
        if since >= CALM || !shared.servers.reach().is_good() {
            since = 0;
            // Readiness must not wait for a client that a load balancer sends only when we are ready.
            if let Err(error) = shared.servers.dial().await {
                tracing::debug!(%error, "not ready");
            }
        }
    }
}
