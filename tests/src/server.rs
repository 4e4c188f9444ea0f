//! A real `nats-server`, configured by the test.

use crate::process::Process;
use crate::{scratch, tools};
use keyway_test_kit::nats_server;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A running `nats-server` on a port of its own.
pub struct NatsServer {
    /// The tool's name in `tests/tools.py`.
    program: &'static str,
    /// Dropped before its folder, into which it would still write while that is removed.
    process: Process,
    folder: TempDir,
    addr: SocketAddr,
}

impl NatsServer {
    /// A server without configuration: no authentication, no JetStream.
    pub fn start() -> Self {
        Self::configured("")
    }

    /// A server with JetStream, its store in a temporary folder.
    pub fn jetstream() -> Self {
        Self::configured("jetstream { store_dir: \"STORE\" }")
    }

    /// A server with this configuration text; `STORE` in it becomes the path of a fresh folder.
    pub fn configured(text: &str) -> Self {
        Self::launched(server_program(), text)
    }

    /// The same with the oldest supported series, which accepts what newer ones refuse.
    pub fn oldest(text: &str) -> Self {
        Self::launched("server-oldest", text)
    }

    fn launched(program: &'static str, text: &str) -> Self {
        let folder = scratch::folder("server");
        let store = folder.path().join("store");
        let mut text = text.replace("STORE", store.to_str().unwrap());
        if !text.contains("server_name") {
            write!(text, "\nserver_name: bus\n").unwrap();
        }
        std::fs::write(folder.path().join("server.conf"), text).unwrap();
        let (process, addr) = launch(program, &folder, None);
        Self {
            program,
            folder,
            addr,
            process,
        }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where clients connect, as a URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// The folder that `STORE` in its configuration became.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The process, to pause it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the server; [`NatsServer::restart`] brings it back.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the server if it runs, and starts it again on the same port with the same configuration and store.
    pub fn restart(&mut self) {
        self.process.kill();
        let (process, addr) = launch(self.program, &self.folder, Some(self.addr.port()));
        assert_eq!(addr, self.addr, "the server came back elsewhere");
        self.process = process;
    }
}

fn launch(program: &'static str, folder: &TempDir, port: Option<u16>) -> (Process, SocketAddr) {
    let mut command = Command::new(tools::path(program));
    command
        .arg("--config")
        .arg(folder.path().join("server.conf"));
    let (process, addr) = nats_server::start(command, port).unwrap();
    (Process(process), addr)
}

/// The default program: `KEYWAY_TEST_SERVER=oldest` selects the oldest supported series.
fn server_program() -> &'static str {
    match std::env::var("KEYWAY_TEST_SERVER").as_deref() {
        Ok("oldest") => "server-oldest",
        _ => "server",
    }
}
