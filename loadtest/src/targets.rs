//! What is measured: the bare server, and gateways before it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use tempfile::TempDir;

use crate::failed::Failed;
use crate::process::Process;

/// The programs under test.
pub(crate) struct Programs {
    server: PathBuf,
    gateway: PathBuf,
}

/// A bare server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    _folder: TempDir,
}

/// A gateway before a server.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// Where metrics are.
    pub(crate) admin: Option<SocketAddr>,
    /// Its state directory.
    pub(crate) state: PathBuf,
    _folder: TempDir,
}

/// What a gateway does with payloads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Relay,
    Sealing,
}

/// The server and one gateway of each kind before it.
pub(crate) struct Bus {
    pub(crate) server: Server,
    pub(crate) relay: Gateway,
    pub(crate) sealing: Gateway,
}

/// A way to the bus.
#[derive(Clone, Copy)]
pub(crate) struct Target<'b> {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    /// The gateway's process, when there is one.
    pub(crate) gateway: Option<&'b Process>,
    pub(crate) server: &'b Process,
}

/// What the gateway writes to `ports.json`.
#[derive(Deserialize)]
struct Ports {
    listen: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Programs {
    pub(crate) fn find(server: &Path, gateway: Option<&Path>) -> Result<Self, Failed> {
        let here = std::env::current_exe()
            .map_err(|source| Failed::io("looking for the gateway beside this program", source))?;
        let gateway = gateway.map_or_else(|| here.with_file_name("keyway"), Path::to_owned);
        if !gateway.is_file() {
            let gateway = gateway.display();
            return Err(Failed::Limit(format!(
                "there is no program {gateway}; build it (`cargo build --release -p keyway`) or name it with --gateway"
            )));
        }
        raise_open_files();
        Ok(Self {
            server: server.to_owned(),
            gateway,
        })
    }

    /// What `nats-server` calls itself.
    pub(crate) fn server_version(&self) -> Result<String, Failed> {
        let said = Command::new(&self.server)
            .arg("--version")
            .output()
            .map_err(|source| Failed::io(format!("running {}", self.server.display()), source))?;
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    pub(crate) fn server(&self) -> Result<Server, Failed> {
        self.server_with(&[])
    }

    /// A server with JetStream, whose store goes with it.
    pub(crate) fn jetstream(&self) -> Result<Server, Failed> {
        self.server_with(&["--jetstream"])
    }

    fn server_with(&self, options: &[&str]) -> Result<Server, Failed> {
        let folder = folder()?;
        let log = folder.path().join("log");
        let mut command = Command::new(&self.server);
        command
            .args(["--addr", "127.0.0.1", "--port", "-1", "--store_dir"])
            .arg(folder.path().join("store"))
            .args(options);
        let (process, addr) = Process::start(command, &log, || {
            let text = fs::read_to_string(&log).ok()?;
            text.contains("Server is ready").then_some(())?;
            let (_before, after) = text.split_once("Listening for client connections on ")?;
            after.lines().next()?.trim().parse().ok()
        })?;
        Ok(Server {
            process,
            addr,
            _folder: folder,
        })
    }

    pub(crate) fn gateway(&self, server: SocketAddr, mode: Mode) -> Result<Gateway, Failed> {
        self.configured(server, mode, "")
    }

    /// A gateway with this text at the end of its configuration.
    pub(crate) fn configured(
        &self,
        server: SocketAddr,
        mode: Mode,
        tables: &str,
    ) -> Result<Gateway, Failed> {
        let folder = folder()?;
        let state = folder.path().join("state");
        let config = folder.path().join("keyway.toml");
        let relay_only = mode == Mode::Relay;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nservers = [\"nats://{server}\"]\nstate = {state:?}\nrelay-only = {relay_only}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n{tables}"
        );
        fs::write(&config, text).map_err(|source| Failed::io("writing a configuration", source))?;
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

    pub(crate) fn bus(&self) -> Result<Bus, Failed> {
        let server = self.server()?;
        Ok(Bus {
            relay: self.gateway(server.addr, Mode::Relay)?,
            sealing: self.gateway(server.addr, Mode::Sealing)?,
            server,
        })
    }
}

impl Bus {
    /// The first is what the others are compared to.
    pub(crate) const fn targets(&self) -> [Target<'_>; 3] {
        let server = &self.server.process;
        [
            Target {
                name: "bare server",
                addr: self.server.addr,
                gateway: None,
                server,
            },
            Target {
                name: "keyway relay",
                addr: self.relay.addr,
                gateway: Some(&self.relay.process),
                server,
            },
            Target {
                name: "keyway sealing",
                addr: self.sealing.addr,
                gateway: Some(&self.sealing.process),
                server,
            },
        ]
    }
}

/// How many files a process may have open.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// As many open files as the system lets us have; children inherit it.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it is refused, the limit as it is has to do.
    setrlimit(Resource::Nofile, raised).unwrap_or_default();
}

fn folder() -> Result<TempDir, Failed> {
    tempfile::Builder::new()
        .prefix("keyway-loadtest-")
        .tempdir()
        .map_err(|source| Failed::io("creating a folder", source))
}
