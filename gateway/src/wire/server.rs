//! The deliver direction: what a server writes. Anything else ends the session.

use super::client::trailer;
use super::line::{one_or_two, pop_size};
use super::{Limits, Malformed, Message, Parsed, ServerOp};

/// Parses one server's bytes, one operation per call. It keeps only its scan position.
pub struct ServerParser {
    limits: Limits,
    /// No line end before this offset.
    scanned: usize,
    /// Buffer length at which an incomplete body will be complete; 0 if none is expected.
    body_end: usize,
}

type Outcome<'b> = Result<Parsed<ServerOp<'b>>, Malformed>;

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
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        if buf.len() < self.body_end {
            return self.await_body(buf);
        }
        let step = match buf.first_chunk::<4>() {
            Some(b"MSG ") => self.message(buf),
            Some(b"HMSG") => self.header_message(buf),
            _ => self.other(buf),
        };
        if !matches!(step, Ok(Parsed::Incomplete { .. })) {
            self.scanned = 0;
            self.body_end = 0;
        }
        step
    }

    fn other<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        match (buf.first(), buf.get(1)) {
            (None, _) => more(buf),
            (Some(b'M'), _) => self.message(buf),
            (Some(b'H'), _) => self.header_message(buf),
            (Some(b'P'), Some(b'I')) => whole_line(buf, b"PING\r\n", ServerOp::Ping),
            (Some(b'P'), _) => whole_line(buf, b"PONG\r\n", ServerOp::Pong),
            (Some(b'+'), _) => whole_line(buf, b"+OK\r\n", ServerOp::Ok),
            (Some(b'-'), _) => self.text(buf, b"-ERR ", |text| ServerOp::Err { text }),
            (Some(b'I'), _) => self.text(buf, b"INFO ", |json| ServerOp::Info { json }),
            _ => Err(Malformed::UnknownOperation { len: 1 }),
        }
    }

    fn message<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        let Some((arg, line)) = self.line(buf, b"MSG ")? else {
            return more(buf);
        };
        let (names, total) = pop_size(arg).ok_or(Malformed::Arguments { len: line })?;
        let (subject, sid, reply) = names_of(names).ok_or(Malformed::Arguments { len: line })?;
        Ok(match self.body(buf, line, total.value)? {
            Err(need) => Parsed::Incomplete { need },
            Ok(payload) => Parsed::Op {
                op: ServerOp::Message(Message {
                    line: buf.get(..line).unwrap_or_default(),
                    subject,
                    sid,
                    reply,
                    headers: None,
                    payload,
                }),
                len: line.saturating_add(total.value).saturating_add(2),
            },
        })
    }

    fn header_message<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        let Some((arg, line)) = self.line(buf, b"HMSG ")? else {
            return more(buf);
        };
        let wrong = Malformed::Arguments { len: line };
        let (rest, total) = pop_size(arg).ok_or(wrong)?;
        let (names, header) = pop_size(rest).ok_or(wrong)?;
        let (subject, sid, reply) = names_of(names).ok_or(wrong)?;
        if header.value > total.value {
            return Err(wrong);
        }
        Ok(
            match self
                .body(buf, line, total.value)?
                .map(|body| body.split_at_checked(header.value))
            {
                Err(need) => Parsed::Incomplete { need },
                Ok(parts) => {
                    let (headers, payload) = parts.ok_or(wrong)?;
                    Parsed::Op {
                        op: ServerOp::Message(Message {
                            line: buf.get(..line).unwrap_or_default(),
                            subject,
                            sid,
                            reply,
                            headers: Some(headers),
                            payload,
                        }),
                        len: line.saturating_add(total.value).saturating_add(2),
                    }
                }
            },
        )
    }

    /// `INFO` and `-ERR`: the rest of the line, as it is.
    fn text<'b>(
        &mut self,
        buf: &'b [u8],
        verb: &[u8],
        op: impl Fn(&'b [u8]) -> ServerOp<'b>,
    ) -> Outcome<'b> {
        Ok(match self.line(buf, verb)? {
            Some((arg, len)) => Parsed::Op { op: op(arg), len },
            None => return more(buf),
        })
    }

    /// The argument part behind `verb` and the length of the line.
    ///
    /// A subject may hold anything but blanks, so a line ends at CRLF only, and not at its very first byte: what one client may
    /// publish must not end the session of another.
    fn line<'b>(
        &mut self,
        buf: &'b [u8],
        verb: &[u8],
    ) -> Result<Option<(&'b [u8], usize)>, Malformed> {
        let mismatch = buf.iter().zip(verb).position(|(b, v)| b != v);
        if let Some(at) = mismatch {
            return Err(Malformed::UnknownOperation {
                len: at.saturating_add(1),
            });
        }
        let from = self.scanned.max(verb.len().saturating_add(1));
        let rest = buf.get(from..).unwrap_or_default();
        let Some(offset) = memchr::memchr(b'\n', rest) else {
            self.scanned = buf.len();
            return if buf.len() > self.limits.max_server_line {
                Err(Malformed::ControlLineTooLong { len: buf.len() })
            } else {
                Ok(None)
            };
        };
        let end = from.saturating_add(offset);
        if end > self.limits.max_server_line {
            return Err(Malformed::ControlLineTooLong { len: end });
        }
        self.scanned = end;
        let len = end.saturating_add(1);
        let arg = buf
            .get(verb.len()..end)
            .and_then(|line| line.strip_suffix(b"\r"));
        arg.map(|arg| Some((arg, len)))
            .ok_or(Malformed::Arguments { len })
    }

    /// The body behind a line of `line` bytes, or the buffer length at which it will be complete.
    fn body<'b>(
        &mut self,
        buf: &'b [u8],
        line: usize,
        total: usize,
    ) -> Result<Result<&'b [u8], usize>, Malformed> {
        if total > self.limits.max_message {
            return Err(Malformed::PayloadTooLarge { len: line });
        }
        let end = line.saturating_add(total);
        match trailer(buf, end) {
            Some(true) => Ok(Ok(buf.get(line..end).unwrap_or_default())),
            Some(false) => Err(Malformed::Trailer),
            None => {
                self.body_end = end.saturating_add(2);
                Ok(Err(self.body_end))
            }
        }
    }

    /// While a body is incomplete, only its closing CR can be wrong.
    #[cold]
    fn await_body<'b>(&self, buf: &'b [u8]) -> Outcome<'b> {
        if trailer(buf, self.body_end.saturating_sub(2)) == Some(false) {
            return Err(Malformed::Trailer);
        }
        Ok(Parsed::Incomplete {
            need: self.body_end,
        })
    }
}

const fn more<'b>(buf: &[u8]) -> Outcome<'b> {
    Ok(Parsed::Incomplete {
        need: buf.len().saturating_add(1),
    })
}

/// A line without arguments, which the server always spells the same.
fn whole_line<'b>(buf: &'b [u8], line: &[u8], op: ServerOp<'b>) -> Outcome<'b> {
    let mismatch = buf.iter().zip(line).position(|(b, l)| b != l);
    match mismatch {
        Some(at) => Err(Malformed::UnknownOperation {
            len: at.saturating_add(1),
        }),
        None if buf.len() < line.len() => Ok(Parsed::Incomplete { need: line.len() }),
        None => Ok(Parsed::Op {
            op,
            len: line.len(),
        }),
    }
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
