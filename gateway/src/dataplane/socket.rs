//! Reading and writing a socket without holding memory while nothing happens.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::tls::Peer;
use crate::wire::Buffer;

use super::encrypted::{Encrypted, Held};
use super::pace::Keeper;
use super::pending::Input;
use super::worker::Worker;

/// A batch of so much is a turn.
const TURN: usize = 16 * 1024;

/// How long a client may take nothing at all before it counts as gone; the server gives its clients 10 s (`write_deadline`).
const CLIENT_STALLED: Duration = Duration::from_secs(30);

/// How long a silent connection is trusted before it is probed, and between probes; Go's default, and so nats-server's.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long a peer may take nothing.
#[derive(Clone, Copy)]
pub(super) enum Patience<'w> {
    /// Half a minute.
    Client,
    /// The same; or as [`Keeper::patiently`] has it, while others wait for the room that it takes.
    Holder(Keeper<'w>),
    /// For longer than any session: a server may be paused, and its clients are the ones who decide to leave it.
    Server,
}

/// A connection, to a client or to a server.
pub(super) enum Socket {
    /// Over a network.
    Tcp(TcpStream),
    /// Within the host.
    Unix(UnixStream),
    /// Over a network, under TLS.
    Tls(Box<Encrypted>),
}

impl Socket {
    /// Whom the client's certificate names; nobody without one.
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

    /// Waits for bytes and shows them without taking them; 0 is the end of the stream.
    ///
    /// # Errors
    /// Whatever the system says.
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

    /// Takes so many of the bytes that [`Socket::peek`] has shown.
    ///
    /// # Errors
    /// Whatever the system says.
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

    /// Says why the connection ends; as far as that can be said without waiting.
    pub(super) fn turn_away(&self, why: &[u8]) {
        // The runtime has yet to learn that a fresh socket can be written, and would not try.
        if let Err(error) = rustix::net::send(self, why, SendFlags::NOSIGNAL) {
            tracing::trace!(%error, "a client is turned away without a word");
        }
    }

