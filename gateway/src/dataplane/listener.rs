//! Accepting clients and handing each to a worker.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use crate::clock::Clock;

use super::address::{Ends, ListenAddr};
use super::admission::Admission;
use super::worker::{Accepted, Arrived};

/// How many connections the kernel may hold for us; it clips this to its own limit.
const BACKLOG: i32 = 4096;

/// How long a silent connection is trusted before it is probed, and between probes; Go's default, and so nats-server's.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long to wait after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open listener.
pub(super) enum Listener {
    /// Reached over a network.
    Tcp(TcpListener),
    /// Reached within the host; its path goes when it goes.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds `addr`, so that a restart does not wait for old connections to fade, nor stumble over a socket that nobody serves any more.
    ///
    /// # Errors
    /// Whatever the system says: the address is taken, or not ours.
    pub(super) fn bind(addr: &ListenAddr) -> io::Result<Self> {
        match addr {
            ListenAddr::Tcp(addr) => tcp(*addr).map(Self::Tcp),
            ListenAddr::Unix(path) => unix(path).map(|listener| Self::Unix(listener, path.clone())),
        }
    }

    /// Where clients reach it.
    pub(super) fn addr(&self) -> io::Result<ListenAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddr::Tcp),
            Self::Unix(_, path) => Ok(ListenAddr::Unix(path.clone())),
        }
    }

    async fn take(&self) -> io::Result<(Arrived, Ends)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, client) = listener.accept().await?;
                socket.set_nodelay(true)?;
                // R39: a client that vanished is noticed, although it sends nothing.
                SockRef::from(&socket).set_tcp_keepalive(
                    &TcpKeepalive::new()
                        .with_time(KEEPALIVE)
                        .with_interval(KEEPALIVE),
                )?;
                let ends = Ends {
                    client: Some(client),
                    gateway: Some(socket.local_addr()?),
                };
                Ok((Arrived::Tcp(socket.into_std()?), ends))
            }
            Self::Unix(listener, _) => {
                let (socket, _unnamed) = listener.accept().await?;
                let ends = Ends {
                    client: None,
                    gateway: None,
                };
                Ok((Arrived::Unix(socket.into_std()?), ends))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self
            && let Err(error) = std::fs::remove_file(&*path)
        {
            tracing::debug!(%error, path = %path.display(), "a socket stays behind");
        }
    }
}

fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whoever may write to the socket may connect: the umask decides, or the folder's mode.
fn unix(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if StdUnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// What all listeners share.
pub(super) struct Door {
    /// The number of the next client.
    pub(super) counter: AtomicU64,
    pub(super) admission: Arc<Admission>,
    pub(super) clock: Clock,
}

/// Accepts for ever; sessions go to the workers in turn.
pub(super) async fn accept(
    listener: Listener,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    door: Arc<Door>,
) {
    for worker in workers.iter().cycle() {
        let accepted = next(&listener, &door).await;
        if worker.send(accepted).is_err() {
            return;
        }
    }
}

/// The next client, however long accepting fails: one log line until it works again.
async fn next(listener: &Listener, door: &Door) -> Accepted {
    let mut said = false;
    loop {
        match listener.take().await {
            Ok((socket, ends)) => match door.admission.enter(door.clock.instant()) {
                Ok(ticket) => {
                    return Accepted {
                        socket,
                        ends,
                        number: door.counter.fetch_add(1, Ordering::Relaxed),
                        ticket,
                    };
                }
                Err(refusal) => {
                    socket.turn_away(refusal.error());
                    tracing::debug!(client = %ends, limit = refusal.word(), "client turned away");
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
