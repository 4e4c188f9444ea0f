//! A TCP connection under TLS. An idle one holds no buffer, but for what rustls keeps of an incomplete record.
//!
//! Both directions of a session use the TLS session: one reads while the other writes. They run in one task, and no borrow is
//! held across an await, so a `RefCell` suffices.

use std::cell::{RefCell, RefMut};
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::os::fd::AsFd;

use rustls::Connection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::tls::Peer;
use crate::wire::Buffer;

use super::buffer_pool::BufferPool;
use super::receive::{receive, truncated};

/// Bytes per read during a handshake: what follows it must fit the buffer of rustls.
const FLIGHT: usize = 4096;

/// Buffer space for the plaintext of one record (RFC 8446: 16 KiB at most).
const RECORD: usize = 32 * 1024;

/// A TCP connection and its TLS session.
pub(super) struct TlsStream {
    stream: TcpStream,
    session: RefCell<Connection>,
}

/// What the TLS session has decrypted.
pub(super) enum Plaintext {
    /// Some.
    Available,
    /// None yet.
    None,
    /// None any more: the peer has closed.
    Closed,
}

impl TlsStream {
    pub(super) fn new(stream: TcpStream, session: impl Into<Connection>) -> Self {
        let session = RefCell::new(session.into());
        Self { stream, session }
    }

    /// Runs the handshake to its end. Application data that follows is kept for [`Self::decrypt`].
    ///
    /// # Errors
    /// For `tls::Failure::of`; the peer has been sent an alert.
    pub(super) async fn handshake(&self) -> io::Result<()> {
        loop {
            while !self.flush_records()? {
                self.stream.writable().await?;
            }
            if !self.session.borrow().is_handshaking() {
                return Ok(());
            }
            self.stream.readable().await?;
            self.take_flight()?;
        }
    }

    /// The names in the client's certificate.
    pub(super) fn peer(&self) -> Option<Peer> {
        match &*self.session.borrow() {
            Connection::Server(session) => Peer::of(session),
            Connection::Client(_) => None,
        }
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether there is plaintext without reading from the socket.
    pub(super) fn plaintext(&self) -> io::Result<Plaintext> {
        let mut session = self.session.borrow_mut();
        match session.reader().fill_buf() {
            Ok([]) => Ok(Plaintext::Closed),
            Ok(_) => Ok(Plaintext::Available),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Plaintext::None),
            // Many peers close without `close_notify`; NATS frames its messages, so that truncation shows anyway.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Plaintext::Closed),
            Err(error) => Err(error),
        }
    }

    /// Appends plaintext to `input`: what is there, or what one read of at most `most` bytes brings, which may be none.
    pub(super) fn decrypt(
        &self,
        input: &mut Buffer,
        (pool, most): (&BufferPool, usize),
    ) -> io::Result<()> {
        let before = input.len();
        self.drain(input)?;
        if input.len() > before {
            return Ok(());
        }
        let mut encrypted = pool.take();
        let read = self.read_into((&mut encrypted, most), input);
        pool.give(encrypted);
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            read => read,
        }
    }

    /// Encrypts some of `bytes` and returns how many. [`Self::flush_records`] sends the records.
    pub(super) fn encrypt(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.session.borrow_mut().writer().write(bytes)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            taken => Ok(taken),
        }
    }

    /// Writes records as far as the socket takes them; whether that was all.
    pub(super) fn flush_records(&self) -> io::Result<bool> {
        self.try_send(&mut self.session.borrow_mut())
    }

    /// Sends `close_notify`.
    pub(super) fn finish(&self) {
        let mut session = self.session.borrow_mut();
        session.send_close_notify();
        // Fails only when the peer has gone or takes nothing.
        drop(self.try_send(&mut session));
    }

    /// Reads once, at most `most` bytes, and decrypts all of it.
    fn read_into(
        &self,
        (encrypted, most): (&mut Buffer, usize),
        input: &mut Buffer,
    ) -> io::Result<()> {
        let mut count = None;
        let spare = truncated(encrypted.spare(), most);
        let read = self.stream.try_io(Interest::READABLE, || {
            receive(self.stream.as_fd(), spare, &mut count)
        });
        let read = count.map_or(read, Ok)?;
        if read == 0 {
            // Tells rustls about the end of the stream; `plaintext` then reports it.
            self.session.borrow_mut().read_tls(&mut io::empty())?;
            return Ok(());
        }
        encrypted.advance(read);
        let mut bytes = encrypted.filled();
        while self.feed(&mut bytes)? {
            self.drain(input)?;
        }
        Ok(())
    }

    fn take_flight(&self) -> io::Result<()> {
        let mut flight = [0; FLIGHT];
        let count = match self.stream.try_read(&mut flight) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut bytes = flight.get(..count).unwrap_or_default();
        while self.feed(&mut bytes)? {}
        Ok(())
    }

    /// Hands `bytes` to rustls; `false` when it takes none.
    fn feed(&self, bytes: &mut &[u8]) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let mut session = self.session.borrow_mut();
        if session.read_tls(bytes)? == 0 {
            return Ok(false);
        }
        if let Err(error) = session.process_new_packets() {
            // Sends the alert, if the socket takes it now.
            drop(self.try_send(&mut session));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(true)
    }

    /// Moves all plaintext to `input`.
    fn drain(&self, input: &mut Buffer) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        let mut reader = session.reader();
        loop {
            input.reserve(RECORD);
            match reader.read(input.spare()) {
                Ok(0) => return Ok(()),
                Ok(count) => input.advance(count),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn try_send(&self, session: &mut RefMut<'_, Connection>) -> io::Result<bool> {
        while session.wants_write() {
            match session.write_tls(&mut Raw(&self.stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The socket as a non-blocking `Write` for rustls.
struct Raw<'s>(&'s TcpStream);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
