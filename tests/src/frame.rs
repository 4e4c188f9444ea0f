//! Splits what a server or a client sends into operations, with a parser that shares no code with the gateway's.

use std::fmt;

/// One operation, with its bytes as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The control line, without its line end.
    pub line: String,
    /// What follows the line of a `MSG`, `HMSG`, `PUB` or `HPUB`: headers and payload, without the closing line end.
    pub body: Vec<u8>,
}

impl Frame {
    /// A message to a subscription.
    pub fn delivery(subject: &str, sid: &str, payload: &[u8]) -> Self {
        Self::from_parts("MSG", &[subject, sid], b"", payload)
    }

    /// A publish.
    pub fn publish(subject: &str, reply: Option<&str>, payload: &[u8]) -> Self {
        let address: Vec<&str> = [subject].into_iter().chain(reply).collect();
        Self::from_parts("PUB", &address, b"", payload)
    }

    /// The operation's name, such as `MSG`, `INFO` or `PUB`.
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

    /// Whether headers and a payload follow the line.
    pub fn has_body(&self) -> bool {
        matches!(self.verb(), "MSG" | "HMSG" | "PUB" | "HPUB")
    }

    /// The same with another subject.
    #[must_use]
    pub fn with_subject(&self, subject: &str) -> Self {
        let mut address = self.address();
        address[0] = subject;
        Self::from_parts(self.verb(), &address, self.headers(), self.payload())
    }

    /// The same `MSG` or `HMSG` for another subscription.
    #[must_use]
    pub fn with_sid(&self, sid: &str) -> Self {
        let mut address = self.address();
        address[1] = sid;
        Self::from_parts(self.verb(), &address, self.headers(), self.payload())
    }

    /// The same `MSG` or `HMSG` with this reply subject.
    #[must_use]
    pub fn with_reply(&self, reply: &str) -> Self {
        let mut address = self.address();
        address.truncate(2);
        address.push(reply);
        Self::from_parts(self.verb(), &address, self.headers(), self.payload())
    }

    /// The same with this header block, which ends with an empty line; no headers where it is empty.
    #[must_use]
    pub fn with_headers(&self, headers: &str) -> Self {
        let address = self.address();
        Self::from_parts(self.verb(), &address, headers.as_bytes(), self.payload())
    }

    /// The same with another payload.
    #[must_use]
    pub fn with_payload(&self, payload: &[u8]) -> Self {
        Self::from_parts(self.verb(), &self.address(), self.headers(), payload)
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let end: &[u8] = if self.has_body() { b"\r\n" } else { b"" };
        [self.line.as_bytes(), b"\r\n", &self.body, end].concat()
    }

    /// The words of the control line between the verb and the sizes.
    pub fn address(&self) -> Vec<&str> {
        let mut words = self.words();
        let sizes = if self.verb().starts_with('H') { 2 } else { 1 };
        words.truncate(words.len() - sizes);
        words
    }

    fn from_parts(verb: &str, address: &[&str], headers: &[u8], payload: &[u8]) -> Self {
        let (verb, address) = (verb.trim_start_matches('H'), address.join(" "));
        let body = [headers, payload].concat();
        let line = if headers.is_empty() {
            format!("{verb} {address} {}", body.len())
        } else {
            format!("H{verb} {address} {} {}", headers.len(), body.len())
        };
        Self { line, body }
    }

    fn header_len(&self) -> usize {
        if self.verb().starts_with('H') {
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

/// The complete operations at the front of `bytes`, and the remaining bytes.
pub fn split_frames(mut bytes: &[u8]) -> (Vec<Frame>, &[u8]) {
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
    let bare = Frame {
        line,
        body: Vec::new(),
    };
    if !bare.has_body() {
        return Some((bare, rest));
    }
    let line = bare.line;
    let size: usize = line.rsplit(' ').next()?.parse().ok()?;
    let body = rest.get(..size)?.to_vec();
    let rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    Some((Frame { line, body }, rest))
}
