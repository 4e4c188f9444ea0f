//! A NATS client that is little more than a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use keyway::wire::{Buffer, Limits, ServerOp, ServerParser, Step};

use crate::failed::Failed;

/// Nothing may take longer between two bytes: a run that hangs ends.
const DEADLINE: Duration = Duration::from_secs(30);

/// What one read may bring.
const READ: usize = 256 * 1024;

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"loadtest\",\"version\":\"0\",\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\n";

/// One connection.
pub(crate) struct Client {
    socket: TcpStream,
    parser: ServerParser,
    input: Buffer,
}

/// A message, as far as a load test wants to know.
pub(crate) struct Delivered {
    /// The reply subject; empty when there is none.
    pub(crate) reply: Vec<u8>,
    /// How long its payload was.
    pub(crate) len: usize,
}

/// What whoever takes messages wants next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    More,
    Enough,
}

impl Client {
    /// Connects, says CONNECT, and waits until the other side has read it.
    pub(crate) fn connect(addr: SocketAddr) -> Result<Self, Failed> {
        let open = || -> io::Result<TcpStream> {
            let socket = TcpStream::connect_timeout(&addr, DEADLINE)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(DEADLINE))?;
            socket.set_write_timeout(Some(DEADLINE))?;
            Ok(socket)
        };
        let socket =
            open().map_err(|source| Failed::io(format!("connecting to {addr}"), source))?;
        let mut client = Self {
            socket,
            parser: ServerParser::new(Limits::default()),
            input: Buffer::new(),
        };
        client.send(CONNECT)?;
        client.flush()?;
        Ok(client)
    }

    /// Subscribes with sid 1 and waits until the other side knows.
    pub(crate) fn subscribe(&mut self, subject: &str) -> Result<(), Failed> {
        self.send(format!("SUB {subject} 1\r\n").as_bytes())?;
        self.flush()
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.socket
            .write_all(bytes)
            .map_err(|source| Failed::io("sending", source))
    }

    /// Sends PING and reads up to its PONG; what was sent before has been processed then.
    pub(crate) fn flush(&mut self) -> Result<(), Failed> {
        self.send(b"PING\r\n")?;
        self.until("waiting for PONG", |op| {
            matches!(op, ServerOp::Pong).then_some(())
        })
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Result<Delivered, Failed> {
        self.until("waiting for a message", |op| match op {
            ServerOp::Message(message) => Some(Delivered {
                reply: message.reply.unwrap_or_default().to_vec(),
                len: message.payload.len(),
            }),
            ServerOp::Info { .. }
            | ServerOp::Ping
            | ServerOp::Pong
            | ServerOp::Ok
            | ServerOp::Err { .. } => None,
        })
    }

    /// Gives the memory of the buffer back: an idle connection is to cost little on this side too.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Buffer::new();
        }
    }

    /// Counts `count` messages that all arrive as `frame`, telling `arrived` how many there are after each read. What stands
    /// before the payload is compared in every message, the payload in the first of every read.
    pub(crate) fn count(
        &mut self,
        frame: &[u8],
        line: usize,
        count: u64,
        arrived: impl Fn(u64),
    ) -> Result<(), Failed> {
        let head = frame.get(..line).unwrap_or_default();
        let mut seen = 0;
        while seen < count {
            self.read()?;
            let mut rest = self.input.filled();
            if rest.len() >= frame.len() && rest.starts_with(head) && !rest.starts_with(frame) {
                return Err(peer("counting messages", rest));
            }
            while rest.len() >= frame.len() && rest.starts_with(head) {
                rest = rest.get(frame.len()..).unwrap_or_default();
                seen += 1;
            }
            let taken = self.input.len() - rest.len();
            self.input.consume(taken);
            arrived(seen);
            if !self.input.is_empty() && !self.input.filled().starts_with(b"MSG ") {
                self.aside()?;
            }
        }
        Ok(())
    }

    /// Hands every payload to `take` until it wants no more. All messages begin with `head` and have `len` bytes of payload.
    pub(crate) fn payloads(
        &mut self,
        head: &[u8],
        len: usize,
        mut take: impl FnMut(&[u8]) -> Wish,
    ) -> Result<(), Failed> {
        let whole = head.len() + len + 2;
        loop {
            self.read()?;
            let mut rest = self.input.filled();
            let mut wish = Wish::More;
            while rest.len() >= whole && rest.starts_with(head) && wish == Wish::More {
                let (message, behind) = rest.split_at_checked(whole).unwrap_or_default();
                wish = take(message.get(head.len()..whole - 2).unwrap_or_default());
                rest = behind;
            }
            let taken = self.input.len() - rest.len();
            self.input.consume(taken);
            if wish == Wish::Enough {
                return Ok(());
            }
            if !self.input.is_empty() && !self.input.filled().starts_with(b"MSG ") {
                self.aside()?;
            }
        }
    }

    /// An operation between two messages: a PING is answered, an error ends the run.
    fn aside(&mut self) -> Result<(), Failed> {
        let step = self.parser.next(self.input.filled());
        let len = match step {
            Ok(Step::More { .. }) => 0,
            Ok(Step::Op {
                op: ServerOp::Ping,
                len,
            }) => {
                self.socket
                    .write_all(b"PONG\r\n")
                    .map_err(|source| Failed::io("answering PING", source))?;
                len
            }
            Ok(Step::Op {
                op: ServerOp::Info { .. } | ServerOp::Pong | ServerOp::Ok,
                len,
            }) => len,
            Ok(Step::Op {
                op: ServerOp::Err { .. } | ServerOp::Message(_),
                ..
            })
            | Err(_) => return Err(peer("counting messages", self.input.filled())),
        };
        self.input.consume(len);
        Ok(())
    }

    fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&ServerOp<'_>) -> Option<T>,
    ) -> Result<T, Failed> {
        loop {
            let (len, picked) = match self.parser.next(self.input.filled()) {
                Ok(Step::More { .. }) => {
                    self.read()?;
                    continue;
                }
                Ok(Step::Op {
                    op: ServerOp::Err { text },
                    ..
                }) => return Err(peer(what, text)),
                Ok(Step::Op {
                    op: ServerOp::Ping,
                    len,
                }) => {
                    self.socket
                        .write_all(b"PONG\r\n")
                        .map_err(|source| Failed::io("answering PING", source))?;
                    (len, None)
                }
                Ok(Step::Op { op, len }) => (len, pick(&op)),
                Err(_) => return Err(peer(what, self.input.filled())),
            };
            self.input.consume(len);
            if let Some(picked) = picked {
                return Ok(picked);
            }
        }
    }

    fn read(&mut self) -> Result<(), Failed> {
        self.input.reserve(READ);
        let count = self
            .socket
            .read(self.input.spare())
            .map_err(|source| Failed::io("reading", source))?;
        if count == 0 {
            return Err(peer("reading", b"goodbye"));
        }
        self.input.advance(count);
        Ok(())
    }
}

fn peer(what: &str, said: &[u8]) -> Failed {
    let said = said.get(..said.len().min(80)).unwrap_or_default();
    Failed::Peer {
        what: what.to_owned(),
        said: said.escape_ascii().to_string(),
    }
}
