//! `nats-server`.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::Process;

/// Starts `command`, which names a `nats-server` and its options, on this port of 127.0.0.1, or on a free one. Yields the process and
/// its address once it serves.
pub fn start(mut command: Command, port: Option<u16>) -> Result<(Process, SocketAddr), Error> {
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    command.args(["--addr", "127.0.0.1", "--port", &port]);
    let process = Process::start("nats-server", &mut command, Stdio::null())?;
    let addr = process.until("`Server is ready`", || {
        let log = process.log();
        log.contains("Server is ready").then_some(())?;
        let (_, after) = log.split_once("Listening for client connections on ")?;
        after.lines().next()?.trim().parse().ok()
    })?;
    Ok((process, addr))
}
