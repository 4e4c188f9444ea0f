//! Serialises control lines: to the server in canonical form (upper case, single blanks, CRLF), to the client as the server wrote
//! them.
//!
//! Sizes keep the publisher's digits, because the server repeats them to every receiver. A size that sealing or opening changes
//! keeps its leading zeros, so that opening restores what sealing changed.
//!
//! `arg_len` is the length of the argument part as the client spelt it ([`super::ClientParser::arg_len`]); a shorter one is
//! padded with trailing blanks, which the server counts and ignores, so that its `max_control_line` applies to the client's own
//! length. 0: no padding.

use super::line::MAX_SIZE_DIGITS;
use super::{Buffer, Message};

/// The control line of a `PUB` or `HPUB`. Headers, payload and CRLF are the caller's to append.
#[derive(Clone, Copy, Debug)]
pub struct PublishLine<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// Digits of the size of the header block; `Some` writes `HPUB`, also for 0.
    pub header_size: Option<&'a [u8]>,
    /// Digits of the size of headers and payload together: the client's own, or a [`Decimal`].
    pub size: &'a [u8],
    /// See the module's documentation.
    pub arg_len: usize,
}

/// Appends the control line of a publish.
#[inline]
pub fn publish(out: &mut Buffer, line: &PublishLine<'_>) {
    let before = out.len();
    let (gap, reply) = optional(line.reply);
    let (subject, size) = (line.subject, line.size);
    let around = match line.header_size {
        None => {
            let parts = [b"PUB ", subject, gap, reply, b" ", size, b"\r\n"];
            put(out, &parts);
            b"PUB \r\n".len()
        }
        Some(header) => {
            let (verb, end) = (b"HPUB ", b"\r\n");
            let parts = [verb, subject, gap, reply, b" ", header, b" ", size, end];
            put(out, &parts);
            b"HPUB \r\n".len()
        }
    };
    let written = out.len().saturating_sub(before).saturating_sub(around);
    if written < line.arg_len {
        out.truncate(out.len().saturating_sub(2));
        end(out, written, line.arg_len);
    }
}

/// Appends a `PUB` of the gateway itself with its payload, without reply subject and headers.
pub fn own_publish(out: &mut Buffer, subject: &[u8], payload: &[u8]) {
    own(out, subject, None, payload);
}

/// Appends a no-responders status (503) to `subject`, with which a request fails at once.
pub fn own_no_responders(out: &mut Buffer, subject: &[u8]) {
    const HEADERS: &[u8] = b"NATS/1.0 503\r\n\r\n";
    let size = Decimal::new(HEADERS.len());
    own(out, subject, Some(size.digits()), HEADERS);
}

fn own(out: &mut Buffer, subject: &[u8], header_size: Option<&[u8]>, body: &[u8]) {
    let size = Decimal::new(body.len());
    let line = PublishLine {
        subject,
        reply: None,
        header_size,
        size: size.digits(),
        arg_len: 0,
    };
    publish(out, &line);
    put(out, &[body, b"\r\n"]);
}

/// Appends the control line of a message as the server wrote it ([`super::Message::line`]), with `total` as the size of headers
/// and payload together.
#[inline]
pub fn message(out: &mut Buffer, line: &[u8], total: usize) {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let size = memchr::memrchr(b' ', line).map_or(0, |at| at.saturating_add(1));
    let (before, size) = line.split_at_checked(size).unwrap_or_default();
    put(out, &[before, Decimal::like(size, total).digits(), b"\r\n"]);
}

/// Appends the control line of a message whose header block changes in length; `header_len` is `None` for `MSG`.
pub fn message_with_lengths(
    out: &mut Buffer,
    message: &Message<'_>,
    header_len: Option<usize>,
    payload_len: usize,
) {
    let (gap, reply) = optional(message.reply);
    let total = Decimal::new(header_len.unwrap_or_default().saturating_add(payload_len));
    let header = header_len.map(Decimal::new);
    let (verb, header, behind): (&[u8], &[u8], &[u8]) = match &header {
        Some(header) => (b"HMSG ", header.digits(), b" "),
        None => (b"MSG ", b"", b""),
    };
    put(out, &[verb, message.subject, b" ", message.sid, gap, reply]);
    put(out, &[b" ", header, behind, total.digits(), b"\r\n"]);
}

/// Appends `SUB subject [queue] sid`.
pub fn subscribe(
    out: &mut Buffer,
    subject: &[u8],
    queue: Option<&[u8]>,
    sid: &[u8],
    arg_len: usize,
) {
    let (gap, queue) = optional(queue);
    let parts = [b"SUB ", subject, gap, queue, b" ", sid];
    put(out, &parts);
    let written: usize = parts.iter().skip(1).map(|part| part.len()).sum();
    end(out, written, arg_len);
}

/// Appends `UNSUB sid [max]`; `max` as the client spelt it.
pub fn unsubscribe(out: &mut Buffer, sid: &[u8], max: Option<&[u8]>, arg_len: usize) {
    let (gap, max) = optional(max);
    put(out, &[b"UNSUB ", sid, gap, max]);
    let written = sid
        .len()
        .saturating_add(gap.len())
        .saturating_add(max.len());
    end(out, written, arg_len);
}

/// Appends `CONNECT json`.
pub fn connect(out: &mut Buffer, json: &[u8], arg_len: usize) {
    put(out, &[b"CONNECT ", json]);
    end(out, json.len(), arg_len);
}

