//! The settings of the message path.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::proxy::{Key, Network, Version};
use crate::tls;

use super::address::ListenAddr;
use super::connection_limits::ConnectionLimits;

/// Settings of listeners, sessions and workers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listen addresses.
    pub listen: Vec<ListenAddr>,
    /// Servers, tried in this order beginning with the last one that worked.
    pub servers: Vec<ServerAddr>,
    /// The kinds of credentials that the servers check, as stated by the operator.
    pub verified: Vec<Credential>,
    /// Forward payloads unchanged: for comparison and emergencies.
    pub relay_only: bool,
    /// `host:port` of every gateway that a client may reconnect to: INFO's `connect_urls`. Empty: the field is removed.
    pub advertise: Vec<String>,
    /// The longest argument part of a control line, in bytes. At least the server's own.
    pub max_control_line: usize,
    /// Limits on client connections.
    pub connection_limits: ConnectionLimits,
    /// How long a client may take to send its first whole operation.
    pub auth_timeout: Duration,
    /// The largest message, headers and payload, in bytes.
    pub max_message: usize,
    /// Bytes in hand of all connections together (`limits.pending`).
    pub pending: usize,
    /// How long a delivery waits for an absent key version.
    pub miss_wait: Duration,
    /// How long connecting to one server may take.
    pub dial_timeout: Duration,
    /// How long a PROXY header or a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// TLS with clients; never on unix sockets.
    pub tls: Option<tls::ListenerTls>,
    /// TLS with servers.
    pub server_tls: Option<tls::ServerTls>,
    /// How connections are drained at shutdown.
    pub shutdown: Shutdown,
    /// Worker threads; `None`: one per core.
    pub workers: Option<usize>,
    /// PROXY headers and proxy signatures.
    pub proxy: ProxySettings,
}

/// A kind of credential that the servers check: a client with no other is accepted because of it or not at all. The protocol does
/// not tell whether a server checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Credential {
    /// A user and a password.
    User,
    /// The nkey of a user in the servers' configuration.
    Nkey,
    /// A user JWT.
    Jwt,
}

/// How clients' addresses are learned from load balancers and passed on to servers.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// Signs the server's nonce: makes the gateway a trusted proxy (ADR-55).
    pub key: Option<Arc<Key>>,
    /// The PROXY header version sent to servers; `None`: none is sent.
    pub send: Option<Version>,
    /// Load balancers, which must send a PROXY header.
    pub accept_from: Vec<Network>,
}

/// How connections are drained at shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// From announcing lame duck mode to closing the first connection.
    pub grace: Duration,
    /// From closing a worker's first connection to closing its last.
    pub spread: Duration,
    /// How long the last may take to end.
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
            connection_limits: ConnectionLimits::default(),
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
            proxy: ProxySettings::default(),
        }
    }
}

impl Config {
    /// The number of workers.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .max(1)
    }

    /// One worker's share of `pending`.
    pub(super) fn pending_each(&self) -> usize {
        self.pending
            .checked_div(self.worker_count())
            .unwrap_or(self.pending)
    }

    /// Bytes of session state for one worker, beyond the floor of each session: a quarter of its share of `pending`, in addition.
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
