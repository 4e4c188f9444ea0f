//! Keyway in front of a server.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use super::process::Process;
use super::programs::{Programs, folder};
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

/// What the gateway writes to `ports.json`.
#[derive(Deserialize)]
struct Ports {
    listen: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
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
        let folder = folder()?;
        let state = folder.path().join("state");
        let config = folder.path().join("keyway.toml");
        let relay_only = mode == Mode::Relay;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nservers = [\"nats://{server}\"]\nstate = {state:?}\nrelay-only = {relay_only}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n{tables}"
        );
        fs::write(&config, text)
            .map_err(|source| RunError::io("writing a configuration", source))?;
        let mut command = Command::new(&self.gateway);
        command.arg("run").arg("--config").arg(&config);
        let (process, (addr, admin)) = Process::start(command, &folder.path().join("log"), || {
            let text = fs::read(state.join("ports.json")).ok()?;
            let ports: Ports = serde_json::from_slice(&text).ok()?;
            Some((ports.listen.first().copied()?, ports.admin))
        })?;
        Ok(Gateway {
            process,
            addr,
            admin,
            state,
            _folder: folder,
        })
    }
}
