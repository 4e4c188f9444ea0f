//! Header blocks: `NATS/1.0[ code[ description]]`, then `Name: value` lines, then an empty line; every line ends with CRLF.
//!
//! Names are compared as the server compares them: byte by byte. Nothing is checked beyond what a question needs, so a block
//! that a peer made up answers "absent", never an error.

use memchr::memmem;

use super::Buffer;

const VERSION: &[u8] = b"NATS/1.0";

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
