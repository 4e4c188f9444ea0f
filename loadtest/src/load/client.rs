//! A NATS client that is little more than a socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use keyway::wire::{Buffer, Limits, Message, Parsed, ServerOp, ServerParser};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stream::{Endpoint, Stream};
use crate::error::RunError;

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"loadtest\",\"version\":\"0\",\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\n";

const COUNTING: &str = "counting messages";

/// One connection.
pub(crate) struct Client {
    stream: Stream,
    parser: ServerParser,
    input: Buffer,
}

/// Whether a receiver of messages goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continue {
    More,
    Enough,
}

impl Client {
    /// Connects, sends CONNECT and waits for a PONG.
    pub(crate) fn connect(endpoint: &Endpoint) -> Result<Self, RunError> {
        let mut client = Self {
            stream: endpoint.open()?,
            parser: ServerParser::new(Limits::default()),
            input: Buffer::new(),
        };
        client.send(CONNECT)?;
        client.flush()?;
        Ok(client)
    }

    /// Subscribes with sid 1 and waits for a PONG.
    pub(crate) fn subscribe(&mut self, subject: &str) -> Result<(), RunError> {
        self.send(format!("SUB {subject} 1\r\n").as_bytes())?;
        self.flush()
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.stream
            .put_all(bytes)
            .map_err(|source| RunError::io("sending", source))
    }

    /// Sends PING and reads up to its PONG; what was sent before has been processed then.
    pub(crate) fn flush(&mut self) -> Result<(), RunError> {
        self.send(b"PING\r\n")?;
        self.until("waiting for PONG", |op| {
            matches!(op, ServerOp::Pong).then_some(())
        })
    }

    /// Waits for the next message and passes it to `take`.
    pub(crate) fn message<T>(
        &mut self,
        mut take: impl FnMut(&Message<'_>) -> T,
    ) -> Result<T, RunError> {
        self.until("waiting for a message", |op| of_message(op, &mut take))
    }

    /// The same for a message that has been read already.
    pub(crate) fn held<T>(
        &mut self,
        mut take: impl FnMut(&Message<'_>) -> T,
    ) -> Result<Option<T>, RunError> {
        while let Some(next) = self.next("reading messages", |op| of_message(op, &mut take))? {
            if next.is_some() {
                return Ok(next);
            }
        }
        Ok(None)
    }

    /// Waits for bytes at most this long, and reads them.
    pub(crate) fn wait(&mut self, longest: Duration) -> Result<(), RunError> {
        let longest = Timespec::try_from(longest)
            .map_err(|error| RunError::Limit(format!("waiting for {longest:?}: {error}")))?;
        let mut ready = [PollFd::new(&self.stream, PollFlags::IN)];
        let found = poll(&mut ready, Some(&longest))
            .map_err(|error| RunError::io("waiting for bytes", error.into()))?;
        if found > 0 { self.read() } else { Ok(()) }
    }

    /// Frees empty buffers, so that an idle connection costs little on this side.
    pub(crate) fn shrink_buffers(&mut self) {
        if self.input.is_empty() {
            self.input = Buffer::new();
        }
        self.stream.shrink_buffers();
    }

    /// Makes the socket non-blocking.
    pub(crate) fn set_nonblocking(&self) -> Result<(), RunError> {
        self.stream
            .set_nonblocking()
            .map_err(|source| RunError::io("setting up a socket", source))
    }

    /// Makes the socket blocking again.
    pub(crate) fn set_blocking(&self) -> Result<(), RunError> {
        self.stream
            .set_blocking()
            .map_err(|source| RunError::io("setting up a socket", source))
    }

    /// Sends some of `bytes`; 0 where that would block.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> Result<usize, RunError> {
        unless_waiting(self.stream.put(bytes), 0)
    }

    /// Whether everything accepted is sent.
    pub(crate) fn try_push(&mut self) -> Result<bool, RunError> {
        unless_waiting(self.stream.push().map(|()| true), false)
    }

    /// Reads what is available.
    pub(crate) fn try_read(&mut self) -> Result<(), RunError> {
        let read = self.stream.fill(&mut self.input);
        if unless_waiting(read, 1)? == 0 {
            return Err(peer("reading", b"goodbye"));
        }
        Ok(())
    }

    /// Passes every payload that has been read to `take`, until it returns `Enough`. All messages begin with `head` and have
    /// `len` bytes of payload.
    #[inline]
    pub(crate) fn payloads(
        &mut self,
        head: &[u8],
        len: usize,
        mut take: impl FnMut(&[u8]) -> Continue,
    ) -> Result<Continue, RunError> {
        let whole = head.len() + len + 2;
        loop {
            let mut rest = self.input.filled();
            let mut wish = Continue::More;
            while wish == Continue::More
                && let Some((message, behind)) = rest.split_at_checked(whole)
                && message.starts_with(head)
            {
                wish = take(message.get(head.len()..whole - 2).unwrap_or_default());
                rest = behind;
            }
            let taken = self.input.len() - rest.len();
            self.input.consume(taken);
            if wish == Continue::Enough || !self.pass_aside(head, whole)? {
                return Ok(wish);
            }
        }
    }

    /// Handles an operation between two messages; whether there was one.
    fn pass_aside(&mut self, head: &[u8], whole: usize) -> Result<bool, RunError> {
        let rest = self.input.filled();
        if rest.is_empty() || rest.starts_with(b"MSG ") {
            let wrong = rest.len() >= whole && !rest.starts_with(head);
            return if wrong {
                Err(peer(COUNTING, rest))
            } else {
                Ok(false)
            };
        }
        let message = self.next(COUNTING, |op| Some(matches!(op, ServerOp::Message(_))))?;
        match message {
            None => Ok(false),
            Some(Some(true)) => Err(RunError::Limit("a message with headers".to_owned())),
            Some(Some(false) | None) => Ok(true),
        }
    }

    fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&ServerOp<'_>) -> Option<T>,
    ) -> Result<T, RunError> {
        loop {
            match self.next(what, &mut pick)? {
                Some(Some(picked)) => return Ok(picked),
                Some(None) => {}
                None => self.read()?,
            }
        }
    }

