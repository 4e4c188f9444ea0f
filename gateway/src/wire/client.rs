//! The publish direction: what a client may send, exactly as permissive as nats-server's `parser.go`.

use super::line::{Line, Progress, Size, is_blank, one_or_two, pop_size, size, split};
use super::{ClientOp, Limits, Malformed, Parsed, Publish};

/// Parses one client's bytes, one operation per call.
///
/// It keeps its scan position, so that an operation that arrives in many pieces is scanned only once.
pub struct ClientParser {
    limits: Limits,
    /// Largest body that the server accepts; `None`: any.
    max_payload: Option<usize>,
    /// Whether headers were negotiated.
    headers: bool,
    progress: Progress,
    /// Buffer length at which an incomplete body will be complete; 0 if none is expected.
    body_end: usize,
    /// See [`Self::arg_len`].
    arg_len: usize,
}

type Outcome<'b> = Result<Parsed<ClientOp<'b>>, Malformed>;

impl ClientParser {
    /// A parser for a new connection: no headers yet, no limit on the payload until INFO announces one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            max_payload: None,
            headers: false,
            progress: Progress::default(),
            body_end: 0,
            arg_len: 0,
        }
    }

    /// Sets the server's own `max_payload` in bytes, headers included; `None` where it announces -1.
    pub const fn set_max_payload(&mut self, max: Option<usize>) {
        self.max_payload = max;
    }

    /// Sets whether `HPUB` is legal: the server offers headers and the client's CONNECT accepted them.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "one flag, named by the method"
    )]
    pub const fn set_headers(&mut self, headers: bool) {
        self.headers = headers;
    }

    /// Length of the last operation's argument part, as the client spelt it: what the server compares with `max_control_line`.
    /// Writers pad to it, so that no line becomes legal because its redundant blanks were dropped.
    #[must_use]
    pub const fn arg_len(&self) -> usize {
        self.arg_len
    }

    /// The operation at the start of `buf`. After [`Parsed::Op`], call again with what follows it;
    /// after [`Parsed::Incomplete`], with the same bytes and more.
    ///
    /// # Errors
    /// [`Malformed`] at the first wrong byte; the connection is over.
    #[inline]
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        if buf.len() < self.body_end {
            return self.await_body(buf);
        }
        let step = match buf.first_chunk::<4>() {
            Some(b"PUB ") => self.publish(buf, 3),
            Some(b"HPUB") => self.header_publish(buf),
            _ => self.other(buf),
        };
        if !matches!(step, Ok(Parsed::Incomplete { .. })) {
            self.progress = Progress::default();
            self.body_end = 0;
        }
        step
    }

    /// Every spelling that [`Self::next`] does not recognise at once.
    fn other<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        let Some(first) = buf.first() else {
            return Ok(Parsed::Incomplete { need: 1 });
        };
        match first.to_ascii_uppercase() {
            b'P' => self.verb_with_p(buf),
            b'H' => match buf.get(1).map(u8::to_ascii_uppercase) {
                Some(b'M') => Err(Malformed::ServerVerb),
                _ => self.header_publish(buf),
            },
            b'S' => self.subscribe(buf),
            b'U' => self.unsubscribe(buf),
            b'C' => self.json(buf, b"CONNECT", |json| ClientOp::Connect { json }),
            b'I' => self.json(buf, b"INFO", |json| ClientOp::Info { json }),
            b'+' => self.without_arguments(buf, b"+OK", ClientOp::Ok),
            b'-' => self.error(buf),
            _ => Err(Malformed::UnknownOperation { len: 1 }),
        }
    }

    fn verb_with_p<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        match buf.get(1).map(u8::to_ascii_uppercase) {
            None => more(buf),
            Some(b'I') => self.without_arguments(buf, b"PING", ClientOp::Ping),
            Some(b'O') => self.without_arguments(buf, b"PONG", ClientOp::Pong),
            Some(_) if verb_and_blank(buf, b"PUB")? => self.publish(buf, 3),
            Some(_) => more(buf),
        }
    }

    fn publish<'b>(&mut self, buf: &'b [u8], verb: usize) -> Outcome<'b> {
        let Some(line) = self.line(buf, verb)? else {
            return more(buf);
        };
        let canonical =
            pop_size(line.arg).and_then(|(names, total)| Some((one_or_two(names)?, total)));
        let ((subject, reply), total) = match canonical {
            Some(parts) => parts,
            None => publish_args(line.arg).ok_or(Malformed::Arguments { len: line.len })?,
        };
        let body = self.body(buf, line, total.value)?;
        Ok(match body {
            Err(need) => Parsed::Incomplete { need },
            Ok(payload) => {
                let op = ClientOp::Publish(Publish {
                    subject,
                    reply,
                    header_size: None,
                    size: total.digits,
                    headers: None,
                    payload,
                });
                self.whole(op, line, total.value)
            }
        })
    }

    fn header_publish<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        if !verb_and_blank(buf, b"HPUB")? {
            return more(buf);
        }
        let Some(line) = self.line(buf, 4)? else {
            return more(buf);
        };
        let wrong = Malformed::Arguments { len: line.len };
        if !self.headers {
            return Err(wrong);
        }
        let canonical = pop_size(line.arg).and_then(|(rest, total)| {
            let (names, header) = pop_size(rest)?;
            Some((one_or_two(names)?, header, total))
        });
        let ((subject, reply), header, total) = match canonical {
            Some(parts) => parts,
            None => header_publish_args(line.arg).ok_or(wrong)?,
        };
        if header.value > total.value {
            return Err(wrong);
        }
        let body = self.body(buf, line, total.value)?;
        Ok(match body.map(|body| body.split_at_checked(header.value)) {
            Err(need) => Parsed::Incomplete { need },
            Ok(parts) => {
                let (headers, payload) = parts.ok_or(wrong)?;
                let op = ClientOp::Publish(Publish {
                    subject,
                    reply,
                    header_size: Some(header.digits),
                    size: total.digits,
                    headers: Some(headers),
                    payload,
                });
                self.whole(op, line, total.value)
            }
        })
    }

    /// The body behind `line`, or the buffer length at which it will be complete.
    fn body<'b>(
        &mut self,
        buf: &'b [u8],
        line: Line<'b>,
        total: usize,
    ) -> Result<Result<&'b [u8], usize>, Malformed> {
        if self.max_payload.is_some_and(|max| total > max) {
            return Err(Malformed::PayloadTooLarge { len: line.len });
        }
        let end = line.len.saturating_add(total);
        match trailer(buf, end) {
            Some(true) => Ok(Ok(buf.get(line.len..end).unwrap_or_default())),
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
        let end = self.body_end.saturating_sub(2);
        if trailer(buf, end) == Some(false) {
            return Err(Malformed::Trailer);
        }
        Ok(Parsed::Incomplete {
            need: self.body_end,
        })
    }

    fn subscribe<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        if !verb_and_blank(buf, b"SUB")? {
            return more(buf);
        }
        let Some(line) = self.line(buf, 3)? else {
            return more(buf);
        };
        let op = match split(line.arg, is_separator) {
            ([subject, sid, ..], 2) => ClientOp::Subscribe {
                subject,
                queue: None,
                sid,
            },
            ([subject, queue, sid, _], 3) => ClientOp::Subscribe {
                subject,
                queue: Some(queue),
                sid,
            },
            _ => return Err(Malformed::Arguments { len: line.len }),
        };
        Ok(self.done(op, line))
    }

    fn unsubscribe<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        if !verb_and_blank(buf, b"UNSUB")? {
            return more(buf);
        }
        let Some(line) = self.line(buf, 5)? else {
            return more(buf);
        };
        let op = match split(line.arg, is_separator) {
            ([sid, ..], 1) => ClientOp::Unsubscribe { sid, max: None },
            ([sid, max, ..], 2) => ClientOp::Unsubscribe {
                sid,
                max: Some(max),
            },
            _ => return Err(Malformed::Arguments { len: line.len }),
        };
        Ok(self.done(op, line))
    }

    /// `CONNECT` and `INFO`: a blank between verb and argument is optional.
    fn json<'b>(
        &mut self,
        buf: &'b [u8],
        verb: &[u8],
        op: impl Fn(&'b [u8]) -> ClientOp<'b>,
    ) -> Outcome<'b> {
        if !spells(buf, verb)? {
            return more(buf);
        }
        Ok(match self.line(buf, verb.len())? {
            Some(line) => self.done(op(line.arg), line),
            None => return more(buf),
        })
    }

    fn error<'b>(&mut self, buf: &'b [u8]) -> Outcome<'b> {
        if !verb_and_blank(buf, b"-ERR")? {
            return more(buf);
        }
        Ok(match self.line(buf, 4)? {
            Some(line) => self.done(ClientOp::Err { text: line.arg }, line),
            None => return more(buf),
        })
    }

    /// Verbs without arguments; whatever stands before the line feed is ignored.
    fn without_arguments<'b>(
        &mut self,
        buf: &'b [u8],
        verb: &[u8],
        op: ClientOp<'b>,
    ) -> Outcome<'b> {
        if !spells(buf, verb)? {
            return more(buf);
        }
        self.arg_len = 0;
        let len =
            self.progress
                .line_without_arguments(buf, verb.len(), self.limits.max_control_line)?;
        len.map_or_else(|| more(buf), |len| Ok(Parsed::Op { op, len }))
    }

    fn line<'b>(&mut self, buf: &'b [u8], verb: usize) -> Result<Option<Line<'b>>, Malformed> {
        self.progress.line(buf, verb, self.limits.max_control_line)
    }

    const fn done<'b>(&mut self, op: ClientOp<'b>, line: Line<'b>) -> Parsed<ClientOp<'b>> {
        self.arg_len = line.arg.len();
        Parsed::Op { op, len: line.len }
    }

    const fn whole<'b>(
        &mut self,
        op: ClientOp<'b>,
        line: Line<'b>,
        total: usize,
    ) -> Parsed<ClientOp<'b>> {
        self.arg_len = line.arg.len();
        let len = line.len.saturating_add(total).saturating_add(2);
        Parsed::Op { op, len }
    }
}

