//! `nats-server` with JetStream.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use keyway_test_kit::{Process, folder, nats_server};
use rustls::ClientConfig;
use tempfile::TempDir;

use super::certificate::Certificate;
use super::programs::Programs;
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
        start(Command::new(&self.server), folder("loadtest")?)
    }

    /// The same with its own TLS.
    pub(super) fn tls_server(&self) -> Result<Server, RunError> {
        let folder = folder("loadtest")?;
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
    let store = folder.path().join("store");
    command.arg("--jetstream").arg("--store_dir").arg(store);
    let (process, addr) = nats_server::start(command, None)?;
    Ok(Server {
        process,
        addr,
        tls: None,
        _folder: folder,
    })
}
