//! The fast path: a run of consecutive messages whose control lines differ only in the size, which is most of what a busy
//! connection carries. One comparison replaces finding the line's end, splitting it and looking up its subject. Anything unusual
//! is left to the parsers.

use super::line::MAX_SIZE_DIGITS;

/// A run: how its control lines begin, up to the size. Empty outside of a run.
#[derive(Default)]
pub struct LineRun {
    start: Vec<u8>,
    last: LastLine,
}

/// The previous control line, CRLF included, and its size: the next line is probably the same.
#[derive(Default)]
struct LastLine {
    line: Vec<u8>,
    size: usize,
}

/// Reads the messages of a run, one after another.
pub struct LineRunReader<'s> {
    /// How the control lines begin.
    pub start: &'s [u8],
    last: &'s mut LastLine,
}

/// A message of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunMessage<'b> {
    /// Never empty.
    pub payload: &'b [u8],
    /// Length of control line, payload and CRLF in the buffer, in bytes.
    pub len: usize,
}

impl LineRun {
    /// Starts a run of lines that begin with `parts`, the last of which is a blank. No run if a line could exceed `limit` bytes.
    pub fn begin(&mut self, parts: &[&[u8]], limit: usize) {
        self.end();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length.saturating_add(MAX_SIZE_DIGITS) <= limit {
            parts
                .iter()
                .for_each(|part| self.start.extend_from_slice(part));
        }
    }

    /// Allocated bytes.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.start
            .capacity()
            .saturating_add(self.last.line.capacity())
    }

    /// Ends the run.
    pub fn end(&mut self) {
        self.start.clear();
        self.last.line.clear();
    }

    /// Reads the messages that follow.
    pub fn reader(&mut self) -> LineRunReader<'_> {
        LineRunReader {
            start: &self.start,
            last: &mut self.last,
        }
    }
}

impl LineRunReader<'_> {
    /// The message at the start of `buf` if it belongs to the run: complete, size without leading zeros, payload of 1 to `most`
    /// bytes.
    #[inline]
    pub fn next<'b>(&mut self, buf: &'b [u8], most: usize) -> Option<RunMessage<'b>> {
        let rest = match buf.strip_prefix(self.last.line.as_slice()) {
            Some(rest) if !self.last.line.is_empty() => rest,
            Some(_) | None => self.line(buf)?,
        };
        let size = self.last.size;
        if size > most {
            return None;
        }
        let (payload, behind) = rest.split_at_checked(size)?;
        let behind = behind.strip_prefix(b"\r\n")?;
        Some(RunMessage {
            payload,
            len: buf.len().wrapping_sub(behind.len()),
        })
    }

    /// Reads a line with another size than the previous one; returns what follows it.
    fn line<'b>(&mut self, buf: &'b [u8]) -> Option<&'b [u8]> {
        let rest = buf.strip_prefix(self.start)?;
        let (size, rest) = size(rest)?;
        if self.start.is_empty() {
            return None;
        }
        let line = buf.get(..buf.len().wrapping_sub(rest.len()))?;
        self.last.size = size;
        self.last.line.clear();
        self.last.line.extend_from_slice(line);
        Some(rest)
    }
}

