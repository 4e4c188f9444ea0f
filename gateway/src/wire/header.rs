//! Header blocks: `NATS/1.0[ code[ description]]`, then `Name: value` lines, then an empty line; every line ends with CRLF.
//!
//! Names are compared byte by byte, as the server does. Malformed blocks are no error: a header that can't be read is absent.

use memchr::memmem;

use super::Buffer;
use super::json::natural;

const VERSION: &[u8] = b"NATS/1.0";

/// Length of a block without headers, but for its final CRLF.
const NO_HEADERS: usize = VERSION.len() + 2;

/// The value of the first header called `name`, without the blanks before it; `None` when there is none.
#[must_use]
pub fn get<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    iter(block)
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The status code of the first line, for example `503`; `None` for an ordinary message.
#[must_use]
pub fn status(block: &[u8]) -> Option<&[u8]> {
    status_line(block).map(|(code, _)| code)
}

/// The status code and its description, which may be empty.
#[must_use]
pub fn status_line(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = block.strip_prefix(VERSION)?;
    let end = memmem::find(line, b"\r\n").unwrap_or(line.len());
    let line = line.get(..end)?.trim_ascii();
    let code_len = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
    let (code, description) = line.split_at_checked(code_len)?;
    (!code.is_empty()).then(|| (code, description.trim_ascii()))
}

/// The number of so many digits at the end of the first line's description, and what stands around it.
#[must_use]
pub fn status_number(block: &[u8], digits: usize) -> Option<HeaderNumber<'_>> {
    let end = memmem::find(block, b"\r\n")?;
    let line = block.get(..end)?.trim_ascii_end();
    let number = number_at(block, line.len().checked_sub(digits)?, digits)?;
    number.value().map(|_| number)
}

/// Whether the block carries a status.
#[must_use]
pub fn has_status(block: &[u8]) -> bool {
    status(block).is_some()
}

/// The headers in their order, as names and values.
#[must_use]
pub fn iter(block: &[u8]) -> Headers<'_> {
    Headers {
        lines: Lines::new(block),
    }
}

/// Iterates over names and values; lines without a colon are left out.
#[derive(Clone)]
pub struct Headers<'a> {
    lines: Lines<'a>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.find_map(name_and_value)
    }
}

/// The name and the value of a header line, its CRLF included.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"\r\n")?;
    let colon = memchr::memchr(b':', line)?;
    let name = line.get(..colon)?;
    let value = line.get(colon.saturating_add(1)..)?;
    let blanks = value.iter().take_while(|&&b| b == b' ').count();
    Some((name, value.get(blanks..)?))
}

/// The header lines of a block, each with its CRLF: neither the first line nor the empty last one.
#[derive(Clone)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn new(block: &'a [u8]) -> Self {
        let mut lines = Self { rest: block };
        if !block.starts_with(VERSION) || lines.line().is_none() {
            lines.rest = &[];
        }
        lines
    }

    /// Everything up to and including the next CRLF.
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = memmem::find(self.rest, b"\r\n")?.checked_add(2)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(line)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.line()?;
        if line == b"\r\n" {
            self.rest = &[];
            return None;
        }
        Some(line)
    }
}

/// Appends the block with `new` as the value of the first header called `name`, which [`get`] finds. Everything else is copied byte
/// for byte.
pub fn replace(block: &[u8], name: &[u8], new: &[u8], out: &mut Buffer) {
    let Some((at, line, value)) = matching(block, name).next() else {
        return out.put(block);
    };
    let end = at.saturating_add(line.len()).saturating_sub(b"\r\n".len());
    let start = end.saturating_sub(value.len());
    out.put(block.get(..start).unwrap_or_default());
    out.put(new);
    out.put(block.get(end..).unwrap_or_default());
}

