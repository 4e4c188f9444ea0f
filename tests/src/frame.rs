//! What a server sends, cut into operations by a parser that shares no line with the gateway's.

use std::fmt;

/// One operation from a server, with its bytes as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The control line, without its line end.
    pub line: String,
    /// What follows the line of a `MSG` or `HMSG`: headers and payload, without the closing line end.
    pub body: Vec<u8>,
}

impl Frame {
    /// The operation's name: `MSG`, `HMSG`, `INFO`, `PING`, `PONG`, `+OK` or `-ERR`.
    pub fn verb(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    /// The words of the control line after the verb.
    pub fn words(&self) -> Vec<&str> {
        self.line.split(' ').skip(1).collect()
    }

    /// The subject of a message.
    pub fn subject(&self) -> &str {
        self.words()[0]
    }

    /// The header block of an `HMSG`, including its closing empty line; empty for a `MSG`.
    pub fn headers(&self) -> &[u8] {
        &self.body[..self.header_len()]
    }

    /// The payload of a message.
    pub fn payload(&self) -> &[u8] {
        &self.body[self.header_len()..]
    }

    fn header_len(&self) -> usize {
        if self.verb() == "HMSG" {
            self.words().iter().rev().nth(1).unwrap().parse().unwrap()
        } else {
            0
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.line)?;
        if self.body.is_empty() {
            Ok(())
        } else {
            write!(out, " | {}", self.body.escape_ascii())
        }
    }
}

/// Cuts whole operations off the front of `bytes`; yields them and what is left over.
pub fn cut(mut bytes: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = first(bytes) {
        frames.push(frame);
        bytes = rest;
    }
    (frames, bytes)
}

fn first(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let rest = &bytes[end + 2..];
    if !line.starts_with("MSG ") && !line.starts_with("HMSG ") {
        return Some((
            Frame {
                line,
                body: Vec::new(),
            },
            rest,
        ));
    }
    let size: usize = line.rsplit(' ').next()?.parse().ok()?;
    let body = rest.get(..size)?.to_vec();
    let rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    Some((Frame { line, body }, rest))
}