/// A non-zero size, and what follows its CRLF.
#[inline]
fn size(buf: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, mut rest) = buf.split_first()?;
    let mut size = usize::from(first.wrapping_sub(b'0'));
    if size == 0 || size > 9 {
        return None;
    }
    for _ in 0..MAX_SIZE_DIGITS {
        let (&byte, behind) = rest.split_first()?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Some((size, rest.strip_prefix(b"\r\n")?));
        }
        size = size.wrapping_mul(10).wrapping_add(usize::from(digit));
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_run() -> LineRun {
        let mut line_run = LineRun::default();
        line_run.begin(&[b"PUB ", b"a.b", b" "], 100);
        line_run
    }

    #[test]
    fn message_whose_line_differs_in_its_size_alone_is_in_the_run() {
        let buf = b"PUB a.b 11\r\nhello world\r\nPUB";
        let payload = &b"hello world"[..];
        let len = buf.len() - 3;
        assert_eq!(
            line_run().reader().next(buf, 11),
            Some(RunMessage { payload, len })
        );
    }

    #[test]
    fn what_is_unusual_is_left_to_the_parser() {
        for buf in [
            "PUB a.b 5\r\nhello\r",
            "PUB a.b 5\r\nhell",
            "PUB a.b 5\r",
            "PUB a.b 5",
            "PUB a.b ",
            "PUB a.b 05\r\nhello\r\n",
            "PUB a.b 0\r\n\r\n",
            "PUB a.b \r\n\r\n",
            "PUB a.b  5\r\nhello\r\n",
            "PUB a.b 5 \r\nhello\r\n",
            "PUB a.b 5\nhello\r\n",
            "PUB a.b x 5\r\nhello\r\n",
            "PUB a.c 5\r\nhello\r\n",
            "pub a.b 5\r\nhello\r\n",
            "PUB a.b 5\r\nhelloXX",
            "PUB a.b 6\r\nhello!\r\n",
            "PUB a.b 0000000005\r\nhello\r\n",
            "PUB a.b 18446744073709551621\r\nhello\r\n",
        ] {
            assert_eq!(line_run().reader().next(buf.as_bytes(), 5), None, "{buf:?}");
            let mut behind_another = line_run();
            let mut reader = behind_another.reader();
            assert!(reader.next(b"PUB a.b 5\r\nhello\r\n", 5).is_some());
            assert_eq!(reader.next(buf.as_bytes(), 5), None, "{buf:?}");
        }
    }

    #[test]
    fn sizes_may_change_from_message_to_message_and_back() {
        let mut line_run = line_run();
        let mut reader = line_run.reader();
        let mut buf = &b"PUB a.b 2\r\nab\r\nPUB a.b 2\r\ncd\r\nPUB a.b 11\r\nhello world\r\nPUB a.b 2\r\nef\r\nPUB a.b 1\r\ng\r\n"[..];
        for payload in ["ab", "cd", "hello world", "ef", "g"] {
            let next = reader.next(buf, 11).unwrap();
            assert_eq!(next.payload, payload.as_bytes());
            buf = &buf[next.len..];
        }
        assert_eq!(reader.next(buf, 11), None);
    }

    #[test]
    fn payload_that_is_too_long_is_not_in_the_run_behind_one_of_its_size() {
        let mut line_run = line_run();
        let mut reader = line_run.reader();
        assert!(reader.next(b"PUB a.b 5\r\nhello\r\n", 5).is_some());
        assert_eq!(reader.next(b"PUB a.b 5\r\nhello\r\n", 4), None);
    }

    #[test]
    fn line_that_could_become_too_long_begins_nothing() {
        let mut line_run = LineRun::default();
        let parts: [&[u8]; 3] = [b"PUB ", b"a.b", b" "];
        line_run.begin(&parts, 17);
        assert_eq!(line_run.reader().start, b"PUB a.b ");
        line_run.begin(&parts, 16);
        assert_eq!(line_run.reader().start, b"");
    }

    #[test]
    fn line_of_another_run_is_not_in_the_run() {
        let mut line_run = line_run();
        let message = b"PUB a.b 5\r\nhello\r\n";
        assert!(line_run.reader().next(message, 5).is_some());
        line_run.begin(&[b"PUB ", b"a.c", b" "], 100);
        assert_eq!(line_run.reader().next(message, 5), None);
        line_run.begin(&[b"PUB ", b"a.b", b" "], 100);
        assert!(line_run.reader().next(message, 5).is_some());
        line_run.end();
        assert_eq!(line_run.reader().next(message, 5), None);
    }

    #[test]
    fn nothing_is_read_outside_of_a_run() {
        let mut line_run = line_run();
        line_run.end();
        for buf in [&b"5\r\nhello\r\n"[..], b"PUB a.b 5\r\nhello\r\n"] {
            assert_eq!(line_run.reader().next(buf, 5), None);
        }
    }
}