/// The lines of the headers called `name`: offset in `block`, bytes, value.
fn matching<'a>(block: &'a [u8], name: &[u8]) -> impl Iterator<Item = (usize, &'a [u8], &'a [u8])> {
    let mut lines = Lines::new(block);
    let mut at = block.len().saturating_sub(lines.rest.len());
    std::iter::from_fn(move || {
        let from = at;
        let line = lines.next()?;
        at = at.saturating_add(line.len());
        Some((from, line))
    })
    .filter_map(move |(from, line)| {
        let (key, value) = name_and_value(line)?;
        (key == name).then_some((from, line, value))
    })
}

/// The headers that the server appends to a stored message in its response to a direct get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectGetHeaders<'a> {
    /// The stream that responds, which may be a mirror.
    pub stream: &'a [u8],
    /// The subject that the message is stored under.
    pub subject: &'a [u8],
    /// Its sequence in the stream.
    pub sequence: u64,
    /// `Nats-Num-Pending`, in responses to a batch.
    pub pending: Option<u64>,
    /// Length of the stored header block in bytes; 0 also for a block without headers.
    pub stored_len: usize,
}

/// Reads the headers that the server appended in a response to a direct get, from the end of the block:
///
/// ```text
/// Nats-Stream: …     Nats-Subject: …     Nats-Sequence: …     Nats-Time-Stamp: …
/// Nats-Num-Pending: …     Nats-Last-Sequence: …                     (these two in responses to a batch)
/// ```
///
/// `None` unless the last lines are exactly these, in the server's spelling. A publisher's own headers stand before them, so they
/// can't be mistaken for them. The server cuts two bytes off the stored block, whatever they are, and appends: if the block had
/// no empty line, `Nats-Stream` begins in mid-line, and is found there because names of streams have no blanks.
#[must_use]
pub fn direct_get_headers(block: &[u8]) -> Option<DirectGetHeaders<'_>> {
    let mut rest = block.strip_suffix(b"\r\n")?;
    let mut line = last_line(&mut rest)?;
    let mut pending = None;
    if let Some(last) = line.strip_prefix(b"Nats-Last-Sequence: ") {
        natural(last)?;
        let number = last_line(&mut rest)?.strip_prefix(b"Nats-Num-Pending: ")?;
        pending = Some(natural(number)?);
        line = last_line(&mut rest)?;
    }
    is_time(line.strip_prefix(b"Nats-Time-Stamp: ")?).then_some(())?;
    let sequence = last_line(&mut rest)?.strip_prefix(b"Nats-Sequence: ")?;
    let subject = last_line(&mut rest)?.strip_prefix(b"Nats-Subject: ")?;
    let line = last_line(&mut rest)?;
    let name = b"Nats-Stream: ";
    let at = memmem::rfind(line, name)?;
    let stream = line.get(at.checked_add(name.len())?..)?;
    let before = rest.len().checked_add(at)?;
    (is_argument(stream) && is_argument(subject)).then_some(DirectGetHeaders {
        stream,
        subject,
        sequence: natural(sequence)?,
        pending,
        stored_len: match before {
            NO_HEADERS => 0,
            before => before.checked_add(b"\r\n".len())?,
        },
    })
}

/// A number in a header block, and the bytes around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderNumber<'a> {
    /// The bytes before it.
    pub before: &'a [u8],
    /// Its digits.
    pub digits: &'a [u8],
    /// The bytes after it.
    pub after: &'a [u8],
}

impl HeaderNumber<'_> {
    /// Its value, if it fits 64 bits.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        natural(self.digits)
    }

    /// Length of the block with `digits` in its place.
    #[must_use]
    pub const fn len_with(&self, digits: &[u8]) -> usize {
        let around = self.before.len().saturating_add(self.after.len());
        around.saturating_add(digits.len())
    }

    /// Appends the block with `digits` in its place.
    pub fn replace(&self, digits: &[u8], out: &mut Buffer) {
        for part in [self.before, digits, self.after] {
            out.put(part);
        }
    }
}

