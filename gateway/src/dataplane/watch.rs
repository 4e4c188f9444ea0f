//! Probes a server for readiness, and logs what throttles have left out.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::interval;

use super::ServerAddr;
use super::address::Ends;
use super::origin;
use super::session::{self, Ended};
use super::worker::Worker;

const TICK: Duration = Duration::from_secs(1);

/// Ticks between probes while a server is reached; otherwise every tick.
const CALM: u32 = 10;

/// Runs until dropped, on one of the workers.
pub(super) async fn run(worker: Rc<Worker>) {
    let shared = &worker.shared;
    let secured = shared.secure.reaches_servers();
    let mut tick = interval(TICK);
    let mut since = CALM;
    // Successive probes that found no NATS server.
    let mut strange = 0_u32;
    loop {
        tick.tick().await;
        shared.reports.catch_up(shared.clock.instant());
        since = since.saturating_add(1);
        // Failures after the dial are logged: not every tick.
        let impatient = !secured && !shared.servers.reach().is_good();
        if since >= CALM || (impatient && since > strange) {
            since = 0;
            // A load balancer sends clients only when readiness is reported.
            strange = match look(&worker).await {
                Looked::Strange => strange.saturating_add(1),
                Looked::Good | Looked::Away => 0,
            };
        }
    }
}

/// A probe's result.
enum Looked {
    /// A NATS server.
    Good,
    /// Nothing accepts connections.
    Away,
    /// A peer that does not begin as a NATS server does.
    Strange,
}

/// Connects to a server, with TLS if configured, reads its INFO, and closes. Sends a PROXY header first, without which a server
/// that expects one would log an error.
async fn look(worker: &Worker) -> Looked {
    let servers = &worker.shared.servers;
    let dialled = match servers.dial(&mut servers.untried()).await {
        Ok(dialled) => dialled,
        Err(error) => {
            tracing::debug!(%error, "not ready");
            return Looked::Away;
        }
    };
    let (index, to) = (dialled.1, dialled.2);
    let nobody = Ends {
        client: None,
        gateway: None,
    };
    if let Err(error) = origin::tell(&worker.shared.config, &dialled.0, &nobody).await {
        tracing::debug!(%error, "a server takes nothing");
        return Looked::Away;
    }
    match Box::pin(session::hear(worker, dialled)).await {
        Ok((server, _said)) => {
            session::part(worker, &server).await;
            Looked::Good
        }
        Err(ended) => {
            if ended == Ended::Server {
                stranger(worker, (index, to), ended);
            }
            Looked::Strange
        }
    }
}

/// The peer is no NATS server, or one that hangs: logs that, and the next dial begins with another.
pub(super) fn stranger(worker: &Worker, (index, to): (usize, &ServerAddr), ended: Ended) {
    let shared = &worker.shared;
    shared.servers.pass_over(index);
    let why = if ended == Ended::ServerSilent {
        "it says nothing within `limits.dial-timeout`"
    } else if ended == Ended::Server {
        "it closes without a word"
    } else {
        "what it says first is neither INFO nor an error of NATS"
    };
    if let Some(left_out) = shared.strange.admit(shared.clock.instant()) {
        tracing::error!(
            server = %to, why, left_out,
            help = "check `servers`: the port of clients is meant, which is 4222 by default; if it is right, look into that server's log",
            "who listens there does not greet as a NATS server"
        );
    }
}
