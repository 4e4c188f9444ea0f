//! Ten thousand clients connect at once.

use crate::resident;
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The number of clients, where the limit of open files allows it.
const CLIENTS: u64 = 10_000;

/// Open files besides these clients' connections: of this process, and of concurrent tests.
const OTHERS: u64 = 400;

/// The result of connecting.
enum ConnectResult {
    Connected(Agent),
    Refused(String),
    /// Not connected, or closed without an error.
    Failed(String),
}

/// A connected client with unparsed input.
struct Agent {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Agent {
    /// Reads up to this line and discards it; whether it came.
    async fn until(&mut self, line: &[u8]) -> bool {
        while !self.heard.windows(line.len()).any(|part| part == line) {
            match self.socket.read_buf(&mut self.heard).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        self.heard.clear();
        true
    }
}

async fn come(addr: SocketAddr) -> ConnectResult {
    let socket = match TcpStream::connect(addr).await {
        Ok(socket) => socket,
        Err(error) => return ConnectResult::Failed(error.to_string()),
    };
    let mut agent = Agent {
        socket,
        heard: Vec::new(),
    };
    let hello = b"CONNECT {\"verbose\":false}\r\nPING\r\n";
    // A client that is refused may have been closed by now.
    drop(agent.socket.write_all(hello).await);
    if agent.until(b"PONG\r\n").await {
        return ConnectResult::Connected(agent);
    }
    let heard = String::from_utf8_lossy(&agent.heard).into_owned();
    if heard.starts_with("-ERR") {
        ConnectResult::Refused(heard)
    } else {
        ConnectResult::Failed(heard)
    }
}

/// Sends a message to itself.
async fn converse(mut agent: Agent, number: usize) -> Agent {
    let text = format!("SUB crowd.{number} 1\r\nPUB crowd.{number} 5\r\nhello\r\n");
    agent.socket.write_all(text.as_bytes()).await.unwrap();
    assert!(agent.until(b"hello\r\n").await, "client {number}");
    agent
}

/// How many clients the limit of open files allows: each takes a file here, and two in the gateway.
fn client_count() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let most = limit.unwrap_or(u64::MAX) - OTHERS;
    usize::try_from(most.min(CLIENTS)).unwrap()
}

#[tokio::test]
async fn clients_that_come_all_at_once_are_greeted_or_told_and_can_all_be_used() {
    let server = NatsServer::start();
    // A busy server takes its time to send INFO to so many.
    let tables = "[limits]\ndial-timeout = \"1m\"\nauth-timeout = \"1m\"\n".to_owned();
    let mut gateway = Gateway::start(
        &server.url(),
        Settings {
            tables,
            ..Settings::default()
        },
    );
    let before = resident(&mut gateway);
    let (addr, count) = (gateway.addr(), client_count());
    let mut coming: JoinSet<ConnectResult> = (0..count).map(|_| come(addr)).collect();
    let (mut greeted, mut told) = (Vec::new(), 0);
    while let Some(received) = coming.join_next().await {
        match received.unwrap() {
            ConnectResult::Connected(agent) => greeted.push(agent),
            ConnectResult::Refused(text) => {
                assert_eq!(text, "-ERR 'maximum connections exceeded'\r\n");
                told += 1;
            }
            ConnectResult::Failed(what) => {
                assert_eq!(what, "", "{} greeted, {told} told", greeted.len())
            }
        }
    }
    assert_eq!(greeted.len() + told, count, "the others were told nothing");
    let connected = resident(&mut gateway) - before;
    let conversations = greeted.into_iter().enumerate();
    let mut talking: JoinSet<Agent> = conversations
        .map(|(number, agent)| converse(agent, number))
        .collect();
    let mut greeted = Vec::new();
    while let Some(agent) = talking.join_next().await {
        greeted.push(agent.unwrap());
    }
    let used = resident(&mut gateway) - before;
    let each = |kib: u64| kib * 1024 / u64::try_from(greeted.len()).unwrap();
    eprintln!(
        "{} greeted, {told} told; {} B of resident memory for each, {} B after a message each",
        greeted.len(),
        each(connected),
        each(used)
    );
    // The aim is 16 KiB for a connection that is idle; a debug build and its allocator get some room.
    assert!(each(used) < 32 * 1024, "{used} KiB");
    drop(greeted);
    tokio::task::spawn_blocking(move || {
        crate::has_clients(&gateway, 0);
        crate::talks(&gateway);
    })
    .await
    .unwrap();
}