/// `Nats-Msg-Size` of a message that the server delivers without its payload (`headers_only`). It is the last line of what a
/// consumer delivers, but for the `Nats-Pin-Id` of a pinned client, and the last that a stream appends to what it republishes:
///
/// ```text
/// Nats-Stream: …     Nats-Subject: …     Nats-Sequence: …     Nats-Time-Stamp: …     Nats-Last-Sequence: …     Nats-Msg-Size: …
/// ```
///
/// A publisher's own header of that name stands before these lines, or in a message without them.
#[must_use]
pub fn headers_only_size(block: &[u8], from: Sender) -> Option<HeaderNumber<'_>> {
    let mut rest = block.strip_suffix(b"\r\n")?;
    let mut line = last_line(&mut rest)?;
    if line.starts_with(b"Nats-Pin-Id: ") {
        line = last_line(&mut rest)?;
    }
    let digits = line.strip_prefix(b"Nats-Msg-Size: ")?;
    natural(digits)?;
    let at = rest
        .len()
        .saturating_add(line.len())
        .saturating_sub(digits.len());
    let is_the_servers = from == Sender::Consumer || is_republished(rest);
    is_the_servers.then_some(())?;
    number_at(block, at, digits.len())
}

/// What delivers a message, according to its reply subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A JetStream consumer.
    Consumer,
    /// Anything else.
    Other,
}

/// Whether these lines end as those of a stream that republishes only headers.
fn is_republished(lines: &[u8]) -> bool {
    const LINES: [&[u8]; 5] = [
        b"Nats-Last-Sequence: ",
        b"Nats-Time-Stamp: ",
        b"Nats-Sequence: ",
        b"Nats-Subject: ",
        b"Nats-Stream: ",
    ];
    let mut rest = lines;
    LINES
        .iter()
        .all(|start| last_line(&mut rest).is_some_and(|line| line.starts_with(start)))
}

/// The value of the first header called `name`, if it is a number.
#[must_use]
pub fn number<'a>(block: &'a [u8], name: &[u8]) -> Option<HeaderNumber<'a>> {
    let (at, line, digits) = matching(block, name).next()?;
    natural(digits)?;
    let end = at.saturating_add(line.len()).saturating_sub(b"\r\n".len());
    number_at(block, end.saturating_sub(digits.len()), digits.len())
}

fn number_at(block: &[u8], at: usize, len: usize) -> Option<HeaderNumber<'_>> {
    let (before, rest) = block.split_at_checked(at)?;
    let (digits, after) = rest.split_at_checked(len)?;
    Some(HeaderNumber {
        before,
        digits,
        after,
    })
}

/// Removes the last line from `rest`; returns it without its CRLF.
fn last_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let lines = rest.strip_suffix(b"\r\n")?;
    let start = memmem::rfind(lines, b"\r\n").map_or(0, |at| at.saturating_add(2));
    let (before, line) = lines.split_at_checked(start)?;
    *rest = before;
    Some(line)
}

/// Whether this can be one argument of a control line.
fn is_argument(text: &[u8]) -> bool {
    !text.is_empty()
        && !text
            .iter()
            .any(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether this is a time in the server's spelling: RFC 3339 in UTC, up to nanoseconds, no trailing zeros.
fn is_time(text: &[u8]) -> bool {
    const LIKE: &[u8] = b"0000-00-00T00:00:00";
    let Some((seconds, rest)) = text.split_at_checked(LIKE.len()) else {
        return false;
    };
    let fraction = match rest {
        b"Z" => true,
        [b'.', digits @ .., b'Z'] => {
            let is_short = digits.len() <= 9 && !matches!(digits.last(), None | Some(b'0'));
            is_short && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    fraction
        && seconds
            .iter()
            .zip(LIKE)
            .all(|(byte, like)| byte == like || *like == b'0' && byte.is_ascii_digit())
}
