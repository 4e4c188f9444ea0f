//! Accepting clients and handing each to a worker.

use std::io::{self, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener as StdTcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use crate::clock::Clock;

use super::address::{Endpoints, ListenAddr, canonical};
use super::connection_limits::{Admission, Ticket};
use super::inherited_sockets::{Inherited, ListenSocket, PathOwner, is_dual};
use super::socket;

/// The backlog of `listen(2)`; the kernel caps it.
const BACKLOG: i32 = 4096;

/// The pause after a failed accept: mostly file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open listener.
pub(super) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket. Its path is dropped before it.
    Unix(UnixPath, UnixListener),
}

/// The path of a unix socket.
pub(super) struct UnixPath {
    path: PathBuf,
    removed_on_drop: AtomicBool,
}

/// A client that was accepted.
pub(super) struct Accepted {
    pub(super) socket: AcceptedSocket,
    pub(super) ends: Endpoints,
    /// The session's number, for logs.
    pub(super) number: u64,
    pub(super) ticket: Ticket,
}

/// Its socket, not yet registered with a worker's runtime.
pub(super) enum AcceptedSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AcceptedSocket {
    /// Sends why the connection is refused, if the socket takes it at once.
    pub(super) fn reject(&self, why: &[u8]) {
        let said = match self {
            Self::Tcp(stream) => (&mut &*stream).write(why),
            Self::Unix(stream) => (&mut &*stream).write(why),
        };
        if let Err(error) = said {
            tracing::trace!(%error, "a client is turned away without a word");
        }
    }
}

impl Listener {
    /// Binds `addr`, with `SO_REUSEADDR`, and replaces a unix socket that nobody serves any more.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn bind(addr: &ListenAddr) -> io::Result<Self> {
        match addr {
            ListenAddr::Tcp(addr) => TcpListener::from_std(bind(*addr)?).map(Self::Tcp),
            ListenAddr::Name(..) => Err(io::ErrorKind::InvalidInput.into()),
            ListenAddr::Unix(path) => {
                let listener = unix(path)?;
                let path = UnixPath::new(path.clone(), PathOwner::Gateway);
                Ok(Self::Unix(path, listener))
            }
        }
    }

    /// Takes over a socket that another process has bound. Its path is not removed unless `set_path_owner` says so.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn adopt(socket: Inherited) -> io::Result<Self> {
        match (socket.socket, socket.addr) {
            (ListenSocket::Unix(listener), ListenAddr::Unix(path)) => {
                let listener = UnixListener::from_std(listener)?;
                Ok(Self::Unix(UnixPath::new(path, PathOwner::Other), listener))
            }
            (ListenSocket::Tcp(listener), _) => TcpListener::from_std(listener).map(Self::Tcp),
            (ListenSocket::Unix(_), ListenAddr::Tcp(_) | ListenAddr::Name(..)) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
        }
    }

    /// Sets who removes the path.
    pub(super) fn set_path_owner(&self, to: PathOwner) {
        if let Self::Unix(unix, _) = self {
            unix.removed_on_drop
                .store(to == PathOwner::Gateway, Ordering::Relaxed);
        }
    }

    /// Who removes the path.
    pub(super) fn path_owner(&self) -> PathOwner {
        match self {
            Self::Unix(unix, _) if unix.removed_on_drop.load(Ordering::Relaxed) => {
                PathOwner::Gateway
            }
            Self::Unix(..) | Self::Tcp(_) => PathOwner::Other,
        }
    }

    /// A duplicate descriptor of the socket.
    ///
    /// # Errors
    /// When no file descriptor is left.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(_, listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// The bound address.
    pub(super) fn addr(&self) -> io::Result<ListenAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddr::Tcp),
            Self::Unix(unix, _) => Ok(ListenAddr::Unix(unix.path.clone())),
        }
    }

    /// Whether connections to `addr` are accepted here already.
    pub(super) fn covers(&self, addr: SocketAddr) -> bool {
        let Self::Tcp(listener) = self else {
            return false;
        };
        let own = listener.local_addr();
        own.is_ok_and(|own| {
            let families = own.is_ipv4() == addr.is_ipv4() || is_dual(&SockRef::from(listener));
            let everywhere = own.ip().is_unspecified() && own.port() == addr.port() && families;
            own == addr || everywhere
        })
    }

    async fn accept_one(&self) -> io::Result<(AcceptedSocket, Endpoints)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, client) = listener.accept().await?;
                socket.set_nodelay(true)?;
                socket::set_keepalive(&socket)?;
                let ends = Endpoints {
                    client: Some(canonical(client)),
                    gateway: Some(canonical(socket.local_addr()?)),
                };
                Ok((AcceptedSocket::Tcp(socket.into_std()?), ends))
            }
            Self::Unix(_, listener) => {
                let (socket, _unnamed) = listener.accept().await?;
                let ends = Endpoints {
                    client: None,
                    gateway: None,
                };
                Ok((AcceptedSocket::Unix(socket.into_std()?), ends))
            }
        }
    }
}

impl UnixPath {
    const fn new(path: PathBuf, owner: PathOwner) -> Self {
        Self {
            path,
            removed_on_drop: AtomicBool::new(matches!(owner, PathOwner::Gateway)),
        }
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if *self.removed_on_drop.get_mut()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "a socket stays behind");
        }
    }
}

/// Listens at `addr`. `0.0.0.0` and `[::]` mean every address of both families, as with nats-server: one dual-stack socket, or
/// one of IPv4 where the host has no IPv6.
///
/// # Errors
/// The system's.
pub fn bind(addr: SocketAddr) -> io::Result<StdTcpListener> {
    if !addr.ip().is_unspecified() {
        return tcp(addr);
    }
    match tcp(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), addr.port())) {
        Err(error) if addr.is_ipv4() && is_missing(&error) => tcp(addr),
        bound => bound,
    }
}

/// Whether the host lacks the address or its family.
pub(super) fn is_missing(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn tcp(addr: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // Regardless of `net.ipv6.bindv6only`.
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Access is controlled by the socket's mode (umask) and the directory's.
fn unix(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Shared by all listeners.
pub(super) struct AcceptState {
    /// The next session's number.
    pub(super) counter: AtomicU64,
    pub(super) admission: Arc<Admission>,
    pub(super) clock: Clock,
}

/// Accepts until dropped, and hands clients to the workers round-robin.
pub(super) async fn accept(
    listener: Arc<Listener>,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    state: Arc<AcceptState>,
) {
    for worker in workers.iter().cycle() {
        let accepted = next(&listener, &state).await;
        if worker.send(accepted).is_err() {
            return;
        }
    }
}

/// The next client; while accepting fails, one log line.
async fn next(listener: &Listener, state: &AcceptState) -> Accepted {
    let mut said = false;
    loop {
        match listener.accept_one().await {
            Ok((socket, ends)) => match state.admission.admit(state.clock.instant()) {
                Ok(ticket) => {
                    return Accepted {
                        socket,
                        ends,
                        number: state.counter.fetch_add(1, Ordering::Relaxed),
                        ticket,
                    };
                }
                Err(refusal) => {
                    socket.reject(refusal.error());
                    tracing::debug!(client = %ends, limit = <&str>::from(refusal), "client turned away");
                    continue;
                }
            },
            Err(error) if !said => {
                tracing::warn!(%error, "cannot accept connections; trying until it works");
                said = true;
            }
            Err(_same) => {}
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
