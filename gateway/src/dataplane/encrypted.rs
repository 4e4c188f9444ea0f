//! A TCP connection under TLS. Nothing is held while nothing happens, but for what rustls keeps of a record that is not whole.
//!
//! Both directions of a session use the one TLS session: one reads while the other writes. They run in one task, and a borrow never
//! outlives a step, so a `RefCell` is all it takes.

use std::cell::{RefCell, RefMut};
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::os::fd::AsFd;

use rustls::Connection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::tls::Peer;
use crate::wire::Buffer;

use super::pool::Pool;
use super::socket::{first, receive};

/// How much is read at once during a handshake: what a client says behind it must fit what rustls keeps for us.
const FLIGHT: usize = 4096;

/// Room for what one record holds, and more.
const RECORD: usize = 32 * 1024;

/// A connection with its TLS session.
pub(super) struct Encrypted {
    stream: TcpStream,
    session: RefCell<Connection>,
}

/// What can be had of a session without reading.
pub(super) enum Held {
    /// Plaintext.
    Some,
    /// Nothing yet.
    Nothing,
    /// Nothing any more: the peer has closed.
    Closed,
}

impl Encrypted {
    pub(super) fn new(stream: TcpStream, session: impl Into<Connection>) -> Self {
        let session = RefCell::new(session.into());
        Self { stream, session }
    }

    /// Runs the handshake to its end. What comes behind it is kept for [`Self::take`].
    ///
    /// # Errors
    /// What is wrong with the peer, as `tls::Failure::of` reads it; it has been told.
    pub(super) async fn handshake(&self) -> io::Result<()> {
        loop {
            while !self.send()? {
                self.stream.writable().await?;
            }
            if !self.session.borrow().is_handshaking() {
                return Ok(());
            }
            self.stream.readable().await?;
            self.take_flight()?;
        }
    }

    /// Whom the client's certificate names.
    pub(super) fn peer(&self) -> Option<Peer> {
        match &*self.session.borrow() {
            Connection::Server(session) => Peer::of(session),
            Connection::Client(_) => None,
        }
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What can be had without reading.
    pub(super) fn held(&self) -> io::Result<Held> {
        let mut session = self.session.borrow_mut();
        match session.reader().fill_buf() {
            Ok([]) => Ok(Held::Closed),
            Ok(_) => Ok(Held::Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Held::Nothing),
            // Many peers close without a word; NATS tells nobody by the end of a stream what it has not said in the stream.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Held::Closed),
            Err(error) => Err(error),
        }
    }

    /// Appends to `input` what is held, or else what comes of reading once, and no more than `most`; that may be nothing.
    pub(super) fn take(&self, input: &mut Buffer, (pool, most): (&Pool, usize)) -> io::Result<()> {
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

    /// Encrypts some of `bytes`; how many. [`Self::send`] sends them.
    pub(super) fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.session.borrow_mut().writer().write(bytes)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            taken => Ok(taken),
        }
    }

    /// Sends what the peer takes now; whether that is all that is encrypted.
    pub(super) fn send(&self) -> io::Result<bool> {
        self.try_send(&mut self.session.borrow_mut())
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn finish(&self) {
        let mut session = self.session.borrow_mut();
        session.send_close_notify();
        // Fails only when the peer has gone or takes nothing; then there is nobody to tell.
        drop(self.try_send(&mut session));
    }

    /// Reads once, no more than `most`, and decrypts all of it.
    fn read_into(
        &self,
        (encrypted, most): (&mut Buffer, usize),
        input: &mut Buffer,
    ) -> io::Result<()> {
        let mut count = None;
        let spare = first(encrypted.spare(), most);
        let read = self.stream.try_io(Interest::READABLE, || {
            receive(self.stream.as_fd(), spare, &mut count)
        });
        let read = count.map_or(read, Ok)?;
        if read == 0 {
            // What rustls makes of it shows in what it holds: the end, announced or not.
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

    /// Gives the session some of `bytes`, or all; `false` when it takes none.
    fn feed(&self, bytes: &mut &[u8]) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let mut session = self.session.borrow_mut();
        if session.read_tls(bytes)? == 0 {
            return Ok(false);
        }
        if let Err(error) = session.process_new_packets() {
            // The peer is told by an alert, if it takes it now.
            drop(self.try_send(&mut session));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(true)
    }

    /// Moves all plaintext that is there.
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

    /// Sends what the peer takes now; whether that is all.
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

/// The socket as rustls writes to it: without waiting.
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
