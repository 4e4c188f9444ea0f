//! Many connections that say nothing: what each of them costs the gateway.

use std::net::SocketAddr;

use serde::Serialize;

use crate::client::Client;
use crate::failed::Failed;
use crate::stats::float;
use crate::targets::{Gateway, Mode, Programs, open_files};

/// Open files of a process besides connections.
const OTHER_FILES: u64 = 100;

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            connections: 10_000,
        }
    }
}

/// Resident memory per connection in bytes.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) connections: u64,
    /// Processes that shared them: a gateway needs two files for each, and a process may have only so many.
    pub(crate) gateways: usize,
    /// The gateway, each connection with one subscription.
    pub(crate) gateway_connected: f64,
    /// The gateway, after each has published one message of 128 bytes to itself.
    pub(crate) gateway_used: f64,
    /// The server, for the same connections.
    pub(crate) server_connected: f64,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Option<Idle>, Failed> {
    let most = open_files().saturating_sub(OTHER_FILES);
    if args.connections > most {
        return Err(Failed::Limit(format!(
            "{} connections need more open files than the {most} that this process may have; raise `ulimit -n`",
            args.connections
        )));
    }
    let server = programs.server()?;
    let count = args.connections.div_ceil((most / 2).max(1));
    let gateways = (0..count)
        .map(|_| programs.gateway(server.addr, Mode::Sealing))
        .collect::<Result<Vec<_>, _>>()?;
    // Threads, buffers and tables that any traffic brings about are not a connection's.
    for gateway in &gateways {
        let mut first = Client::connect(gateway.addr)?;
        first.subscribe("idle.first")?;
        converse(&mut first, "first")?;
    }
    let server_before = server.process.resident()?;
    let before = resident(&gateways)?;
    let addrs: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.addr).collect();
    let mut clients = connect(&addrs, args.connections)?;
    let (connected, server_connected) = (resident(&gateways)?, server.process.resident()?);
    for (number, client) in clients.iter_mut().enumerate() {
        converse(client, &number.to_string())?;
    }
    let used = resident(&gateways)?;
    let each =
        |after: u64, before: u64| float(after.saturating_sub(before)) / float(args.connections);
    Ok(Some(Idle {
        connections: args.connections,
        gateways: gateways.len(),
        gateway_connected: each(connected, before),
        gateway_used: each(used, before),
        server_connected: each(server_connected, server_before),
    }))
}

fn connect(addrs: &[SocketAddr], connections: u64) -> Result<Vec<Client>, Failed> {
    (0..connections)
        .zip(addrs.iter().cycle())
        .map(|(number, addr)| {
            let mut client = Client::connect(*addr)?;
            client.subscribe(&format!("idle.{number}"))?;
            client.rest();
            Ok(client)
        })
        .collect()
}

/// One message to itself.
fn converse(client: &mut Client, name: &str) -> Result<(), Failed> {
    let payload = "x".repeat(128);
    client.send(format!("PUB idle.{name} 128\r\n{payload}\r\n").as_bytes())?;
    client.message()?;
    client.rest();
    Ok(())
}

fn resident(gateways: &[Gateway]) -> Result<u64, Failed> {
    gateways
        .iter()
        .map(|gateway| gateway.process.resident())
        .sum()
}
