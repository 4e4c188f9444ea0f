//! Reading and writing a socket without holding memory while nothing happens.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::wire::Buffer;

use super::pool::{Pool, READ_SIZE};

/// Compact rather than read less than this.
const SMALLEST_READ: usize = 16 * 1024;

/// How long a client may take nothing at all before it counts as gone; the server gives its clients 10 s (R36). A server may be
/// paused for longer: its clients are the ones who decide to leave it.
pub(super) const CLIENT_STALLED: Duration = Duration::from_secs(30);
/// For a server: longer than any session.
pub(super) const SERVER_STALLED: Duration = Duration::MAX;

/// A connection, to a client or to a server.
pub(super) enum Socket {
    /// Over a network.
    Tcp(TcpStream),
    /// Within the host.
    Unix(UnixStream),
}

impl Socket {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
        }
    }

    fn try_io<T>(&self, interest: Interest, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, act),
            Self::Unix(stream) => stream.try_io(interest, act),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn finish(&self) {
        self.shut(Shutdown::Write);
    }

    /// Reads nothing more: what comes after what has arrived is discarded.
    pub(super) fn deafen(&self) {
        self.shut(Shutdown::Read);
    }

    fn shut(&self, how: Shutdown) {
        // Fails only when the peer has gone; then there is nobody to tell.
        drop(SockRef::from(self).shutdown(how));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Reads once into `input`, waiting as long as it takes; an empty `input` gives its memory back while waiting. `need` is the
/// length at which `input` is worth another look. `Ok(0)` is the end of the stream.
pub(super) async fn fill(
    socket: &Socket,
    input: &mut Buffer,
    need: usize,
    pool: &Pool,
) -> io::Result<usize> {
    loop {
        if input.is_empty() {
            release(input, pool);
        }
        socket.readable().await?;
        if input.capacity() == 0 {
            *input = pool.take();
        }
        input.reserve(room(input.len(), need));
        match read_once(socket, input.spare()) {
            Ok(count) => {
                input.advance(count);
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives the memory of `buffer` back.
pub(super) fn release(buffer: &mut Buffer, pool: &Pool) {
    if buffer.capacity() != 0 {
        pool.give(std::mem::take(buffer));
    }
}

/// Writes all of `output` and leaves it empty. Fails when the peer takes nothing for as long as `stalled`.
pub(super) async fn flush(
    socket: &Socket,
    output: &mut Buffer,
    stalled: Duration,
) -> io::Result<()> {
    while !output.is_empty() {
        match socket.try_write(output.filled()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => output.consume(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(stalled, socket.writable()).await??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// After a batch of `held` bytes, lets the worker's other sessions go on: a peer that always has more to read would keep the
/// worker to itself, for reading and writing without waiting never yields.
pub(super) async fn take_turns(held: usize) {
    if held >= SMALLEST_READ {
        tokio::task::yield_now().await;
    }
}

/// How much to make room for: grows with what has arrived, so that announcing a large message costs its sender the bytes.
fn room(filled: usize, need: usize) -> usize {
    need.saturating_sub(filled)
        .clamp(SMALLEST_READ, filled.max(READ_SIZE))
}

/// A read that brought less than it could has emptied the socket: tokio is told so, which saves the read that would find nothing.
fn read_once(socket: &Socket, spare: &mut [u8]) -> io::Result<usize> {
    let mut count = None;
    let read = socket.try_io(Interest::READABLE, || {
        let got = rustix::net::recv(socket, &mut *spare, rustix::net::RecvFlags::empty())?.1;
        count = Some(got);
        if got != 0 && got < spare.len() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(got)
        }
    });
    count.map_or(read, Ok)
}
