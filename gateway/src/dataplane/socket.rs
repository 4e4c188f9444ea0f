//! Reading and writing sockets; an idle one holds no buffer.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::tls::Peer;
use crate::wire::Buffer;

use super::backpressure::{Input, PendingMemory};
use super::receive::{receive, truncated};
use super::slow_peers::PeerWait;
use super::socket_error::SocketError;
use super::tls_stream::{Plaintext, TlsStream};

/// After a batch of this size the task yields.
const YIELD_SIZE: usize = 16 * 1024;

/// The write deadline for clients; nats-server's `write_deadline` is 10 s.
const CLIENT_STALLED: Duration = Duration::from_secs(30);

/// TCP keep-alive, idle time and interval: Go's default, and so nats-server's.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long one peer may take to close after the other has.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// How long a closing socket's input is read and discarded, so that the peer gets no reset.
const DISCARD: Duration = Duration::from_secs(1);

/// How long a write may make no progress.
#[derive(Clone, Copy)]
pub(super) enum WriteTimeout<'w> {
    /// `CLIENT_STALLED`.
    Client,
    /// The same, or less while others wait for the memory: [`PeerWait::unless_revoked`].
    Holder(PeerWait<'w>),
    /// No limit: a server may be paused, and its clients decide when to leave it.
    Server,
}

/// A connection, to a client or to a server.
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TCP with TLS.
    Tls(Box<TlsStream>),
}

impl Socket {
    /// The names in the client's certificate.
    pub(super) fn peer(&self) -> Option<Peer> {
        match self {
            Self::Tls(encrypted) => encrypted.peer(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            Self::Tls(encrypted) => encrypted.stream().readable().await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
            Self::Tls(encrypted) => encrypted.stream().writable().await,
        }
    }

    fn try_io<T>(&self, interest: Interest, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, act),
            Self::Unix(stream) => stream.try_io(interest, act),
            Self::Tls(encrypted) => encrypted.stream().try_io(interest, act),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tls(encrypted) => encrypted.stream().try_write(bytes),
        }
    }

    /// Waits for bytes and peeks at them; 0 is the end of the stream.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn peek(&self, shown: &mut [u8]) -> io::Result<usize> {
        loop {
            self.readable().await?;
            let look = || Ok(rustix::net::recv(self, &mut *shown, RecvFlags::PEEK)?.1);
            match self.try_io(Interest::READABLE, look) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Consumes so many peeked bytes.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn skip(&self, mut count: usize) -> io::Result<()> {
        while count != 0 {
            let mut taken = [0; 128];
            let end = count.min(taken.len());
            let taken = taken.get_mut(..end).unwrap_or_default();
            match rustix::net::recv(self, taken, RecvFlags::empty())?.1 {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => count = count.saturating_sub(got),
            }
        }
        Ok(())
    }

    /// Sends why the connection is refused, if the socket takes it at once.
    pub(super) fn reject(&self, why: &[u8]) {
        // Bypasses tokio, which does not know yet that a fresh socket is writable.
        if let Err(error) = rustix::net::send(self, why, SendFlags::NOSIGNAL) {
            tracing::trace!(%error, "a client is turned away without a word");
        }
    }

    /// Whether the connection was reset, or both sides have closed. A peer that has half-closed is not gone.
    pub(super) fn is_gone(&self) -> bool {
        let mut watched = [PollFd::new(self, PollFlags::empty())];
        let now = Timespec::default();
        let polled = rustix::event::poll(&mut watched, Some(&now));
        let gone = PollFlags::HUP | PollFlags::ERR;
        polled.is_ok() && watched.iter().any(|fd| fd.revents().intersects(gone))
    }

    /// Half-closes: the peer reads the end of the stream.
    pub(super) fn finish(&self) {
        if let Self::Tls(encrypted) = self {
            encrypted.finish();
        }
        // Fails only when the peer has gone.
        drop(SockRef::from(self).shutdown(Shutdown::Write));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(encrypted) => encrypted.stream().as_fd(),
        }
    }
}

/// Enables TCP keep-alive, so that a vanished peer is noticed.
///
/// # Errors
/// The socket's.
pub(super) fn set_keepalive(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Waits for bytes and reads once into `input`; an empty `input` holds no memory while waiting. `need` is the length that `input`
/// must have to be parsed further. `Ok(0)` is the end of the stream.
///
/// # Errors
/// [`SocketError`].
pub(super) async fn fill<'w>(
    socket: &Socket,
    input: &mut Input<'w>,
    need: usize,
    pending: &'w PendingMemory,
) -> Result<usize, SocketError> {
    match socket {
        Socket::Tcp(_) | Socket::Unix(_) => fill_raw(socket, input, need, pending).await,
        Socket::Tls(encrypted) => decrypt((socket, encrypted), input, need, pending).await,
    }
}

