//! Keyway in front of a server.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use keyway_test_kit::{Process, folder, gateway};
use tempfile::TempDir;

use super::programs::Programs;
use crate::error::RunError;

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// The address of its metrics.
    pub(crate) admin: Option<SocketAddr>,
    /// Its state directory.
    pub(crate) state: PathBuf,
    _folder: TempDir,
}

/// Whether a gateway seals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Relay,
    Sealing,
}

impl Programs {
    pub(crate) fn gateway(&self, server: SocketAddr, mode: Mode) -> Result<Gateway, RunError> {
        self.configured(server, mode, "")
    }

    /// A gateway with this text at the end of its configuration.
    pub(crate) fn configured(
        &self,
        server: SocketAddr,
        mode: Mode,
        tables: &str,
    ) -> Result<Gateway, RunError> {
        let folder = folder("loadtest")?;
        let state = folder.path().join("state");
        let config = folder.path().join("keyway.toml");
        let relay_only = mode == Mode::Relay;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nservers = [\"nats://{server}\"]\nstate = {state:?}\nrelay-only = {relay_only}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n{tables}"
        );
        fs::write(&config, text)
            .map_err(|source| RunError::io("writing a configuration", source))?;
        let (process, ports) = gateway::start(Command::new(&self.gateway), &config, &state)?;
        let missing = || RunError::Limit("the gateway listens nowhere".to_owned());
        Ok(Gateway {
            process,
            addr: ports.listen.first().copied().ok_or_else(missing)?,
            admin: ports.admin,
            state,
            _folder: folder,
        })
    }
}
