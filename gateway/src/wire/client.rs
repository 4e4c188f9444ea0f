//! The publish direction: what a client may send, exactly as permissive as nats-server's `parser.go`.

use super::line::{
    Line, Progress, Size, Stop, await_body, body, is_blank, one_or_two, pop_size, size, split,
};
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

/// A whole operation.
type Step<'b> = Result<Parsed<ClientOp<'b>>, Stop>;

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
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Result<Parsed<ClientOp<'b>>, Malformed> {
        if buf.len() < self.body_end {
            return await_body(buf, self.body_end);
        }
        let step = match buf.first_chunk::<4>() {
            Some(b"PUB ") => self.publish(buf, 3),
            Some(b"HPUB") => self.header_publish(buf),
            _ => self.other(buf),
        };
        match step {
            Ok(op) => {
                self.progress = Progress::default();
                self.body_end = 0;
                Ok(op)
            }
            Err(stop) => stop.outcome(buf, &mut self.body_end),
        }
    }

    /// Every spelling that [`Self::next`] does not recognise at once.
    fn other<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        let second = buf.get(1).map(u8::to_ascii_uppercase);
        match (buf.first().map(u8::to_ascii_uppercase), second) {
            (None, _) | (Some(b'P'), None) => Err(Stop::Line),
            (Some(b'P'), Some(b'I')) => self.without_arguments(buf, b"PING", ClientOp::Ping),
            (Some(b'P'), Some(b'O')) => self.without_arguments(buf, b"PONG", ClientOp::Pong),
            (Some(b'P'), Some(_)) => {
                verb_and_blank(buf, b"PUB")?;
                self.publish(buf, 3)
            }
            (Some(b'H'), Some(b'M')) => Err(Malformed::ServerVerb.into()),
            (Some(b'H'), _) => self.header_publish(buf),
            (Some(b'S'), _) => self.subscribe(buf),
            (Some(b'U'), _) => self.unsubscribe(buf),
            (Some(b'C'), _) => self.json(buf, b"CONNECT", |json| ClientOp::Connect { json }),
            (Some(b'I'), _) => self.json(buf, b"INFO", |json| ClientOp::Info { json }),
            (Some(b'+'), _) => self.without_arguments(buf, b"+OK", ClientOp::Ok),
            (Some(b'-'), _) => {
                let line = self.line_behind(buf, b"-ERR")?;
                Ok(self.whole(ClientOp::Err { text: line.arg }, line, 0))
            }
            _ => Err(Malformed::UnknownOperation { len: 1 }.into()),
        }
    }

    fn publish<'b>(&mut self, buf: &'b [u8], verb: usize) -> Step<'b> {
        let line = self.line(buf, verb)?;
        let canonical =
            pop_size(line.arg).and_then(|(names, total)| Some((one_or_two(names)?, None, total)));
        let args = canonical.or_else(|| any_spelling(line.arg, Sizes::Total));
        self.with_body(buf, line, args)
    }

    fn header_publish<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        let line = self.line_behind(buf, b"HPUB")?;
        let canonical = pop_size(line.arg).and_then(|(rest, total)| {
            let (names, header) = pop_size(rest)?;
            Some((one_or_two(names)?, Some(header), total))
        });
        let args = canonical.or_else(|| any_spelling(line.arg, Sizes::HeadersAndTotal));
        self.with_body(buf, line, args.filter(|_| self.headers))
    }

    #[inline]
    fn with_body<'b>(
        &mut self,
        buf: &'b [u8],
        line: Line<'b>,
        args: Option<PublishArgs<'b>>,
    ) -> Step<'b> {
        let wrong = Malformed::Arguments { len: line.len };
        let ((subject, reply), header, total) = args.ok_or(wrong)?;
        if header.is_some_and(|header| header.value > total.value) {
            return Err(wrong.into());
        }
        if self.max_payload.is_some_and(|max| total.value > max) {
            return Err(Malformed::PayloadTooLarge { len: line.len }.into());
        }
        let body = body(buf, line.len, total.value)?;
        let (headers, payload) = match header {
            Some(header) => {
                let (headers, payload) = body.split_at_checked(header.value).ok_or(wrong)?;
                (Some(headers), payload)
            }
            None => (None, body),
        };
        let op = ClientOp::Publish(Publish {
            subject,
            reply,
            header_size: header.map(|header| header.digits),
            size: total.digits,
            headers,
            payload,
        });
        Ok(self.whole(op, line, total.value.saturating_add(2)))
    }

    fn subscribe<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        let line = self.line_behind(buf, b"SUB")?;
        let (subject, queue, sid) = match split(line.arg, is_separator) {
            ([subject, sid, ..], 2) => (subject, None, sid),
            ([subject, queue, sid, _], 3) => (subject, Some(queue), sid),
            _ => return Err(Malformed::Arguments { len: line.len }.into()),
        };
        let op = ClientOp::Subscribe {
            subject,
            queue,
            sid,
        };
        Ok(self.whole(op, line, 0))
    }

    fn unsubscribe<'b>(&mut self, buf: &'b [u8]) -> Step<'b> {
        let line = self.line_behind(buf, b"UNSUB")?;
        let (sid, max) = match split(line.arg, is_separator) {
            ([sid, ..], 1) => (sid, None),
            ([sid, max, ..], 2) => (sid, Some(max)),
            _ => return Err(Malformed::Arguments { len: line.len }.into()),
        };
        Ok(self.whole(ClientOp::Unsubscribe { sid, max }, line, 0))
    }

    /// `CONNECT` and `INFO`: a blank between verb and argument is optional.
    fn json<'b>(
        &mut self,
        buf: &'b [u8],
        verb: &[u8],
        op: impl Fn(&'b [u8]) -> ClientOp<'b>,
    ) -> Step<'b> {
        spells(buf, verb)?;
        let line = self.line(buf, verb.len())?;
        Ok(self.whole(op(line.arg), line, 0))
    }

    /// Verbs without arguments; whatever stands before the line feed is ignored.
    fn without_arguments<'b>(&mut self, buf: &'b [u8], verb: &[u8], op: ClientOp<'b>) -> Step<'b> {
        spells(buf, verb)?;
        self.arg_len = 0;
        let limit = self.limits.max_control_line;
        let len = self
            .progress
            .line_without_arguments(buf, verb.len(), limit)?;
        Ok(Parsed::Op { op, len })
    }

    fn line_behind<'b>(&mut self, buf: &'b [u8], verb: &[u8]) -> Result<Line<'b>, Stop> {
        verb_and_blank(buf, verb)?;
        self.line(buf, verb.len())
    }

    fn line<'b>(&mut self, buf: &'b [u8], verb: usize) -> Result<Line<'b>, Stop> {
        self.progress.line(buf, verb, self.limits.max_control_line)
    }

    /// The operation of a line that `body` bytes follow, CRLF included.
    const fn whole<'b>(
        &mut self,
        op: ClientOp<'b>,
        line: Line<'b>,
        body: usize,
    ) -> Parsed<ClientOp<'b>> {
        self.arg_len = line.arg.len();
        let len = line.len.saturating_add(body);
        Parsed::Op { op, len }
    }
}

