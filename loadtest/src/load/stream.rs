//! A socket, with TLS or without, and where it leads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use keyway::wire::Buffer;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::failed::Failed;

/// Nothing may take longer between two bytes: a run that hangs ends.
const DEADLINE: Duration = Duration::from_secs(30);

/// What one read may bring.
const READ: usize = 256 * 1024;

/// Plaintext that rustls may hold: a write, so that its records leave in one.
const HOLD: usize = 256 * 1024;

/// Where a bus is entered.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    /// How TLS is spoken there, if it is.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// One connection's bytes.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: ClientConnection,
    /// What was read and not yet decrypted.
    encrypted: Buffer,
}

impl Door {
    /// A door without TLS.
    pub(crate) const fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: None }
    }

    /// Connects, and begins TLS behind the server's INFO.
    pub(crate) fn open(&self) -> Result<Stream, Failed> {
        self.try_open()
            .map_err(|source| Failed::io(format!("connecting to {}", self.addr), source))
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
    /// From now on neither reading nor writing waits.
    pub(crate) fn do_not_wait(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// From now on both wait.
    pub(crate) fn wait_again(&self) -> io::Result<()> {
        self.socket.set_nonblocking(false)
    }

    /// Reads until there is something new in `input`; how much the socket held, which is 0 at its end.
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

    /// Takes some of `bytes`, as [`Write::write`] does. With TLS, what was taken may still have to be [pushed](Self::push).
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

    /// Sends what was taken.
    pub(crate) fn push(&mut self) -> io::Result<()> {
        self.tls
            .as_mut()
            .map_or(Ok(()), |tls| tls.push(&mut self.socket))
    }

    /// Sends all of `bytes`, waiting as long as it takes.
    pub(crate) fn put_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.put(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        self.push()
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn rest(&mut self) {
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
    /// Moves all plaintext that there is to `input`.
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

/// Reads up to the end of the first line and no further.
fn pass_line(socket: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while byte != *b"\n" {
        socket.read_exact(&mut byte)?;
    }
    Ok(())
}
