//! Header blocks: `NATS/1.0[ code[ description]]`, then `Name: value` lines, then an empty line; every line ends with CRLF.
//!
//! Names are compared as the server compares them: byte by byte. Nothing is checked beyond what a question needs, so a block
//! that a peer made up answers "absent", never an error.

use memchr::memmem;

use super::Buffer;
use super::json::natural;

const VERSION: &[u8] = b"NATS/1.0";

/// Where a block's first header begins.
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

/// The status code and the description behind it, which may be empty.
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
pub fn status_number(block: &[u8], digits: usize) -> Option<Number<'_>> {
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
        self.lines.find_map(parts)
    }
}

/// The name and the value of a header line, its CRLF included.
fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
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

/// What becomes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// The first header of that name, the one that [`get`] finds, gets this value.
    Replace(&'a [u8]),
    /// Every header of that name goes.
    Remove,
}

/// The length of the block after `edit`, for the control line that goes out before it.
#[must_use]
pub fn edited_len(block: &[u8], name: &[u8], edit: Edit<'_>) -> usize {
    let mut len = block.len();
    for (_, line, value) in matching(block, name) {
        match edit {
            Edit::Remove => len = len.saturating_sub(line.len()),
            Edit::Replace(new) => return len.saturating_sub(value.len()).saturating_add(new.len()),
        }
    }
    len
}

/// Appends the block after `edit`: [`edited_len`] bytes. What is not edited passes byte for byte, and all of it when there is
/// no such header.
pub fn edit(block: &[u8], name: &[u8], edit: Edit<'_>, out: &mut Buffer) {
    let mut copied = 0_usize;
    for (at, line, value) in matching(block, name) {
        let line_end = at.saturating_add(line.len());
        match edit {
            Edit::Remove => {
                out.put(block.get(copied..at).unwrap_or_default());
                copied = line_end;
            }
            Edit::Replace(new) => {
                let value_end = line_end.saturating_sub(2);
                let value_start = value_end.saturating_sub(value.len());
                out.put(block.get(copied..value_start).unwrap_or_default());
                out.put(new);
                copied = value_end;
                break;
            }
        }
    }
    out.put(block.get(copied..).unwrap_or_default());
}

/// The lines of the headers called `name`: where each begins in `block`, its bytes, its value.
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
        let (key, value) = parts(line)?;
        (key == name).then_some((from, line, value))
    })
}

/// What the server says of a stored message, in the headers that it appends in its answer to a direct get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectGet<'a> {
    /// The stream that answers: where a mirror does, the mirror.
    pub stream: &'a [u8],
    /// The subject that the message is stored under.
    pub subject: &'a [u8],
    /// Its sequence in the stream.
    pub sequence: u64,
    /// `Nats-Num-Pending` of an answer to a batch.
    pub pending: Option<u64>,
    /// How long the block is that it is stored with. One without a header is taken for none.
    pub stored_len: usize,
}

/// Reads what the server appended to the headers of a stored message in its answer to a direct get, from the end of the block:
///
/// ```text
/// Nats-Stream: …     Nats-Subject: …     Nats-Sequence: …     Nats-Time-Stamp: …
/// Nats-Num-Pending: …     Nats-Last-Sequence: …                     (these two in answers to a batch)
/// ```
///
/// `None` unless the last lines are exactly these, each as the server spells it. Nothing that a publisher wrote can be taken for
/// them, for it stands before them. The server cuts two bytes off the stored block, whatever they are, and appends: behind a block
/// that had no empty line, `Nats-Stream` begins in the middle of a line, and it is found there, for no name of a stream has a blank.
#[must_use]
pub fn written_by_direct_get(block: &[u8]) -> Option<DirectGet<'_>> {
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
    (is_word(stream) && is_word(subject)).then_some(DirectGet {
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

/// A number that the server has written into a block, and what stands around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// The block before it.
    pub before: &'a [u8],
    /// Its digits.
    pub digits: &'a [u8],
    /// The block behind it.
    pub after: &'a [u8],
}

impl Number<'_> {
    /// Its value, if it is one of 64 bits.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        natural(self.digits)
    }

    /// The length of the block with `digits` in its place.
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

/// The size of a stored message that the server delivers without its payload, if it has written one: the last line, but for the
/// `Nats-Pin-Id` of a pinned client, of what a consumer delivers (`by_consumer`), and the last of those that a stream appends to what it
/// republishes:
///
/// ```text
/// Nats-Stream: …     Nats-Subject: …     Nats-Sequence: …     Nats-Time-Stamp: …     Nats-Last-Sequence: …     Nats-Msg-Size: …
/// ```
///
/// A publisher's own header of that name stands before it, or in a message that comes from nowhere else.
#[must_use]
pub fn written_for_headers_only(block: &[u8], from: Sender) -> Option<Number<'_>> {
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

/// Who delivers a message, as its reply subject says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A consumer.
    Consumer,
    /// Anybody else.
    Other,
}

/// Whether these lines end as a stream's do that republishes headers alone.
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

/// The number that the first header called `name` is, if there is one.
#[must_use]
pub fn number<'a>(block: &'a [u8], name: &[u8]) -> Option<Number<'a>> {
    let (at, line, digits) = matching(block, name).next()?;
    natural(digits)?;
    let end = at.saturating_add(line.len()).saturating_sub(b"\r\n".len());
    number_at(block, end.saturating_sub(digits.len()), digits.len())
}

fn number_at(block: &[u8], at: usize, len: usize) -> Option<Number<'_>> {
    let (before, rest) = block.split_at_checked(at)?;
    let (digits, after) = rest.split_at_checked(len)?;
    Some(Number {
        before,
        digits,
        after,
    })
}

/// Takes the last line off `rest`, and gives it without its CRLF.
fn last_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let lines = rest.strip_suffix(b"\r\n")?;
    let start = memmem::rfind(lines, b"\r\n").map_or(0, |at| at.saturating_add(2));
    let (before, line) = lines.split_at_checked(start)?;
    *rest = before;
    Some(line)
}

/// Whether this can be a subject or a name: nothing that ends an argument of the protocol.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty()
        && !text
            .iter()
            .any(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether this is a moment as the server writes it: RFC 3339 in UTC, to the nanosecond, without zeros behind.
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