/// `buf` starts with `verb` in any letter case.
fn spells(buf: &[u8], verb: &[u8]) -> Result<(), Stop> {
    let mut bytes = buf.iter().zip(verb);
    match bytes.position(|(b, v)| b.to_ascii_uppercase() != *v) {
        Some(at) => Err(Stop::wrong_byte(at)),
        None if buf.len() < verb.len() => Err(Stop::Line),
        None => Ok(()),
    }
}

/// `buf` starts with `verb` in any letter case and a blank.
fn verb_and_blank(buf: &[u8], verb: &[u8]) -> Result<(), Stop> {
    spells(buf, verb)?;
    match buf.get(verb.len()) {
        None => Err(Stop::Line),
        Some(&byte) if is_blank(byte) => Ok(()),
        Some(_) => Err(Stop::wrong_byte(verb.len())),
    }
}

/// The server splits SUB and UNSUB at line ends, too; one can stand at the very start.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Subject and reply subject, size of the headers, size of headers and payload together.
type PublishArgs<'b> = ((&'b [u8], Option<&'b [u8]>), Option<Size<'b>>, Size<'b>);

/// Which sizes a verb has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Total,
    HeadersAndTotal,
}

/// `subject [reply] [header-size] total-size` in any spelling.
#[cold]
fn any_spelling(arg: &[u8], sizes: Sizes) -> Option<PublishArgs<'_>> {
    let (subject, reply, header, total) = match (sizes, split(arg, is_blank)) {
        (Sizes::Total, ([subject, total, ..], 2)) => (subject, None, None, total),
        (Sizes::Total, ([subject, reply, total, _], 3)) => (subject, Some(reply), None, total),
        (Sizes::HeadersAndTotal, ([subject, header, total, _], 3)) => {
            (subject, None, Some(header), total)
        }
        (Sizes::HeadersAndTotal, ([subject, reply, header, total], 4)) => {
            (subject, Some(reply), Some(header), total)
        }
        _ => return None,
    };
    let header = match header {
        Some(header) => Some(size(header)?),
        None => None,
    };
    Some(((subject, reply), header, size(total)?))
}
