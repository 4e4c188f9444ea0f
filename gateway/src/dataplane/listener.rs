//! Accepting clients and handing each to a worker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::worker::Accepted;

/// How many connections the kernel may hold for us; it clips this to its own limit.
const BACKLOG: i32 = 4096;

/// How long a silent connection is trusted before it is probed, and between probes; Go's default, and so nats-server's.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long to wait after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `addr` so that a restart does not wait for old connections to fade.
///
/// # Errors
/// Whatever the system says: the address is taken, or not ours.
pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts for ever; sessions go to the workers in turn.
pub(super) async fn accept(
    listener: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    counter: Arc<AtomicU64>,
) {
    for worker in workers.iter().cycle() {
        let accepted = next(&listener, &counter).await;
        if worker.send(accepted).is_err() {
            return;
        }
    }
}

/// The next client, however long accepting fails: one log line until it works again.
async fn next(listener: &TcpListener, counter: &AtomicU64) -> Accepted {
    let mut said = false;
    loop {
        match take(listener, counter).await {
            Ok(accepted) => return accepted,
            Err(error) if !said => {
                tracing::warn!(%error, "cannot accept connections; trying until it works");
                said = true;
            }
            Err(_same) => {}
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn take(listener: &TcpListener, counter: &AtomicU64) -> io::Result<Accepted> {
    let (socket, peer) = listener.accept().await?;
    socket.set_nodelay(true)?;
    // R39: a client that vanished is noticed, although it sends nothing.
    SockRef::from(&socket).set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE),
    )?;
    let number = counter.fetch_add(1, Ordering::Relaxed);
    Ok(Accepted {
        socket: socket.into_std()?,
        peer,
        number,
    })
}
