//! Finding a control line and splitting its argument part, without looking at any byte twice.

use memchr::memchr2;

use super::Malformed;

/// nats-server rejects a size with more digits, whatever its value.
pub(super) const MAX_SIZE_DIGITS: usize = 9;

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
    /// The line of `buf` whose verb takes `verb` bytes; `None` while it is incomplete.
    ///
    /// The first byte of an argument never ends a line, not even a line feed (nats-server's `parser.go`).
    #[inline]
    pub(super) fn line<'b>(
        &mut self,
        buf: &'b [u8],
        verb: usize,
        limit: usize,
    ) -> Result<Option<Line<'b>>, Malformed> {
        match canonical_line(buf, verb) {
            Some(line) if self.scanned == 0 && line.arg.len() <= limit => Ok(Some(line)),
            _ => self.any_line(buf, verb, limit),
        }
    }

    /// The same for lines that are unusual or arrived in pieces.
    #[cold]
    fn any_line<'b>(
        &mut self,
        buf: &'b [u8],
        verb: usize,
        limit: usize,
    ) -> Result<Option<Line<'b>>, Malformed> {
        if self.arg == 0 {
            let from = self.scanned.max(verb);
            let rest = buf.get(from..).unwrap_or_default();
            let Some(blanks) = rest.iter().position(|&b| !is_blank(b)) else {
                self.scanned = buf.len();
                return check_padding(buf.len(), verb, limit);
            };
            self.arg = from.saturating_add(blanks);
            self.scanned = self.arg;
            if self.arg.saturating_sub(verb) > limit {
                return Err(Malformed::EndlessFilling);
            }
        }
        self.argument(buf, limit)
    }

    fn argument<'b>(&mut self, buf: &'b [u8], limit: usize) -> Result<Option<Line<'b>>, Malformed> {
        let start = self.arg;
        let first_is_lf = buf.get(start) == Some(&b'\n');
        let from = self
            .scanned
            .max(start.saturating_add(usize::from(first_is_lf)));
        let found = memchr2(b'\r', b'\n', buf.get(from..).unwrap_or_default());
        let at = found.map_or(buf.len(), |offset| from.saturating_add(offset));
        if at.saturating_sub(start) > limit {
            return Err(Malformed::ControlLineTooLong { len: at });
        }
        self.scanned = at;
        let end = match (buf.get(at), buf.get(at.saturating_add(1))) {
            (Some(b'\n'), _) => at.saturating_add(1),
            (Some(_), Some(b'\n')) => at.saturating_add(2),
            (Some(_), Some(_)) => return Err(Malformed::CarriageReturn),
            _ => return Ok(None),
        };
        let arg = buf.get(start..at).unwrap_or_default();
        Ok(Some(Line { arg, len: end }))
    }

    /// The length of a line whose verb takes `verb` bytes and ignores whatever follows up to the line feed.
    pub(super) fn line_without_arguments(
        &mut self,
        buf: &[u8],
        verb: usize,
        limit: usize,
    ) -> Result<Option<usize>, Malformed> {
        let from = self.scanned.max(verb);
        let found = memchr::memchr(b'\n', buf.get(from..).unwrap_or_default());
        let at = found.map_or(buf.len(), |offset| from.saturating_add(offset));
        self.scanned = at;
        check_padding::<()>(at, verb, limit)?;
        Ok(found.map(|_| at.saturating_add(1)))
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
const fn check_padding<T>(at: usize, verb: usize, limit: usize) -> Result<Option<T>, Malformed> {
    if at.saturating_sub(verb) > limit {
        Err(Malformed::EndlessFilling)
    } else {
        Ok(None)
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