const fn more<'b>(buf: &[u8]) -> Outcome<'b> {
    Ok(Parsed::Incomplete {
        need: buf.len().saturating_add(1),
    })
}

/// Whether `buf` starts with `verb` in any letter case; `false` while too short to tell.
fn spells(buf: &[u8], verb: &[u8]) -> Result<bool, Malformed> {
    let mismatch = buf
        .iter()
        .zip(verb)
        .position(|(b, v)| b.to_ascii_uppercase() != *v);
    match mismatch {
        Some(at) => Err(Malformed::UnknownOperation {
            len: at.saturating_add(1),
        }),
        None => Ok(buf.len() >= verb.len()),
    }
}

/// Whether `buf` starts with `verb` in any letter case and a blank; `false` while too short to tell.
fn verb_and_blank(buf: &[u8], verb: &[u8]) -> Result<bool, Malformed> {
    if !spells(buf, verb)? {
        return Ok(false);
    }
    match buf.get(verb.len()) {
        None => Ok(false),
        Some(&byte) if is_blank(byte) => Ok(true),
        Some(_) => Err(Malformed::UnknownOperation {
            len: verb.len().saturating_add(1),
        }),
    }
}

/// Whether CRLF stands at `end`; `None` while too short to tell. A wrong first byte tells at once.
pub(super) fn trailer(buf: &[u8], end: usize) -> Option<bool> {
    match (buf.get(end)?, buf.get(end.saturating_add(1))) {
        (b'\r', None) => None,
        (b'\r', Some(b'\n')) => Some(true),
        _ => Some(false),
    }
}

/// The server splits SUB and UNSUB at line ends, too; one can stand at the very start.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

type Names<'b> = (&'b [u8], Option<&'b [u8]>);

/// `subject [reply] size` in any spelling.
#[cold]
fn publish_args(arg: &[u8]) -> Option<(Names<'_>, Size<'_>)> {
    match split(arg, is_blank) {
        ([subject, total, ..], 2) => Some(((subject, None), size(total)?)),
        ([subject, reply, total, _], 3) => Some(((subject, Some(reply)), size(total)?)),
        _ => None,
    }
}

/// `subject [reply] header-size total-size` in any spelling.
#[cold]
fn header_publish_args(arg: &[u8]) -> Option<(Names<'_>, Size<'_>, Size<'_>)> {
    match split(arg, is_blank) {
        ([subject, header, total, _], 3) => Some(((subject, None), size(header)?, size(total)?)),
        ([subject, reply, header, total], 4) => {
            Some(((subject, Some(reply)), size(header)?, size(total)?))
        }
        _ => None,
    }
}
