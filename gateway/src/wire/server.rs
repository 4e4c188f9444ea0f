//! The deliver direction: what a server writes. Anything else ends the session.

use super::line::{Size, Stop, await_body, body, one_or_two, pop_size};
use super::{Limits, Malformed, Message, Parsed, ServerOp};

/// Parses one server's bytes, one operation per call. It keeps only its scan position.
pub struct ServerParser {
    limits: Limits,
    /// No line end before this offset.
    scanned: usize,
    /// Buffer length at which an incomplete body will be complete; 0 if none is expected.
    body_end: usize,
}

/// A whole operation.
type Step<'b> = Result<Parsed<ServerOp<'b>>, Stop>;

impl ServerParser {
    /// A parser for a new connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            scanned: 0,
            body_end: 0,
        }
    }

    /// The operation at the start of `buf`. After [`Parsed::Op`], call again with what follows it;
    /// after [`Parsed::Incomplete`], with the same bytes and more.
    ///
    /// # Errors
    /// [`Malformed`] at the first wrong byte; the session is over.
    #[inline]
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Result<Parsed<ServerOp<'b>>, Malformed> {
        if buf.len() < self.body_end {
            return await_body(buf, self.body_end);
        }
        let step = match buf.first_chunk::<4>() {
            Some(b"MSG ") => self.message(buf),
            Some(b"HMSG") => self.header_message(buf),
            _ => self.other(buf),
        };
        match step {
            Ok(op) => {
                self.scanned = 0;
                self.body_end = 0;
                Ok(op)
            }
            Err(stop) => stop.outcome(buf, &mut self.body_end),
        }
    }

    fn other<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        match (buf.first(), buf.get(1)) {
            (None, _) => Err(Stop::Line),
            (Some(b'M'), _) => self.message(buf),
            (Some(b'H'), _) => self.header_message(buf),
            (Some(b'P'), Some(b'I')) => whole_line(buf, b"PING\r\n", ServerOp::Ping),
            (Some(b'P'), _) => whole_line(buf, b"PONG\r\n", ServerOp::Pong),
            (Some(b'+'), _) => whole_line(buf, b"+OK\r\n", ServerOp::Ok),
            (Some(b'-'), _) => self.text(buf, b"-ERR ", |text| ServerOp::Err { text }),
            (Some(b'I'), _) => self.text(buf, b"INFO ", |json| ServerOp::Info { json }),
            _ => Err(Malformed::UnknownOperation { len: 1 }.into()),
        }
    }

    fn message<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        let (arg, line) = self.line(buf, b"MSG ")?;
        let args = pop_size(arg).and_then(|(names, total)| Some((names_of(names)?, None, total)));
        self.with_body(buf, line, args)
    }

    fn header_message<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        let (arg, line) = self.line(buf, b"HMSG ")?;
        let args = pop_size(arg).and_then(|(rest, total)| {
            let (names, header) = pop_size(rest)?;
            Some((names_of(names)?, Some(header.value), total))
        });
        self.with_body(buf, line, args)
    }

    /// The message whose control line has `line` bytes. `args`: the names, the size of the headers, and that of all.
    #[inline]
    fn with_body<'b>(
        &self,
        buf: &'b [u8],
        line: usize,
        args: Option<(Names<'b>, Option<usize>, Size<'b>)>,
    ) -> Step<'b> {
        let wrong = Malformed::Arguments { len: line };
        let ((subject, sid, reply), header, total) = args.ok_or(wrong)?;
        if header.is_some_and(|header| header > total.value) {
            return Err(wrong.into());
        }
        if total.value > self.limits.max_message {
            return Err(Malformed::PayloadTooLarge { len: line }.into());
        }
        let body = body(buf, line, total.value)?;
        let (headers, payload) = match header {
            Some(header) => {
                let (headers, payload) = body.split_at_checked(header).ok_or(wrong)?;
                (Some(headers), payload)
            }
            None => (None, body),
        };
        Ok(Parsed::Op {
            op: ServerOp::Message(Message {
                line: buf.get(..line).unwrap_or_default(),
                subject,
                sid,
                reply,
                headers,
                payload,
            }),
            len: line.saturating_add(total.value).saturating_add(2),
        })
    }

    /// `INFO` and `-ERR`: the rest of the line, as it is.
    fn text<'b>(
        &mut self,
        buf: &'b [u8],
        verb: &[u8],
        op: impl Fn(&'b [u8]) -> ServerOp<'b>,
    ) -> Step<'b> {
        let (arg, len) = self.line(buf, verb)?;
        Ok(Parsed::Op { op: op(arg), len })
    }

    /// The argument part behind `verb` and the length of the line.
    ///
    /// A subject may hold anything but blanks, so a line ends at CRLF only, and not at its very first byte: what one client may
    /// publish must not end the session of another.
    fn line<'b>(&mut self, buf: &'b [u8], verb: &[u8]) -> Result<(&'b [u8], usize), Stop> {
        begins(buf, verb)?;
        let from = self.scanned.max(verb.len().saturating_add(1));
        let found = memchr::memchr(b'\n', buf.get(from..).unwrap_or_default());
        let end = found.map_or(buf.len(), |offset| from.saturating_add(offset));
        if end > self.limits.max_server_line {
            return Err(Malformed::ControlLineTooLong { len: end }.into());
        }
        self.scanned = end;
        found.ok_or(Stop::Line)?;
        let len = end.saturating_add(1);
        let line = buf.get(verb.len()..end).unwrap_or_default();
        let arg = line.strip_suffix(b"\r");
        Ok((arg.ok_or(Malformed::Arguments { len })?, len))
    }
}

/// `buf` begins with `start`, as far as it goes.
fn begins(buf: &[u8], start: &[u8]) -> Result<(), Stop> {
    let mismatch = buf.iter().zip(start).position(|(b, s)| b != s);
    mismatch.map_or(Ok(()), |at| Err(Stop::wrong_byte(at)))
}

/// A line without arguments, which the server always spells the same.
fn whole_line<'b>(buf: &'b [u8], line: &[u8], op: ServerOp<'b>) -> Step<'b> {
    begins(buf, line)?;
    let len = line.len();
    if buf.len() < len {
        return Err(Stop::Line);
    }
    Ok(Parsed::Op { op, len })
}

/// Subject, subscription id, reply.
type Names<'b> = (&'b [u8], &'b [u8], Option<&'b [u8]>);

/// `subject sid [reply]`, single spaces. A server's own messages (advisories, traces) have an empty reply: two spaces before the
/// size.
#[inline]
fn names_of(names: &[u8]) -> Option<Names<'_>> {
    let at = memchr::memchr(b' ', names)?;
    let subject = names.get(..at).filter(|subject| !subject.is_empty())?;
    let rest = names.get(at.saturating_add(1)..)?;
    if let Some((sid, reply)) = one_or_two(rest) {
        return Some((subject, sid, reply));
    }
    match one_or_two(rest.strip_suffix(b" ")?)? {
        (sid, None) => Some((subject, sid, None)),
        (_, Some(_)) => None,
    }
}