/// The same without decryption.
async fn fill_raw<'w>(
    socket: &Socket,
    input: &mut Input<'w>,
    need: usize,
    pending: &'w PendingMemory,
) -> Result<usize, SocketError> {
    loop {
        readable(socket, input, pending).await?;
        let most = input.make_room(need, pending).await?;
        let buffer = &mut input.buffer;
        match read_once(socket, truncated(buffer.spare(), most)) {
            Ok(count) => {
                buffer.advance(count);
                input.moved(count);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn decrypt<'w>(
    (socket, encrypted): (&Socket, &TlsStream),
    input: &mut Input<'w>,
    need: usize,
    pending: &'w PendingMemory,
) -> Result<usize, SocketError> {
    let before = input.buffer.len();
    loop {
        match encrypted.plaintext()? {
            Plaintext::Closed => return Ok(0),
            Plaintext::None => readable(socket, input, pending).await?,
            Plaintext::Available => {}
        }
        let most = input.make_room(need, pending).await?;
        encrypted.decrypt(&mut input.buffer, (&pending.pool, most))?;
        let count = input.buffer.len().saturating_sub(before);
        if count != 0 {
            input.moved(count);
            return Ok(count);
        }
    }
}

/// Waits for the peer, after giving back what memory it can.
async fn readable<'w>(
    socket: &Socket,
    input: &mut Input<'w>,
    pending: &'w PendingMemory,
) -> Result<(), SocketError> {
    if input.buffer.is_empty() {
        input.release(pending);
        return Ok(socket.readable().await?);
    }
    if let Some(ready) = socket.readable().now_or_never() {
        return Ok(ready?);
    }
    input.settle(pending);
    let peer_wait = input.peer_wait(pending);
    peer_wait.unless_revoked(socket.readable()).await
}

/// Writes all of `output` and leaves it empty.
///
/// # Errors
/// [`SocketError`].
pub(super) async fn flush(
    socket: &Socket,
    output: &mut Buffer,
    timeout_rule: WriteTimeout<'_>,
) -> Result<(), SocketError> {
    if let Socket::Tls(encrypted) = socket {
        return encrypt((socket, encrypted), output, timeout_rule).await;
    }
    while !output.is_empty() {
        match socket.try_write(output.filled()) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(count) => {
                output.consume(count);
                timeout_rule.moved(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout_rule.writable(socket).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn encrypt(
    (socket, encrypted): (&Socket, &TlsStream),
    output: &mut Buffer,
    timeout_rule: WriteTimeout<'_>,
) -> Result<(), SocketError> {
    while !output.is_empty() {
        let count = encrypted.encrypt(output.filled())?;
        output.consume(count);
        while !encrypted.flush_records()? {
            timeout_rule.writable(socket).await?;
        }
        timeout_rule.moved(count);
    }
    Ok(())
}

impl WriteTimeout<'_> {
    async fn writable(self, socket: &Socket) -> Result<(), SocketError> {
        let stalled = |_elapsed| SocketError::Stalled;
        let writable = socket.writable();
        match self {
            Self::Client => Ok(timeout(CLIENT_STALLED, writable).await.map_err(stalled)??),
            Self::Holder(peer_wait) => {
                let writable = peer_wait.unless_revoked(writable);
                timeout(CLIENT_STALLED, writable).await.map_err(stalled)?
            }
            Self::Server => Ok(writable.await?),
        }
    }

    fn moved(self, count: usize) {
        if let Self::Holder(peer_wait) = self {
            peer_wait.holder.moved(count);
        }
    }
}

/// Yields to the worker's other sessions after a batch of `held` bytes: a peer that always has more would never let the task
/// wait.
pub(super) async fn yield_after_batch(held: usize) {
    if held >= YIELD_SIZE {
        tokio::task::yield_now().await;
    }
}

fn read_once(socket: &Socket, spare: &mut [u8]) -> io::Result<usize> {
    let mut count = None;
    let read = socket.try_io(Interest::READABLE, || {
        receive(socket.as_fd(), spare, &mut count)
    });
    count.map_or(read, Ok)
}

/// Closes sockets without losing what a peer has not read yet: closing a socket with unread input resets the connection, which
/// discards a final `-ERR` on one side, or a last publish on the other.
pub(super) async fn close(sockets: &[&Socket], pending: &PendingMemory) {
    sockets.iter().for_each(|socket| socket.finish());
    let discarded = sockets.iter().map(|socket| discard(socket, pending));
    drop(timeout(DISCARD, join_all(discarded)).await);
}

async fn discard(socket: &Socket, pending: &PendingMemory) {
    let mut discarded = Input::default();
    while fill_raw(socket, &mut discarded, 0, pending)
        .await
        .is_ok_and(|count| count != 0)
    {
        discarded.buffer.clear();
    }
    discarded.release(pending);
}
