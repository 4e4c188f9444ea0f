//! Probes a server for readiness, and logs what throttles have left out.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::interval;

use super::address::Endpoints;
use super::context::Worker;
use super::end_reason::EndReason;
use super::{greeting, proxy_protocol, socket};

const TICK: Duration = Duration::from_secs(1);

/// Ticks between probes while a server is reached; otherwise every tick.
const TICKS_WHILE_REACHED: u32 = 10;

/// Runs until dropped, on one of the workers.
pub(super) async fn run(worker: Rc<Worker>) {
    let shared = &worker.shared;
    let secured = shared.tls.has_servers();
    let mut tick = interval(TICK);
    let mut since = TICKS_WHILE_REACHED;
    // Successive probes that found no NATS server.
    let mut not_nats = 0_u32;
    loop {
        tick.tick().await;
        shared.refusal_log.catch_up(shared.clock.instant());
        since = since.saturating_add(1);
        // Failures after the dial are logged: not every tick.
        let impatient = !secured && !shared.servers.reach().is_reachable();
        if since >= TICKS_WHILE_REACHED || (impatient && since > not_nats) {
            since = 0;
            // A load balancer sends clients only when readiness is reported.
            not_nats = match probe(&worker).await {
                Probed::NotNats => not_nats.saturating_add(1),
                Probed::Greeted | Probed::Unreachable => 0,
            };
        }
    }
}

/// A probe's result.
enum Probed {
    /// A NATS server.
    Greeted,
    /// Nothing accepts connections.
    Unreachable,
    /// A peer that does not begin as a NATS server does.
    NotNats,
}

/// Connects to a server, with TLS if configured, reads its INFO, and closes. Sends a PROXY header first, without which a server
/// that expects one would log an error.
async fn probe(worker: &Worker) -> Probed {
    let servers = &worker.shared.servers;
    let dialled = match servers.dial(&mut servers.untried()).await {
        Ok(dialled) => dialled,
        Err(error) => {
            tracing::debug!(%error, "not ready");
            return Probed::Unreachable;
        }
    };
    let (index, to) = (dialled.1, dialled.2);
    let nobody = Endpoints {
        client: None,
        gateway: None,
    };
    if let Err(error) = proxy_protocol::send(&worker.shared.config, &dialled.0, &nobody).await {
        tracing::debug!(%error, "a server takes nothing");
        return Probed::Unreachable;
    }
    match Box::pin(greeting::greet(worker, dialled)).await {
        Ok((server, _said)) => {
            socket::close(&[&server], &worker.pending).await;
            Probed::Greeted
        }
        Err(ended) => {
            if ended == EndReason::Server {
                greeting::pass_over_not_nats(worker, (index, to), ended);
            }
            Probed::NotNats
        }
    }
}
