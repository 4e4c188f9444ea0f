//! Listening sockets that were bound by another process: a service manager, or the gateway that hands over.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use socket2::{SockRef, Socket};

use super::address::ListenAddr;

/// A listening socket.
#[derive(Debug)]
pub enum ListenSocket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// A listening socket of another process.
#[derive(Debug)]
pub struct Inherited {
    /// The socket.
    pub socket: ListenSocket,
    /// Where it listens.
    pub addr: ListenAddr,
    /// Which process bound it.
    pub from: BoundBy,
}

/// Which process bound a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundBy {
    /// A service manager, which also removes the path of a unix socket.
    Manager,
    /// The gateway that hands over.
    Predecessor {
        /// The address as configured there: port 0 where the system chose one.
        configured: ListenAddr,
        /// Who removes the path of the unix socket.
        path: PathOwner,
    },
}

/// Who removes the path of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOwner {
    /// The gateway, when it stops.
    Gateway,
    /// Somebody else.
    Other,
}

/// A listening socket for the process that takes over.
#[derive(Debug)]
pub struct HandoverSocket {
    /// A duplicate descriptor.
    pub socket: OwnedFd,
    /// The address as configured.
    pub configured: ListenAddr,
    /// Who removes its path.
    pub path: PathOwner,
}

impl Inherited {
    /// A socket that was passed to this process.
    ///
    /// # Errors
    /// The system's; or the unix socket has no path.
    pub fn new(socket: ListenSocket, from: BoundBy) -> io::Result<Self> {
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

    /// The same for a descriptor of either kind.
    ///
    /// # Errors
    /// As [`Inherited::new`].
    pub fn of_descriptor(socket: OwnedFd, from: BoundBy) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let socket = if socket.local_addr()?.is_unix() {
            ListenSocket::Unix(OwnedFd::from(socket).into())
        } else {
            ListenSocket::Tcp(socket.into())
        };
        Self::new(socket, from)
    }

    /// Whether this is the socket for the configured address `listen`.
    #[must_use]
    pub fn serves(&self, listen: &ListenAddr) -> bool {
        if self.addr == *listen || self.covers(listen) {
            return true;
        }
        match &self.from {
            BoundBy::Predecessor { configured, .. } => configured == listen,
            BoundBy::Manager => false,
        }
    }

    /// `[::]` serves `0.0.0.0`, too, unless the socket is IPv6-only: systemd binds `[::]` for a bare port.
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

    /// Removes the socket for `listen` from `sockets`.
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

/// Whether an IPv6 socket accepts IPv4, too.
pub(super) fn is_dual(socket: &SockRef<'_>) -> bool {
    socket.only_v6().is_ok_and(|only| !only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(addr: &str, from: BoundBy) -> Inherited {
        let listener = TcpListener::bind(addr).unwrap();
        Inherited::of_descriptor(listener.into(), from).unwrap()
    }

    #[test]
    fn socket_serves_the_address_it_has_and_the_one_it_was_asked_for() {
        let zero = ListenAddr::Tcp(([127, 0, 0, 1], 0).into());
        let socket = inherited("127.0.0.1:0", BoundBy::Manager);
        assert!(socket.serves(&socket.addr));
        assert!(!socket.serves(&zero));
        let from = BoundBy::Predecessor {
            configured: zero.clone(),
            path: PathOwner::Other,
        };
        assert!(inherited("127.0.0.1:0", from).serves(&zero));
    }

    #[test]
    fn socket_of_both_families_serves_the_older_too() {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            return;
        };
        let socket = Inherited::of_descriptor(listener.into(), BoundBy::Manager).unwrap();
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
        let socket = Inherited::of_descriptor(listener.into(), BoundBy::Manager).unwrap();
        let mut sockets = vec![socket];
        assert!(Inherited::take(&mut sockets, &ListenAddr::Unix(path.clone())).is_some());
        assert!(Inherited::take(&mut sockets, &ListenAddr::Unix(path)).is_none());
    }
}