    /// Whether nothing can be said to the peer any more: the connection was reset, or both sides have closed. A peer that has only
    /// said its last is not gone.
    pub(super) fn is_gone(&self) -> bool {
        let mut watched = [PollFd::new(self, PollFlags::empty())];
        let now = Timespec::default();
        let polled = rustix::event::poll(&mut watched, Some(&now));
        let gone = PollFlags::HUP | PollFlags::ERR;
        polled.is_ok() && watched.iter().any(|fd| fd.revents().intersects(gone))
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn finish(&self) {
        if let Self::Tls(encrypted) = self {
            encrypted.finish();
        }
        // Fails only when the peer has gone; then there is nobody to tell.
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

/// A peer that vanished is noticed, although nothing is sent.
///
/// # Errors
/// What the system says.
pub(super) fn probe_while_silent(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Reads once into `input`, waiting as long as it takes; an empty `input` holds neither memory nor room meanwhile. `need` is the
/// length at which `input` is worth another look. `Ok(0)` is the end of the stream.
///
/// # Errors
/// What the system says; `OutOfMemory` when the peer kept others waiting for room.
pub(super) async fn fill<'w>(
    socket: &Socket,
    input: &mut Input<'w>,
    need: usize,
    worker: &'w Worker,
) -> io::Result<usize> {
    match socket {
        Socket::Tcp(_) | Socket::Unix(_) => fill_raw(socket, input, need, worker).await,
        Socket::Tls(encrypted) => decrypt((socket, encrypted), input, need, worker).await,
    }
}

/// The same of what the peer has sent, encrypted or not.
pub(super) async fn fill_raw<'w>(
    socket: &Socket,
    input: &mut Input<'w>,
    need: usize,
    worker: &'w Worker,
) -> io::Result<usize> {
    loop {
        readable(socket, input, worker).await?;
        let most = input
            .make_room(need, (&worker.pool, &worker.pending))
            .await?;
        let buffer = &mut input.buffer;
        match read_once(socket, first(buffer.spare(), most)) {
            Ok(count) => {
                buffer.advance(count);
                input.moved(count);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn decrypt<'w>(
    (socket, encrypted): (&Socket, &Encrypted),
    input: &mut Input<'w>,
    need: usize,
    worker: &'w Worker,
) -> io::Result<usize> {
    let before = input.buffer.len();
    loop {
        match encrypted.held()? {
            Held::Closed => return Ok(0),
            Held::Nothing => readable(socket, input, worker).await?,
            Held::Some => {}
        }
        let most = input
            .make_room(need, (&worker.pool, &worker.pending))
            .await?;
        encrypted.take(&mut input.buffer, (&worker.pool, most))?;
        let count = input.buffer.len().saturating_sub(before);
        if count != 0 {
            input.moved(count);
            return Ok(count);
        }
    }
}

/// Waits for the peer; with as little in hand as can be.
async fn readable<'w>(
    socket: &Socket,
    input: &mut Input<'w>,
    worker: &'w Worker,
) -> io::Result<()> {
    if input.buffer.is_empty() {
        input.release(&worker.pool);
        return socket.readable().await;
    }
    if let Some(ready) = socket.readable().now_or_never() {
        return ready;
    }
    input.settle((&worker.pool, &worker.pending));
    let keeper = input.keeper(&worker.pending);
    keeper.patiently(socket.readable()).await
}

/// Writes all of `output` and leaves it empty.
///
/// # Errors
/// What the system says; `TimedOut` or `OutOfMemory` when a client takes nothing for too long.
pub(super) async fn flush(
    socket: &Socket,
    output: &mut Buffer,
    patience: Patience<'_>,
) -> io::Result<()> {
    if let Socket::Tls(encrypted) = socket {
        return encrypt((socket, encrypted), output, patience).await;
    }
    while !output.is_empty() {
        match socket.try_write(output.filled()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                output.consume(count);
                patience.moved(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                patience.writable(socket).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn encrypt(
    (socket, encrypted): (&Socket, &Encrypted),
    output: &mut Buffer,
    patience: Patience<'_>,
) -> io::Result<()> {
    while !output.is_empty() {
        let count = encrypted.put(output.filled())?;
        output.consume(count);
        while !encrypted.send()? {
            patience.writable(socket).await?;
        }
        patience.moved(count);
    }
    Ok(())
}

impl Patience<'_> {
    async fn writable(self, socket: &Socket) -> io::Result<()> {
        match self {
            Self::Client => timeout(CLIENT_STALLED, socket.writable()).await?,
            Self::Holder(keeper) => {
                timeout(CLIENT_STALLED, keeper.patiently(socket.writable())).await?
            }
            Self::Server => socket.writable().await,
        }
    }

    /// The peer has taken so much.
    fn moved(self, count: usize) {
        if let Self::Holder(keeper) = self {
            keeper.holder.moved(count);
        }
    }
}

/// After a batch of `held` bytes, lets the worker's other sessions go on: a peer that always has more to read would keep the
/// worker to itself, for reading and writing without waiting never yields.
pub(super) async fn take_turns(held: usize) {
    if held >= TURN {
        tokio::task::yield_now().await;
    }
}

/// No more than so much of it.
pub(super) fn first(spare: &mut [u8], most: usize) -> &mut [u8] {
    let end = spare.len().min(most);
    spare.get_mut(..end).unwrap_or_default()
}

fn read_once(socket: &Socket, spare: &mut [u8]) -> io::Result<usize> {
    let mut count = None;
    let read = socket.try_io(Interest::READABLE, || {
        receive(socket.as_fd(), spare, &mut count)
    });
    count.map_or(read, Ok)
}

/// A read that brought less than it could has emptied the socket: tokio is told so, which saves the read that would find nothing.
/// What it brought is in `count`.
pub(super) fn receive(
    from: BorrowedFd<'_>,
    spare: &mut [u8],
    count: &mut Option<usize>,
) -> io::Result<usize> {
    let got = rustix::net::recv(from, &mut *spare, RecvFlags::empty())?.1;
    *count = Some(got);
    if got != 0 && got < spare.len() {
        Err(io::ErrorKind::WouldBlock.into())
    } else {
        Ok(got)
    }
}
