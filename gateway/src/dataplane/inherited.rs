//! Listening sockets that somebody else has bound: a service manager, or the gateway that ran before.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use socket2::{SockRef, Socket};

use super::address::ListenAddr;
use super::listener::is_dual;

/// A listening socket, ready to accept from.
#[derive(Debug)]
pub enum ListenSocket {
    /// Reached over a network.
    Tcp(TcpListener),
    /// Reached within the host.
    Unix(UnixListener),
}

/// A listening socket from elsewhere.
#[derive(Debug)]
pub struct Inherited {
    /// The socket.
    pub socket: ListenSocket,
    /// Where it listens.
    pub addr: ListenAddr,
    /// Whoever bound it.
    pub from: Binder,
}

/// Whoever bound a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binder {
    /// A service manager. The path of a unix socket stays its own.
    Manager,
    /// The gateway that ran before.
    Predecessor {
        /// What its configuration called the address: port 0 where the system chose one.
        configured: ListenAddr,
        /// Whether the path of the unix socket is the gateways' to remove.
        path: PathOf,
    },
}

/// Whose the path of a unix socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOf {
    /// It goes with the gateway.
    Gateway,
    /// It stays.
    Other,
}

/// A socket for the successor.
#[derive(Debug)]
pub struct Handed {
    /// The socket: another descriptor of it.
    pub socket: OwnedFd,
    /// What the configuration calls the address.
    pub configured: ListenAddr,
    /// Whose its path is.
    pub path: PathOf,
}

impl Inherited {
    /// A socket that was passed to this process.
    ///
    /// # Errors
    /// What the system says: it does not listen, or at no address that clients can use.
    pub fn new(socket: ListenSocket, from: Binder) -> io::Result<Self> {
        let addr = match &socket {
            ListenSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                listener.local_addr().map(ListenAddr::Tcp)?
            }
            ListenSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let unnamed = io::ErrorKind::AddrNotAvailable;
                let addr = listener.local_addr()?;
                ListenAddr::Unix(addr.as_pathname().ok_or(unnamed)?.to_owned())
            }
        };
        Ok(Self { socket, addr, from })
    }

    /// The same for a descriptor whose kind is yet to be seen.
    ///
    /// # Errors
    /// As [`Inherited::new`].
    pub fn of_descriptor(socket: OwnedFd, from: Binder) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let socket = if socket.local_addr()?.is_unix() {
            ListenSocket::Unix(OwnedFd::from(socket).into())
        } else {
            ListenSocket::Tcp(socket.into())
        };
        Self::new(socket, from)
    }

    /// Whether this is the socket that the configuration asks for by `listen`.
    #[must_use]
    pub fn serves(&self, listen: &ListenAddr) -> bool {
        if self.addr == *listen || self.covers(listen) {
            return true;
        }
        match &self.from {
            Binder::Predecessor { configured, .. } => configured == listen,
            Binder::Manager => false,
        }
    }

    /// `[::]` is `0.0.0.0` too, unless the socket was told otherwise: what systemd makes of a bare port.
    fn covers(&self, listen: &ListenAddr) -> bool {
        let (Some(ours), Some(asked)) = (self.addr.tcp(), listen.tcp()) else {
            return false;
        };
        let both = ours.is_ipv6() && ours.ip().is_unspecified();
        both && asked.is_ipv4()
            && asked.ip().is_unspecified()
            && ours.port() == asked.port()
            && is_dual(&SockRef::from(&self.socket))
    }

    /// Takes the socket for `listen` out of `sockets`.
    pub fn take(sockets: &mut Vec<Self>, listen: &ListenAddr) -> Option<Self> {
        let at = sockets.iter().position(|socket| socket.serves(listen))?;
        Some(sockets.swap_remove(at))
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(addr: &str, from: Binder) -> Inherited {
        let listener = TcpListener::bind(addr).unwrap();
        Inherited::of_descriptor(listener.into(), from).unwrap()
    }

    #[test]
    fn socket_serves_the_address_it_has_and_the_one_it_was_asked_for() {
        let zero = ListenAddr::Tcp(([127, 0, 0, 1], 0).into());
        let socket = inherited("127.0.0.1:0", Binder::Manager);
        assert!(socket.serves(&socket.addr));
        assert!(!socket.serves(&zero));
        let from = Binder::Predecessor {
            configured: zero.clone(),
            path: PathOf::Other,
        };
        assert!(inherited("127.0.0.1:0", from).serves(&zero));
    }

    #[test]
    fn socket_of_both_families_serves_the_older_too() {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            return;
        };
        let socket = Inherited::of_descriptor(listener.into(), Binder::Manager).unwrap();
        let port = socket.addr.tcp().unwrap().port();
        let asked = ListenAddr::Tcp(([0, 0, 0, 0], port).into());
        assert!(socket.serves(&asked));
        let other = ListenAddr::Tcp(([127, 0, 0, 1], port).into());
        assert!(!socket.serves(&other));
    }

    #[test]
    fn unix_socket_is_known_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = Inherited::of_descriptor(listener.into(), Binder::Manager).unwrap();
        let mut sockets = vec![socket];
        assert!(Inherited::take(&mut sockets, &ListenAddr::Unix(path.clone())).is_some());
        assert!(Inherited::take(&mut sockets, &ListenAddr::Unix(path)).is_none());
    }
}
