//! Ten thousand clients come at once.

use crate::resident;
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// As many as may come, where the system lets a process have so many files.
const CROWD: u64 = 10_000;

/// Files that are no connections of the crowd: of this process, and of the tests beside this one.
const OTHERS: u64 = 400;

/// How a client was received.
enum Received {
    Greeted(Agent),
    Told(String),
    /// Not even connected, or closed without a word.
    Neither(String),
}

/// A client with what it has heard and not understood yet.
struct Agent {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Agent {
    /// Reads until this was heard, and forgets it; whether it ever came.
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

async fn come(addr: SocketAddr) -> Received {
    let socket = match TcpStream::connect(addr).await {
        Ok(socket) => socket,
        Err(error) => return Received::Neither(error.to_string()),
    };
    let mut agent = Agent {
        socket,
        heard: Vec::new(),
    };
    let hello = b"CONNECT {\"verbose\":false}\r\nPING\r\n";
    // One that is told that there is no room may have been closed by now.
    drop(agent.socket.write_all(hello).await);
    if agent.until(b"PONG\r\n").await {
        return Received::Greeted(agent);
    }
    let heard = String::from_utf8_lossy(&agent.heard).into_owned();
    if heard.starts_with("-ERR") {
        Received::Told(heard)
    } else {
        Received::Neither(heard)
    }
}

/// A message to itself.
async fn converse(mut agent: Agent, number: usize) -> Agent {
    let text = format!("SUB crowd.{number} 1\r\nPUB crowd.{number} 5\r\nhello\r\n");
    agent.socket.write_all(text.as_bytes()).await.unwrap();
    assert!(agent.until(b"hello\r\n").await, "client {number}");
    agent
}

/// How many may come: each takes a file here, and two in the gateway.
fn crowd() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let most = limit.unwrap_or(u64::MAX) - OTHERS;
    usize::try_from(most.min(CROWD)).unwrap()
}

#[tokio::test]
async fn clients_that_come_all_at_once_are_greeted_or_told_and_can_all_be_used() {
    let server = NatsServer::start();
    // On a busy machine the server takes its time to greet so many.
    let tables = "[limits]\ndial-timeout = \"1m\"\nauth-timeout = \"1m\"\n".to_owned();
    let mut gateway = Gateway::start(
        &server.url(),
        Settings {
            tables,
            ..Settings::default()
        },
    );
    let before = resident(&mut gateway);
    let (addr, count) = (gateway.addr(), crowd());
    let mut coming: JoinSet<Received> = (0..count).map(|_| come(addr)).collect();
    let (mut greeted, mut told) = (Vec::new(), 0);
    while let Some(received) = coming.join_next().await {
        match received.unwrap() {
            Received::Greeted(agent) => greeted.push(agent),
            Received::Told(text) => {
                assert_eq!(text, "-ERR 'maximum connections exceeded'\r\n");
                told += 1;
            }
            Received::Neither(what) => {
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
