//! Probes a server for readiness, and logs what throttles have left out.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::interval;

use super::ServerAddr;
use super::address::Endpoints;
use super::proxy_protocol;
use super::session::{self, EndReason};
use super::worker::Worker;

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
    match Box::pin(session::greet(worker, dialled)).await {
        Ok((server, _said)) => {
            session::close_unstarted(worker, &server).await;
            Probed::Greeted
        }
        Err(ended) => {
            if ended == EndReason::Server {
                pass_over_not_nats(worker, (index, to), ended);
            }
            Probed::NotNats
        }
    }
}

/// The peer is no NATS server, or one that hangs: logs that, and the next dial begins with another.
pub(super) fn pass_over_not_nats(
    worker: &Worker,
    (index, to): (usize, &ServerAddr),
    ended: EndReason,
) {
    let shared = &worker.shared;
    shared.servers.pass_over(index);
    let why = if ended == EndReason::ServerSilent {
        "it says nothing within `limits.dial-timeout`"
    } else if ended == EndReason::Server {
        "it closes without a word"
    } else {
        "what it says first is neither INFO nor an error of NATS"
    };
    if let Some(left_out) = shared.not_nats.admit(shared.clock.instant()) {
        tracing::error!(
            server = %to, why, left_out,
            help = "check `servers`: the port of clients is meant, which is 4222 by default; if it is right, look into that server's log",
            "who listens there does not greet as a NATS server"
        );
    }
}
