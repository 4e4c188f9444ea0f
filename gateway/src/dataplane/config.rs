//! What the message path is told at start.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proxy::{Key, Network, Version};
use crate::tls;

use super::address::ListenAddr;
use super::admission::Crowd;

/// Settings of listeners, sessions and workers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: Vec<ListenAddr>,
    /// The servers, tried in this order from the last one that worked.
    pub servers: Vec<ServerAddr>,
    /// What the servers check, as their operator states it.
    pub verified: Vec<Credential>,
    /// Touch no payload: for comparison and for emergencies.
    pub relay_only: bool,
    /// `host:port` of every gateway a client may reconnect to, told in INFO `connect_urls`. Empty: the field is removed.
    pub advertise: Vec<String>,
    /// The longest argument part of a control line, in bytes. At least the server's own.
    pub max_control_line: usize,
    /// How many clients may be connected, and how fast they may come.
    pub crowd: Crowd,
    /// How long a client may take until it has said something whole.
    pub auth_timeout: Duration,
    /// The largest message in bytes, headers and payload, that is held for one connection.
    pub max_message: usize,
    /// What all connections together may hold, in bytes.
    pub pending: usize,
    /// How long a delivery waits for an absent key version.
    pub miss_wait: Duration,
    /// How long connecting to one server may take.
    pub dial_timeout: Duration,
    /// How long a PROXY header may take, and how long a TLS handshake.
    pub handshake_timeout: Duration,
    /// TLS with clients; `None`: none. Unix sockets need none.
    pub tls: Option<tls::Listener>,
    /// TLS with servers; `None`: with none of them.
    pub server_tls: Option<tls::ToServer>,
    /// How sessions end once the gateway is asked to stop.
    pub shutdown: Shutdown,
    /// Threads that carry sessions; `None`: one per core.
    pub workers: Option<usize>,
    /// What is said of whose connection it is.
    pub proxy: Proxying,
}

/// A kind of credential that the servers check: a client that brings nothing else is let in by that alone, or not at all. It cannot be
/// told from what servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    User,
    /// The nkey of a user whom the servers know.
    Nkey,
    /// The JWT of a user.
    Jwt,
}

/// What the server is told of clients, and whose word about them is believed.
#[derive(Clone, Debug, Default)]
pub struct Proxying {
    /// Signs the server's nonce, which makes the gateway a trusted proxy.
    pub key: Option<Arc<Key>>,
    /// How the server is told the client's address; `None`: not at all.
    pub send: Option<Version>,
    /// Load balancers, which must say where their clients are.
    pub accept_from: Vec<Network>,
}

/// How the connections of a gateway that stops are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// From telling clients to closing the first of them.
    pub grace: Duration,
    /// From closing the first of a worker's connections to closing its last.
    pub spread: Duration,
    /// How long the last of them may take to end.
    pub drain: Duration,
}

/// A NATS server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddr {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS must be spoken to it (`tls://`).
    pub tls: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            spread: Duration::from_secs(5),
            drain: Duration::from_secs(5),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddr::Tcp(SocketAddr::from(([127, 0, 0, 1], 4223)))],
            servers: vec![ServerAddr {
                host: "127.0.0.1".to_owned(),
                port: 4222,
                tls: false,
            }],
            verified: Vec::new(),
            relay_only: false,
            advertise: Vec::new(),
            max_control_line: 65_536,
            crowd: Crowd::default(),
            auth_timeout: Duration::from_secs(30),
            max_message: 65 << 20,
            pending: 1 << 30,
            miss_wait: Duration::from_secs(2),
            dial_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(2),
            tls: None,
            server_tls: None,
            shutdown: Shutdown::default(),
            workers: None,
            proxy: Proxying::default(),
        }
    }
}

impl Config {
    /// How many workers this asks for.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .max(1)
    }

    /// What the connections of one worker may hold, in bytes.
    pub(super) fn pending_each(&self) -> usize {
        self.pending
            .checked_div(self.worker_count())
            .unwrap_or(self.pending)
    }

    /// What the connections of one worker may make it remember, in bytes, beyond what each may always: a quarter as much, beside it.
    pub(super) fn memory_each(&self) -> usize {
        self.pending_each() / 4
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls {
            f.write_str("tls://")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