/// Appends `INFO json`, in either direction.
pub fn info(out: &mut Buffer, json: &[u8]) {
    put(out, &[b"INFO ", json, b"\r\n"]);
}

/// Appends `PING`.
pub fn ping(out: &mut Buffer) {
    out.put(b"PING\r\n");
}

/// Appends `PONG`.
pub fn pong(out: &mut Buffer) {
    out.put(b"PONG\r\n");
}

/// Appends `+OK`.
pub fn ok(out: &mut Buffer) {
    out.put(b"+OK\r\n");
}

/// Appends `-ERR text`; quotes are part of `text`.
pub fn err(out: &mut Buffer, text: &[u8]) {
    put(out, &[b"-ERR ", text, b"\r\n"]);
}

/// Pads to `arg_len` and ends the line.
#[inline]
fn end(out: &mut Buffer, written: usize, arg_len: usize) {
    if written < arg_len {
        out.claim(arg_len.saturating_sub(written)).fill(b' ');
    }
    out.put(b"\r\n");
}

/// An optional argument and the blank that goes before it.
#[inline]
fn optional(arg: Option<&[u8]>) -> (&[u8], &[u8]) {
    arg.map_or((b"", b""), |arg| (b" ", arg))
}

/// Writes the control lines of a run, which differ only in their sizes. It keeps the last one: the next is probably the same.
#[derive(Default)]
pub struct LineTemplate {
    line: Vec<u8>,
    size: usize,
}

impl LineTemplate {
    /// Allocated bytes.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.line.capacity()
    }

    /// The next line begins differently.
    pub fn end(&mut self) {
        self.line.clear();
    }

    /// Appends `start`, `size`, CRLF, space for a payload of `size` bytes, and CRLF; returns the space for the payload. `start`
    /// must be the same until [`Self::end`].
    #[inline]
    pub fn frame<'o>(&mut self, out: &'o mut Buffer, start: &[u8], size: usize) -> &'o mut [u8] {
        if size != self.size || self.line.is_empty() {
            self.write(start, size);
        }
        let (line, end) = (self.line.as_slice(), b"\r\n");
        let frame = out.claim(line.len().saturating_add(size).saturating_add(end.len()));
        framed(frame, line, end).unwrap_or_default()
    }

    fn write(&mut self, start: &[u8], size: usize) {
        self.size = size;
        self.line.clear();
        for part in [start, Decimal::new(size).digits(), b"\r\n"] {
            self.line.extend_from_slice(part);
        }
    }
}

/// Writes `line` and `end` at both ends of `frame`; returns what is between.
#[inline]
fn framed<'o>(frame: &'o mut [u8], line: &[u8], end: &[u8; 2]) -> Option<&'o mut [u8]> {
    let (before, rest) = frame.split_at_mut_checked(line.len())?;
    let (room, behind) = rest.split_last_chunk_mut()?;
    before.copy_from_slice(line);
    *behind = *end;
    Some(room)
}

/// Appends the parts with one reservation.
#[inline]
fn put(out: &mut Buffer, parts: &[&[u8]]) {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut room = out.claim(len);
    for part in parts {
        let Some((head, tail)) = room.split_at_mut_checked(part.len()) else {
            return;
        };
        head.copy_from_slice(part);
        room = tail;
    }
}

/// A number in decimal digits, without allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    bytes: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The digits of `n`.
    #[inline]
    #[must_use]
    pub fn new(n: usize) -> Self {
        let mut bytes = [b'0'; 20];
        let digits = digits_at_end(n, &mut bytes);
        let start = bytes.len().saturating_sub(digits);
        Self { bytes, start }
    }

    /// The digits of `n` with as many leading zeros as `size` has, up to the nine digits that a server reads.
    #[inline]
    #[must_use]
    pub fn like(size: &[u8], n: usize) -> Self {
        let mut decimal = Self::new(n);
        if let [b'0', middle @ .., _] = size {
            let zeros = middle.iter().take_while(|digit| **digit == b'0').count();
            let room = MAX_SIZE_DIGITS.saturating_sub(decimal.digits().len());
            let zeros = zeros.saturating_add(1).min(room);
            decimal.start = decimal.start.saturating_sub(zeros);
        }
        decimal
    }

    /// The digits, at least one.
    #[inline]
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Writes the digits of `n` at the end of `room`, which has at least 20 bytes; returns their number.
#[inline]
fn digits_at_end(mut n: usize, room: &mut [u8]) -> usize {
    let mut digits = 0_usize;
    for slot in room.iter_mut().rev() {
        *slot = b'0'.wrapping_add(u8::try_from(n % 10).unwrap_or_default());
        digits = digits.wrapping_add(1);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_their_own_start_and_size() {
        let (mut lines, mut out) = (LineTemplate::default(), Buffer::new());
        for (start, size) in [("PUB a ", 2), ("PUB a ", 2), ("PUB a ", 10), ("PUB a ", 1)] {
            let room = lines.frame(&mut out, start.as_bytes(), size);
            assert_eq!(room.len(), size);
            room.fill(b'x');
        }
        lines.end();
        lines.frame(&mut out, b"PUB b ", 1).fill(b'y');
        let expected = "PUB a 2\r\nxx\r\nPUB a 2\r\nxx\r\nPUB a 10\r\nxxxxxxxxxx\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n";
        assert_eq!(out.filled(), expected.as_bytes());
    }
}
