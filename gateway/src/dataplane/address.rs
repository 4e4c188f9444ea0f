//! Where clients connect, and where they come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// An IP address and a TCP port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket, for clients on the same host.
    Unix(PathBuf),
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is; `None`: on this host, at a unix socket.
    pub client: Option<SocketAddr>,
    /// Where it reached us; `None`: at a unix socket.
    pub gateway: Option<SocketAddr>,
}

impl ListenAddr {
    /// The address, unless it is a unix socket's.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl Ends {
    /// The client's IP address: that of this host at a unix socket.
    #[must_use]
    pub fn client_ip(&self) -> IpAddr {
        self.client.map_or(THIS_HOST, |addr| addr.ip())
    }

    /// What INFO calls `host` and `port`. Whoever came through a unix socket cannot come through a port that is not there.
    #[must_use]
    pub fn reached(&self) -> (IpAddr, u16) {
        let reached = self.gateway.map(|addr| (addr.ip(), addr.port()));
        reached.unwrap_or((THIS_HOST, 0))
    }
}

const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The client's end: what names it in logs.
impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(addr) => addr.fmt(f),
            None => f.write_str("unix"),
        }
    }
}
