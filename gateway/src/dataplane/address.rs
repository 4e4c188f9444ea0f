//! Listen addresses, and the addresses of a client's connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

/// An address of `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// An IP address and a TCP port; port 0 lets the system choose. `0.0.0.0` and `[::]` are every address of both families, as
    /// with nats-server.
    Tcp(SocketAddr),
    /// A host name, or an IPv6 address with a zone, and a TCP port: every address that it resolves to at the start.
    Name(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client's address; `None`: a unix socket.
    pub client: Option<SocketAddr>,
    /// The gateway's own address; `None`: a unix socket.
    pub gateway: Option<SocketAddr>,
}

impl ListenAddr {
    /// The TCP address, if it is one.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Name(..) | Self::Unix(_) => None,
        }
    }

    /// Whether other hosts may reach it. Names other than `localhost` count as reachable, since they are not resolved before the
    /// start.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp(addr) => !addr.ip().is_loopback(),
            Self::Name(host, _) => host != "localhost",
            Self::Unix(_) => false,
        }
    }

    /// Whether a listener at this address also accepts connections to `addr`.
    #[must_use]
    pub fn covers(&self, addr: SocketAddr) -> bool {
        let same_port = |port: u16| port != 0 && port == addr.port();
        match self {
            Self::Tcp(own) => {
                same_port(own.port()) && (own.ip().is_unspecified() || own.ip() == addr.ip())
            }
            Self::Name(host, port) => {
                host == "localhost" && same_port(*port) && addr.ip().is_loopback()
            }
            Self::Unix(_) => false,
        }
    }

    /// Resolves a name; blocks.
    ///
    /// # Errors
    /// The resolver's.
    pub(super) fn resolve(&self) -> io::Result<Vec<Self>> {
        let Self::Name(host, port) = self else {
            return Ok(vec![self.clone()]);
        };
        let mut found = Vec::new();
        for addr in (host.as_str(), *port).to_socket_addrs()?.map(Self::Tcp) {
            if !found.contains(&addr) {
                found.push(addr);
            }
        }
        Ok(found)
    }
}

/// IPv4-mapped IPv6 addresses, as dual-stack sockets report them, become IPv4 addresses.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(four) => SocketAddr::new(four.into(), addr.port()),
        // Keeps the zone.
        IpAddr::V6(_) => addr,
    }
}

impl Endpoints {
    /// The client's IP address; the loopback address at a unix socket.
    #[must_use]
    pub fn client_ip(&self) -> IpAddr {
        self.client.map_or(THIS_HOST, |addr| addr.ip())
    }

    /// INFO's `host` and `port`. Port 0 at a unix socket: there may be no TCP listener to name.
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
            Self::Name(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The client's address, for logs.
impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(addr) => addr.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_zone_leads_to_its_interface() {
        let named = ListenAddr::Name("fe80::1%lo".to_owned(), 4);
        let addr = named.resolve().unwrap().remove(0).tcp().unwrap();
        let SocketAddr::V6(six) = addr else {
            panic!("an IPv4 address");
        };
        assert_ne!(six.scope_id(), 0);
        assert_eq!(canonical(addr), addr);
        assert_eq!(named.to_string(), "[fe80::1%lo]:4");
    }
}
