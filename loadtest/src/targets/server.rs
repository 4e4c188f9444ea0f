//! `nats-server` with JetStream.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rustls::ClientConfig;
use tempfile::TempDir;

use super::certificate::Certificate;
use super::process::Process;
use super::programs::{Programs, folder};
use crate::error::RunError;

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// The TLS client configuration, with TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    _folder: TempDir,
}

impl Programs {
    /// A server with JetStream, its store in a temporary folder.
    pub(crate) fn server(&self) -> Result<Server, RunError> {
        start(Command::new(&self.server), folder()?)
    }

    /// The same with its own TLS.
    pub(super) fn tls_server(&self) -> Result<Server, RunError> {
        let folder = folder()?;
        let files = Certificate::new(folder.path())?;
        let mut command = Command::new(&self.server);
        command.arg("--tls").arg("--tlscert").arg(files.certificate);
        command.arg("--tlskey").arg(files.key);
        let mut server = start(command, folder)?;
        server.tls = Some(files.client);
        Ok(server)
    }
}

fn start(mut command: Command, folder: TempDir) -> Result<Server, RunError> {
    let log = folder.path().join("log");
    command
        .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream"])
        .arg("--store_dir")
        .arg(folder.path().join("store"));
    let (process, addr) = Process::start(command, &log, || {
        let text = fs::read_to_string(&log).ok()?;
        text.contains("Server is ready").then_some(())?;
        let (_before, after) = text.split_once("Listening for client connections on ")?;
        after.lines().next()?.trim().parse().ok()
    })?;
    Ok(Server {
        process,
        addr,
        tls: None,
        _folder: folder,
    })
}
