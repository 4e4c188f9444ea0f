//! Why a session ended.

use strum::IntoStaticStr;

use super::socket_error::SocketError;

/// Why a session ended. Its word is that in metrics and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum EndReason {
    /// The client closed.
    Client,
    /// The gateway stopped; the session was drained.
    Stopped,
    /// The server closed.
    Server,
    /// The server violated the protocol.
    ServerMalformed,
    /// The server accepted the connection and sent no INFO.
    ServerSilent,
    /// The client read nothing for 30 s: a slow consumer.
    ClientStalled,
    /// A peer was slow while others waited for the memory that its bytes occupy.
    Shed,
    /// The client sent no whole operation within `limits.auth-timeout`.
    #[strum(serialize = "auth-timeout")]
    Unauthenticated,
    /// The client published a message larger than `limits.max-message`.
    TooLarge,
    /// The limit of connections from the client's address was reached.
    #[strum(serialize = "address")]
    AddressLimit,
    /// A load balancer sent no valid PROXY header.
    #[strum(serialize = "proxy-header")]
    NoProxyHeader,
    /// No server could be reached.
    NoServer,
    /// TLS with the client or the server failed.
    NoTls,
}

impl EndReason {
    /// The error for the client when the gateway ends the session: that of nats-server in this case.
    pub(super) const fn last_error(self) -> Option<&'static [u8]> {
        match self {
            Self::Unauthenticated => Some(b"-ERR 'Authentication Timeout'\r\n"),
            Self::TooLarge => Some(b"-ERR 'Maximum Payload Violation'\r\n"),
            Self::Client
            | Self::Stopped
            | Self::Server
            | Self::ServerMalformed
            | Self::ServerSilent
            | Self::ClientStalled
            | Self::Shed
            | Self::AddressLimit
            | Self::NoProxyHeader
            | Self::NoServer
            | Self::NoTls => None,
        }
    }

    /// Whether another server may work.
    pub(super) const fn is_servers_fault(self) -> bool {
        match self {
            Self::Server | Self::ServerMalformed | Self::ServerSilent | Self::NoTls => true,
            Self::Client
            | Self::Stopped
            | Self::ClientStalled
            | Self::Shed
            | Self::Unauthenticated
            | Self::TooLarge
            | Self::AddressLimit
            | Self::NoProxyHeader
            | Self::NoServer => false,
        }
    }

    /// For an error of the server's socket.
    pub(super) const fn by_server(error: &SocketError) -> Self {
        match error {
            SocketError::Shed => Self::Shed,
            SocketError::Stalled | SocketError::Io(_) => Self::Server,
        }
    }

    /// For an error of the client's socket.
    pub(super) const fn by_client(error: &SocketError) -> Self {
        match error {
            SocketError::Shed => Self::Shed,
            SocketError::Stalled => Self::ClientStalled,
            SocketError::Io(_) => Self::Client,
        }
    }
}