    /// Passes the next operation to `pick`; `None` where it is incomplete. A PING is answered, an error ends the run.
    fn next<T>(
        &mut self,
        what: &str,
        pick: impl FnOnce(&ServerOp<'_>) -> Option<T>,
    ) -> Result<Option<Option<T>>, RunError> {
        let (len, picked) = match self.parser.next(self.input.filled()) {
            Ok(Parsed::Incomplete { .. }) => return Ok(None),
            Ok(Parsed::Op {
                op: ServerOp::Err { text },
                ..
            }) => return Err(peer(what, text)),
            Ok(Parsed::Op {
                op: ServerOp::Ping,
                len,
            }) => {
                self.stream
                    .put_all(b"PONG\r\n")
                    .map_err(|source| RunError::io("answering PING", source))?;
                (len, None)
            }
            Ok(Parsed::Op { op, len }) => (len, pick(&op)),
            Err(_) => return Err(peer(what, self.input.filled())),
        };
        self.input.consume(len);
        Ok(Some(picked))
    }

    /// Blocks until something new is read.
    pub(crate) fn read(&mut self) -> Result<(), RunError> {
        let count = self
            .stream
            .fill(&mut self.input)
            .map_err(|source| RunError::io("reading", source))?;
        if count == 0 {
            return Err(peer("reading", b"goodbye"));
        }
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn of_message<T>(op: &ServerOp<'_>, take: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    match op {
        ServerOp::Message(message) => Some(take(message)),
        ServerOp::Info { .. }
        | ServerOp::Ping
        | ServerOp::Pong
        | ServerOp::Ok
        | ServerOp::Err { .. } => None,
    }
}

fn unless_waiting<T>(done: io::Result<T>, waiting: T) -> Result<T, RunError> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(waiting),
        done => done.map_err(|source| RunError::io("on a connection", source)),
    }
}

fn peer(what: &str, said: &[u8]) -> RunError {
    let said = said.get(..said.len().min(80)).unwrap_or_default();
    RunError::Peer {
        what: what.to_owned(),
        said: said.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn ping_between_two_messages_hides_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::plain(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let message = "MSG a 1 2\r\nhi\r\n";
            let words = format!("INFO {{}}\r\nPONG\r\n{message}PING\r\n{message}");
            socket.write_all(words.as_bytes()).unwrap();
            socket
        });
        let mut client = Client::connect(&endpoint).unwrap();
        let mut seen = 0;
        let mut take = |payload: &[u8]| {
            assert_eq!(payload, b"hi");
            seen += 1;
            if seen == 2 {
                Continue::Enough
            } else {
                Continue::More
            }
        };
        while client.payloads(b"MSG a 1 2\r\n", 2, &mut take).unwrap() == Continue::More {
            client.read().unwrap();
        }
        drop(server.join().unwrap());
    }
}
