//! A socket, with TLS or without, and its address.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use keyway::wire::Buffer;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::error::RunError;

/// Socket time-out, so that a run that hangs ends.
const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of one read at most.
const READ: usize = 256 * 1024;

/// Plaintext that rustls may buffer: one write.
const HOLD: usize = 256 * 1024;

/// Address and TLS configuration of a target.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) addr: SocketAddr,
    /// The TLS configuration, with TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A connected socket.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: ClientConnection,
    /// Bytes read and not yet decrypted.
    encrypted: Buffer,
}

impl Endpoint {
    /// An address without TLS.
    pub(crate) const fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: None }
    }

    /// Connects, and begins TLS after INFO.
    pub(crate) fn open(&self) -> Result<Stream, RunError> {
        self.try_open()
            .map_err(|source| RunError::io(format!("connecting to {}", self.addr), source))
    }

    fn try_open(&self) -> io::Result<Stream> {
        let mut socket = TcpStream::connect_timeout(&self.addr, DEADLINE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let Some(config) = &self.tls else {
            return Ok(Stream { socket, tls: None });
        };
        pass_line(&mut socket)?;
        let name = ServerName::IpAddress(self.addr.ip().into());
        let mut session = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        session.set_buffer_limit(Some(HOLD));
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let encrypted = Buffer::new();
        Ok(Stream {
            socket,
            tls: Some(Box::new(Tls { session, encrypted })),
        })
    }
}

impl Stream {
    /// Makes the socket non-blocking.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Makes the socket blocking again.
    pub(crate) fn set_blocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(false)
    }

    /// Reads until there is something new in `input`; returns the bytes read from the socket, 0 at its end.
    pub(crate) fn fill(&mut self, input: &mut Buffer) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return read(&mut self.socket, input);
        };
        let before = input.len();
        loop {
            let count = read(&mut self.socket, &mut tls.encrypted)?;
            tls.decrypt(input)?;
            if count == 0 || input.len() > before {
                return Ok(count);
            }
        }
    }

    /// Accepts some of `bytes`, as [`Write::write`] does. With TLS they may still have to be [pushed](Self::push).
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        tls.push(&mut self.socket)?;
        let taken = tls.session.writer().write(bytes)?;
        match tls.push(&mut self.socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Sends what was accepted.
    pub(crate) fn push(&mut self) -> io::Result<()> {
        self.tls
            .as_mut()
            .map_or(Ok(()), |tls| tls.push(&mut self.socket))
    }

    /// Sends all of `bytes`, blocking.
    pub(crate) fn put_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.put(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        self.push()
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn shrink_buffers(&mut self) {
        if let Some(tls) = &mut self.tls
            && tls.encrypted.is_empty()
        {
            tls.encrypted = Buffer::new();
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Tls {
    /// Moves all available plaintext to `input`.
    fn decrypt(&mut self, input: &mut Buffer) -> io::Result<()> {
        loop {
            let mut bytes = self.encrypted.filled();
            let taken = if bytes.is_empty() {
                0
            } else {
                self.session.read_tls(&mut bytes)?
            };
            self.encrypted.consume(taken);
            let state = self
                .session
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut held = state.plaintext_bytes_to_read();
            input.reserve(held);
            while held > 0 {
                let count = self.session.reader().read(input.spare())?;
                input.advance(count);
                held = held.saturating_sub(count.max(1));
            }
            if taken == 0 {
                return Ok(());
            }
        }
    }

    fn push(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(socket)?;
        }
        Ok(())
    }
}

fn read(socket: &mut TcpStream, input: &mut Buffer) -> io::Result<usize> {
    input.reserve(READ);
    let count = socket.read(input.spare())?;
    input.advance(count);
    Ok(count)
}

/// Reads the first line, and no byte behind it.
fn pass_line(socket: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while byte != *b"\n" {
        socket.read_exact(&mut byte)?;
    }
    Ok(())
}
