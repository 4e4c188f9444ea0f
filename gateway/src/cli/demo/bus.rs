//! The `nats-server` of the demo, on a free port, stopped with the demo.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// Precedes the address in the server's log.
const LISTENING: &str = "Listening for client connections on ";
/// The last log line of its start.
const READY: &str = "Server is ready";
/// How long the start may take.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// A running server, killed on drop; [`Bus::stop`] also waits for its end.
pub(super) struct Bus {
    addr: SocketAddr,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Bus {
    /// Starts `program` with its store in `folder`, and waits until it serves.
    pub(super) async fn start(program: Option<&Path>, folder: &Path) -> Result<Self, Failure> {
        let program = program.map_or_else(|| PathBuf::from("nats-server"), Path::to_owned);
        let mut child = Command::new(&program)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream"])
            .arg("--store_dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| start_failure(&program, &error.to_string()))?;
        let ended = || start_failure(&program, "it has no output");
        let mut log = BufReader::new(child.stderr.take().ok_or_else(ended)?).lines();
        match tokio::time::timeout(START_TIMEOUT, ready(&mut log)).await {
            Ok(Ok(addr)) => Ok(Self { addr, child, log }),
            Ok(Err(last)) => Err(start_failure(&program, &last)),
            Err(_elapsed) => Err(start_failure(&program, "it did not get ready in time")),
        }
    }

    /// Where clients connect.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Reads the server's log for ever: a full pipe would block the server.
    pub(super) async fn read_log(&mut self) {
        while let Ok(Some(_line)) = self.log.next_line().await {}
        std::future::pending::<()>().await;
    }

    /// Ends the server and waits for it.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "nats-server had ended");
        }
    }
}

/// The address, once the server is ready; else its last log line.
async fn ready(log: &mut Lines<BufReader<ChildStderr>>) -> Result<SocketAddr, String> {
    let (mut addr, mut last) = (None, "it ended at once".to_owned());
    while let Ok(Some(line)) = log.next_line().await {
        if let Some((_, text)) = line.split_once(LISTENING) {
            addr = text.trim().parse().ok();
        }
        if let (Some(addr), true) = (addr, line.contains(READY)) {
            return Ok(addr);
        }
        last = line;
    }
    Err(last)
}

fn start_failure(program: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("cannot start {}: {why}", program.display()),
        "`make demo` fetches one; or name a nats-server of at least 2.12 with --nats-server",
    )
}
