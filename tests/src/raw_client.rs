//! A client that is only a socket: it sends the bytes that a test writes, and keeps the bytes that it receives.

use crate::frame::{self, Frame};
use crate::wait::DEADLINE;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A raw connection.
pub struct RawClient {
    socket: TcpStream,
    /// The same socket under TLS.
    tls: Option<Box<StreamOwned<ClientConnection, TcpStream>>>,
    received: Vec<u8>,
    over: Option<WaitOutcome>,
    /// Whether the peer has sent `close_notify`.
    close_notify: bool,
}

/// Whether, and when, a client begins TLS.
#[derive(Clone, Debug)]
pub enum TlsMode {
    /// Never.
    Plain,
    /// After INFO.
    AfterInfo(Arc<ClientConfig>),
    /// Before INFO (`handshake_first`).
    First(Arc<ClientConfig>),
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The condition holds.
    Enough,
    /// The peer has closed the connection.
    Closed,
    /// The peer has sent nothing for the time-out, and keeps the connection.
    Silent,
}

impl RawClient {
    /// Connects and reads nothing.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&addr, DEADLINE).unwrap())
    }

    /// The same; `None` where nobody listens.
    pub fn try_connect(addr: SocketAddr) -> Option<Self> {
        TcpStream::connect_timeout(&addr, DEADLINE)
            .ok()
            .map(Self::of)
    }

    fn of(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self {
            socket,
            tls: None,
            received: Vec::new(),
            over: None,
            close_notify: false,
        }
    }

    /// Connects, and reads up to INFO, or to the end if there is none.
    pub fn connect_until_info(addr: SocketAddr, via: &TlsMode, patience: Duration) -> Self {
        let mut raw = Self::connect(addr);
        raw.set_patience(patience);
        if let TlsMode::First(config) = via {
            raw.encrypt(config);
        }
        raw.outcome(|bytes| bytes.ends_with(b"\r\n"));
        if let TlsMode::AfterInfo(config) = via {
            raw.encrypt(config);
        }
        raw
    }

    /// Switches to TLS. The handshake takes place with the next read or write.
    pub fn encrypt(&mut self, config: &Arc<ClientConfig>) {
        let name = "127.0.0.1".try_into().unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let socket = self.socket.try_clone().unwrap();
        self.tls = Some(Box::new(StreamOwned::new(session, socket)));
    }

    /// The peer's certificate, with TLS.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        let shown = self.tls.as_ref()?.conn.peer_certificates()?;
        Some(shown.first()?.to_vec())
    }

    /// Connects, waits for INFO, sends a CONNECT that is not verbose with these JSON members (may be empty), and waits for PONG.
    pub fn handshake(addr: SocketAddr, members: &str) -> Self {
        let mut raw = Self::connect(addr);
        raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        let comma = if members.is_empty() { "" } else { "," };
        raw.send(
            format!("CONNECT {{\"verbose\":false,\"pedantic\":false{comma}{members}}}\r\nPING\r\n")
                .as_bytes(),
        );
        raw.until("PONG", |bytes| cut_has(bytes, "PONG"));
        raw
    }

    /// The socket; not for TLS.
    pub fn into_socket(self) -> TcpStream {
        self.socket.set_read_timeout(None).unwrap();
        self.socket
    }

    /// The local address.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sets the time-out of a read.
    pub fn set_patience(&self, patience: Duration) {
        self.socket.set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends bytes. A peer that has closed is no error: what it sent can still be read.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.tls {
            Some(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            None => self.socket.write_all(bytes),
        };
        match sent {
            Err(error) if is_disconnect(&error) => {}
            result => result.unwrap(),
        }
    }

    /// Sends bytes in pieces that are likely, though not certain, to arrive as separate reads.
    pub fn send_split(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.send(piece);
            std::thread::yield_now();
        }
    }

    /// Sends PING and reads up to its PONG, by which what was sent before has been processed.
    pub fn flush(&mut self) -> Vec<Frame> {
        let already = self
            .frames()
            .iter()
            .filter(|frame| frame.verb() == "PONG")
            .count();
        self.send(b"PING\r\n");
        self.until("PONG", |bytes| {
            frame::split_frames(bytes)
                .0
                .iter()
                .filter(|frame| frame.verb() == "PONG")
                .count()
                > already
        });
        self.frames()
    }

    /// Reads until `enough` holds of everything received on this connection; fails if the peer closes first.
    pub fn until(&mut self, what: &str, enough: impl Fn(&[u8]) -> bool) -> &[u8] {
        while !enough(&self.received) {
            assert!(
                self.over != Some(WaitOutcome::Closed),
                "closed before {what}; received: {}",
                self.received.escape_ascii()
            );
            self.read(what);
        }
        &self.received
    }

    /// Reads until `enough` holds, the peer closes, or the read times out.
    pub fn outcome(&mut self, enough: impl Fn(&[u8]) -> bool) -> WaitOutcome {
        self.over = None;
        loop {
            match self.over {
                Some(over) => return over,
                None if enough(&self.received) => return WaitOutcome::Enough,
                None => self.read_some(),
            }
        }
    }

    /// Reads until the peer closes.
    pub fn until_end(&mut self) -> &[u8] {
        while self.over != Some(WaitOutcome::Closed) {
            self.read("the end");
        }
        &self.received
    }

    /// Whether the peer sent `close_notify` before it closed, so that the stream was not truncated.
    pub fn ended_with_close_notify(&self) -> bool {
        self.close_notify
    }

    /// Everything received so far.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// The whole operations received so far.
    pub fn frames(&self) -> Vec<Frame> {
        frame::split_frames(&self.received).0
    }

    /// Removes and returns the complete operations received so far; an incomplete one is kept.
    pub fn take(&mut self) -> Vec<Frame> {
        let (frames, rest) = frame::split_frames(&self.received);
        self.received = rest.to_vec();
        frames
    }

    /// Discards what was received.
    pub fn forget(&mut self) {
        self.received.clear();
    }

    /// Sends FIN; reading goes on.
    pub fn half_close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        }
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Resets the connection (RST).
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap();
    }

    fn read(&mut self, what: &str) {
        self.read_some();
        assert!(
            self.over != Some(WaitOutcome::Silent),
            "not within {DEADLINE:?}: {what}; received: {}",
            self.received.escape_ascii()
        );
    }

    fn read_some(&mut self) {
        let mut chunk = [0; 8192];
        let read = match &mut self.tls {
            Some(tls) => tls.read(&mut chunk),
            None => self.socket.read(&mut chunk),
        };
        match read {
            Ok(0) => {
                self.over = Some(WaitOutcome::Closed);
                // TLS without it fails with `UnexpectedEof`.
                self.close_notify = self.tls.is_some();
            }
            Ok(count) => self.received.extend_from_slice(&chunk[..count]),
            Err(error) if is_disconnect(&error) => {
                self.over = Some(WaitOutcome::Closed);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.over = Some(WaitOutcome::Silent);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}; received: {}", self.received.escape_ascii()),
        }
    }
}

/// Whether this error means that the peer has closed the connection or the TLS session.
fn is_disconnect(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData
    )
}

fn cut_has(bytes: &[u8], verb: &str) -> bool {
    frame::split_frames(bytes)
        .0
        .iter()
        .any(|frame| frame.verb() == verb)
}
