//! Memory per unanswered request in the gateway.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::RunError;
use crate::load::{Client, Endpoint};
use crate::report::float;
use crate::targets::{Mode, Programs};

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Connections that ask.
    #[arg(long, default_value_t = 19)]
    connections: u64,
    /// Requests of each that wait for an answer; a gateway promises to remember 57,344.
    #[arg(long, default_value_t = 57_344)]
    requests: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            connections: 19,
            requests: 57_344,
        }
    }
}

/// Resident memory per request in bytes.
#[derive(Serialize)]
pub(crate) struct Outstanding {
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    /// The requesters' gateway.
    pub(crate) asking: f64,
    /// The responders' gateway.
    pub(crate) answering: f64,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Option<Outstanding>, RunError> {
    let server = programs.server()?;
    let asking = programs.gateway(server.addr, Mode::Sealing)?;
    // A second gateway would have keys of its own, so responders get plaintext requests on a system subject.
    let answering = programs.gateway(server.addr, Mode::Sealing)?;
    let mut pairs = (0..args.connections)
        .map(|number| {
            let mut responder = Client::connect(&Endpoint::plain(answering.addr))?;
            responder.subscribe(&format!("$SRV.PING.{number}"))?;
            Ok((Client::connect(&Endpoint::plain(asking.addr))?, responder))
        })
        .collect::<Result<Vec<_>, RunError>>()?;
    let (before_asking, before_answering) =
        (asking.process.resident()?, answering.process.resident()?);
    for (number, (requester, responder)) in pairs.iter_mut().enumerate() {
        for request in 0..args.requests {
            let line = format!("PUB $SRV.PING.{number} _INBOX.{number}.{request} 0\r\n\r\n");
            requester.send(line.as_bytes())?;
            responder.message(|_request| ())?;
        }
        requester.flush()?;
        requester.shrink_buffers();
        responder.shrink_buffers();
    }
    let requests = args.connections.saturating_mul(args.requests);
    let each = |after: u64, before: u64| float(after.saturating_sub(before)) / float(requests);
    Ok(Some(Outstanding {
        requests,
        connections: args.connections,
        asking: each(asking.process.resident()?, before_asking),
        answering: each(answering.process.resident()?, before_answering),
    }))
}

impl Outstanding {
    /// For people.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "\n{} requests without an answer on {} connections: resident bytes per request",
            self.requests, self.connections
        )?;
        writeln!(
            out,
            "  the gateway of those who ask      {:>8.1}",
            self.asking
        )?;
        writeln!(
            out,
            "  the gateway of those who answer   {:>8.1}",
            self.answering
        )
    }
}
