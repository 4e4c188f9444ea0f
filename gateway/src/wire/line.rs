//! Finding a control line and splitting its argument part, without looking at any byte twice.

use memchr::memchr2;

use super::{Malformed, Parsed};

/// nats-server rejects a size with more digits, whatever its value.
pub(super) const MAX_SIZE_DIGITS: usize = 9;

/// Why there is no operation.
pub(super) enum Stop {
    /// The line is incomplete.
    Line,
    /// The body is, until the buffer has this length.
    Body(usize),
    Malformed(Malformed),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Stop {
    /// No operation has the byte at `at`.
    pub(super) const fn wrong_byte(at: usize) -> Self {
        Self::Malformed(Malformed::UnknownOperation {
            len: at.saturating_add(1),
        })
    }

    /// What the parser of `buf` says; `body_end` is set to where its body ends, if that is what is incomplete.
    pub(super) const fn outcome<Op>(
        self,
        buf: &[u8],
        body_end: &mut usize,
    ) -> Result<Parsed<Op>, Malformed> {
        let need = match self {
            Self::Line => buf.len().saturating_add(1),
            Self::Body(end) => {
                *body_end = end;
                end
            }
            Self::Malformed(malformed) => return Err(malformed),
        };
        Ok(Parsed::Incomplete { need })
    }
}

/// A complete control line at the start of a buffer.
#[derive(Clone, Copy)]
pub(super) struct Line<'b> {
    /// From the first non-blank byte to the line end, trailing blanks included: what the server compares with `max_control_line`.
    pub(super) arg: &'b [u8],
    /// Length in bytes, line feed included.
    pub(super) len: usize,
}

/// How far an unfinished line has been scanned. All zero at the start of an operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    /// Offset of the argument part; 0 while only blanks were seen.
    arg: usize,
    /// No line end before this offset.
    scanned: usize,
}

impl Progress {
    /// The line of `buf` whose verb takes `verb` bytes.
    ///
    /// The first byte of an argument never ends a line, not even a line feed (nats-server's `parser.go`).
    #[inline]
    pub(super) fn line<'b>(
        &mut self,
        buf: &'b [u8],
        verb: usize,
        limit: usize,
    ) -> Result<Line<'b>, Stop> {
        match canonical_line(buf, verb) {
            Some(line) if self.scanned == 0 && line.arg.len() <= limit => Ok(line),
            _ => self.any_line(buf, verb, limit),
        }
    }

    /// The same for lines that are unusual or arrived in pieces.
    #[cold]
    fn any_line<'b>(&mut self, buf: &'b [u8], verb: usize, limit: usize) -> Result<Line<'b>, Stop> {
        if self.arg == 0 {
            let from = self.scanned.max(verb);
            let rest = buf.get(from..).unwrap_or_default();
            let blanks = rest.iter().position(|&b| !is_blank(b));
            self.scanned = from.saturating_add(blanks.unwrap_or(rest.len()));
            check_padding(self.scanned, verb, limit)?;
            if blanks.is_none() {
                return Err(Stop::Line);
            }
            self.arg = self.scanned;
        }
        self.argument(buf, limit)
    }

    fn argument<'b>(&mut self, buf: &'b [u8], limit: usize) -> Result<Line<'b>, Stop> {
        let start = self.arg;
        let first_is_lf = buf.get(start) == Some(&b'\n');
        let from = self
            .scanned
            .max(start.saturating_add(usize::from(first_is_lf)));
        let found = memchr2(b'\r', b'\n', buf.get(from..).unwrap_or_default());
        let at = found.map_or(buf.len(), |offset| from.saturating_add(offset));
        if at.saturating_sub(start) > limit {
            return Err(Malformed::ControlLineTooLong { len: at }.into());
        }
        self.scanned = at;
        let len = match (buf.get(at), buf.get(at.saturating_add(1))) {
            (Some(b'\n'), _) => at.saturating_add(1),
            (Some(_), Some(b'\n')) => at.saturating_add(2),
            (Some(_), Some(_)) => return Err(Malformed::CarriageReturn.into()),
            _ => return Err(Stop::Line),
        };
        let arg = buf.get(start..at).unwrap_or_default();
        Ok(Line { arg, len })
    }

    /// The length of a line whose verb takes `verb` bytes and ignores whatever follows up to the line feed.
    pub(super) fn line_without_arguments(
        &mut self,
        buf: &[u8],
        verb: usize,
        limit: usize,
    ) -> Result<usize, Stop> {
        let from = self.scanned.max(verb);
        let found = memchr::memchr(b'\n', buf.get(from..).unwrap_or_default());
        self.scanned = found.map_or(buf.len(), |offset| from.saturating_add(offset));
        check_padding(self.scanned, verb, limit)?;
        found.ok_or(Stop::Line)?;
        Ok(self.scanned.saturating_add(1))
    }
}

/// The body of `total` bytes behind a line of `line` bytes.
#[inline]
pub(super) fn body(buf: &[u8], line: usize, total: usize) -> Result<&[u8], Stop> {
    let end = line.saturating_add(total);
    match trailer(buf, end) {
        Some(true) => Ok(buf.get(line..end).unwrap_or_default()),
        Some(false) => Err(Malformed::Trailer.into()),
        None => Err(Stop::Body(end.saturating_add(2))),
    }
}

/// While a body is incomplete, which ends at `body_end`, only its closing CR can be wrong.
#[cold]
pub(super) fn await_body<Op>(buf: &[u8], body_end: usize) -> Result<Parsed<Op>, Malformed> {
    match trailer(buf, body_end.saturating_sub(2)) {
        Some(false) => Err(Malformed::Trailer),
        Some(true) | None => Ok(Parsed::Incomplete { need: body_end }),
    }
}

/// Whether CRLF stands at `end`; `None` while too short to tell. A wrong first byte tells at once.
fn trailer(buf: &[u8], end: usize) -> Option<bool> {
    match (buf.get(end)?, buf.get(end.saturating_add(1))) {
        (b'\r', None) => None,
        (b'\r', Some(b'\n')) => Some(true),
        _ => Some(false),
    }
}

/// A canonical line: one blank behind the verb, CRLF at the end.
#[inline]
fn canonical_line(buf: &[u8], verb: usize) -> Option<Line<'_>> {
    let (blank, rest) = buf.get(verb..)?.split_first()?;
    if !is_blank(*blank) || *rest.first()? <= b' ' {
        return None;
    }
    let at = memchr2(b'\r', b'\n', rest)?;
    let (arg, end) = rest.split_at_checked(at)?;
    let len = verb.checked_add(3)?.checked_add(at)?;
    end.starts_with(b"\r\n").then_some(Line { arg, len })
}

/// Fails if more than `limit` bytes stand between the verb and `at`.
const fn check_padding(at: usize, verb: usize, limit: usize) -> Result<(), Malformed> {
    if at.saturating_sub(verb) > limit {
        Err(Malformed::EndlessFilling)
    } else {
        Ok(())
    }
}

pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The arguments of `arg` and their number; more than four are counted as five.
pub(super) fn split(arg: &[u8], is_separator: impl Fn(u8) -> bool) -> ([&[u8]; 4], usize) {
    let mut args: [&[u8]; 4] = [&[]; 4];
    let mut count = 0_usize;
    for token in arg
        .split(|&b| is_separator(b))
        .filter(|token| !token.is_empty())
    {
        if let Some(slot) = args.get_mut(count) {
            *slot = token;
        }
        count = count.saturating_add(1);
        if count > args.len() {
            break;
        }
    }
    (args, count)
}

/// Parses a size as nats-server does: one to nine decimal digits, leading zeros allowed.
pub(super) fn size(digits: &[u8]) -> Option<Size<'_>> {
    if digits.is_empty() || digits.len() > MAX_SIZE_DIGITS {
        return None;
    }
    let value = digits.iter().try_fold(0_usize, |n, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| n.wrapping_mul(10).wrapping_add(usize::from(digit)))
    })?;
    Some(Size { digits, value })
}

/// A size, in digits as the peer wrote it and as a number.
#[derive(Clone, Copy)]
pub(super) struct Size<'b> {
    pub(super) digits: &'b [u8],
    pub(super) value: usize,
}

/// Splits a canonical argument part at its last blank: what stands before it, and the size. `None` for any other spelling.
#[inline]
pub(super) fn pop_size(arg: &[u8]) -> Option<(&[u8], Size<'_>)> {
    let mut n = 0_usize;
    let mut scale = 1_usize;
    for (at, &byte) in arg.iter().enumerate().rev() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if byte != b' ' || scale == 1 {
                return None;
            }
            let digits = arg.get(at.saturating_add(1)..)?;
            return Some((arg.get(..at)?, Size { digits, value: n }));
        }
        if scale > 100_000_000 {
            return None;
        }
        n = n.wrapping_add(scale.wrapping_mul(usize::from(digit)));
        scale = scale.wrapping_mul(10);
    }
    None
}

/// One or two arguments separated by a single space; `None` for any other spelling.
pub(super) fn one_or_two(args: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    match memchr2(b' ', b'\t', args) {
        None => (!args.is_empty()).then_some((args, None)),
        Some(at) => {
            let first = args.get(..at)?;
            let second = args.get(at.saturating_add(1)..)?;
            let canonical = !first.is_empty() && !second.is_empty() && args.get(at) == Some(&b' ');
            (canonical && memchr2(b' ', b'\t', second).is_none()).then_some((first, Some(second)))
        }
    }
}
