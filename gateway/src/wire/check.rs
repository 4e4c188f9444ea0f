//! Properties that hold for any bytes: each function asserts one for `data`, for property tests and fuzzers.
//!
//! The first bytes of `data` choose limits and split points, the rest is the stream.

use super::reference::{self, Op, Outcome, Rules};
use super::write::{self, PublishLine};
use super::{Buffer, ClientOp, ClientParser, Limits, Malformed, Parsed, ServerOp, ServerParser};

pub use super::check_edits::{header_edit_holds, info_connect_edit_holds};
pub use super::check_jetstream::jetstream_holds;

/// The publish direction: the parser and the reference parser yield the same operations in the same order and fail for the same
/// reason, however the stream is split; [`Malformed::forward`] fails likewise and carries no operation; and a written operation
/// parses as the same operation with the same length.
///
/// # Panics
/// When it does not hold.
pub fn client_parser_agrees(data: &[u8]) {
    let (choice, stream) = data.split_at_checked(2).unwrap_or((data, &[]));
    let first = choice.first().copied().unwrap_or(0);
    let rules = Rules {
        limits: Limits {
            max_control_line: if first & 1 == 0 { 24 } else { 4096 },
            ..Limits::default()
        },
        headers: first & 2 == 0,
        max_payload: (first & 4 == 0).then_some(16),
    };
    let expected = reference::client(stream, &rules);
    for cuts in Cuts::all(choice.get(1).copied().unwrap_or(0)) {
        let seen = drive(stream, cuts, &mut Client::new(rules));
        assert_eq!(seen, expected, "{cuts:?}, {rules:?}, {stream:?}");
    }
}

/// The deliver direction: the parser and the reference parser agree, however the stream is split, and operations are written in
/// the server's own spelling.
///
/// # Panics
/// When it does not hold.
pub fn server_parser_agrees(data: &[u8]) {
    let (choice, stream) = data.split_at_checked(2).unwrap_or((data, &[]));
    let first = choice.first().copied().unwrap_or(0);
    let limits = Limits {
        max_server_line: if first & 1 == 0 { 32 } else { 4096 },
        max_message: if first & 2 == 0 { 16 } else { 1 << 20 },
        ..Limits::default()
    };
    let expected = reference::server(stream, &limits);
    for cuts in Cuts::all(choice.get(1).copied().unwrap_or(0)) {
        let seen = drive(stream, cuts, &mut Server(ServerParser::new(limits)));
        assert_eq!(seen, expected, "{cuts:?}, {limits:?}, {stream:?}");
    }
}

/// How a stream is split.
#[derive(Clone, Copy, Debug)]
enum Cuts {
    /// All at once.
    None,
    /// Byte by byte, the parser asked after each.
    Every,
    /// Byte by byte, the parser called only when it has what it needs, and at the end.
    AsNeeded,
    /// In pieces of varying length.
    Seed(u8),
}

impl Cuts {
    const fn all(seed: u8) -> [Self; 4] {
        [Self::None, Self::Every, Self::AsNeeded, Self::Seed(seed)]
    }

    /// How many of `len` bytes have arrived after the next piece.
    fn next(self, arrived: usize, len: usize) -> usize {
        let piece = match self {
            Self::None => len,
            Self::Every | Self::AsNeeded => 1,
            Self::Seed(seed) => {
                let mixed = arrived
                    .wrapping_mul(31)
                    .wrapping_add(usize::from(seed))
                    .wrapping_mul(2_654_435_761);
                (mixed >> 7) % 13
            }
        };
        arrived.saturating_add(piece.max(1)).min(len)
    }
}

/// One direction's parser, with checks for each operation.
trait Direction {
    /// The operation, its length and the length of its argument part; `Err(Ok)`: incomplete, `Err(Err)`: malformed.
    fn step(&mut self, buf: &[u8]) -> Result<(Op, usize, usize), Result<usize, &'static str>>;
}

fn drive(stream: &[u8], cuts: Cuts, parser: &mut impl Direction) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut start, mut arrived, mut needed) = (0_usize, 0_usize, 0_usize);
    loop {
        let lazy = matches!(cuts, Cuts::AsNeeded) && arrived < stream.len();
        let skip = lazy && arrived.saturating_sub(start) < needed;
        let answer = if skip {
            Err(Ok(needed))
        } else {
            parser.step(stream.get(start..arrived).unwrap_or_default())
        };
        match answer {
            Ok((op, len, arg_len)) => {
                outcome.ops.push((op, arg_len));
                start = start.saturating_add(len);
                assert!(
                    len > 0 && start <= arrived,
                    "an operation took {len} bytes of what was there"
                );
                needed = 0;
            }
            Err(Err(word)) => {
                outcome.killed = Some(word);
                return outcome;
            }
            Err(Ok(_)) if arrived >= stream.len() => return outcome,
            Err(Ok(need)) => {
                assert!(
                    need > arrived.saturating_sub(start),
                    "asked for {need} of {arrived}"
                );
                needed = need;
                arrived = cuts.next(arrived, stream.len());
            }
        }
    }
}

struct Client {
    rules: Rules,
    parser: ClientParser,
}

impl Client {
    fn new(rules: Rules) -> Self {
        let mut parser = ClientParser::new(rules.limits);
        parser.set_headers(rules.headers);
        parser.set_max_payload(rules.max_payload);
        Self { rules, parser }
    }

    fn killed(&self, malformed: &Malformed, buf: &[u8]) -> &'static str {
        let forwarded = reference::client(&malformed.forward(buf), &self.rules);
        assert!(
            forwarded.ops.is_empty(),
            "{malformed:?} forwards an operation"
        );
        let word = forwarded.killed.unwrap_or_default();
        let expected = match malformed {
            Malformed::UnknownOperation { .. }
            | Malformed::ControlLineTooLong { .. }
            | Malformed::Arguments { .. }
            | Malformed::PayloadTooLarge { .. } => <&str>::from(malformed),
            Malformed::ServerVerb
            | Malformed::CarriageReturn
            | Malformed::EndlessFilling
            | Malformed::Trailer => "unknown-operation",
        };
        assert_eq!(
            word, expected,
            "what {malformed:?} forwards is judged otherwise"
        );
        <&str>::from(malformed)
    }
}

impl Direction for Client {
    fn step(&mut self, buf: &[u8]) -> Result<(Op, usize, usize), Result<usize, &'static str>> {
        match self.parser.next(buf) {
            Ok(Parsed::Incomplete { need }) => Err(Ok(need)),
            Err(malformed) => Err(Err(self.killed(&malformed, buf))),
            Ok(Parsed::Op { op, len }) => {
                let arg_len = self.parser.arg_len();
                let rewritten = reference::client(rewritten(&op, arg_len).filled(), &self.rules);
                let expected = vec![(Op::from(op), arg_len)];
                assert_eq!(rewritten.ops, expected, "the writer changed an operation");
                Ok((op.into(), len, arg_len))
            }
        }
    }
}

/// The operation in its canonical spelling.
fn rewritten(op: &ClientOp<'_>, arg_len: usize) -> Buffer {
    let mut out = Buffer::new();
    match *op {
        ClientOp::Connect { json } => write::connect(&mut out, json, arg_len),
        ClientOp::Publish(publish) => {
            let headers = publish.headers.unwrap_or_default();
            let line = PublishLine {
                subject: publish.subject,
                reply: publish.reply,
                header_size: publish.header_size,
                size: publish.size,
                arg_len,
            };
            write::publish(&mut out, &line);
            out.put(&[headers, publish.payload, b"\r\n"].concat());
        }
        ClientOp::Subscribe {
            subject,
            queue,
            sid,
        } => write::subscribe(&mut out, subject, queue, sid, arg_len),
        ClientOp::Unsubscribe { sid, max } => write::unsubscribe(&mut out, sid, max, arg_len),
        ClientOp::Ping => write::ping(&mut out),
        ClientOp::Pong => write::pong(&mut out),
        ClientOp::Info { json } => write::info(&mut out, json),
        ClientOp::Ok => write::ok(&mut out),
        ClientOp::Err { text } => write::err(&mut out, text),
    }
    out
}

struct Server(ServerParser);

impl Direction for Server {
    fn step(&mut self, buf: &[u8]) -> Result<(Op, usize, usize), Result<usize, &'static str>> {
        match self.0.next(buf) {
            Ok(Parsed::Incomplete { need }) => Err(Ok(need)),
            Err(malformed) => Err(Err(<&str>::from(malformed))),
            Ok(Parsed::Op { op, len }) => {
                let text = buf.get(..len).unwrap_or_default();
                assert_eq!(
                    delivered(&op).filled(),
                    text,
                    "the writer changed what the server wrote"
                );
                Ok((op.into(), len, 0))
            }
        }
    }
}

fn delivered(op: &ServerOp<'_>) -> Buffer {
    let mut out = Buffer::new();
    match *op {
        ServerOp::Info { json } => write::info(&mut out, json),
        ServerOp::Message(message) => {
            let headers = message.headers.unwrap_or_default();
            let total = headers.len().saturating_add(message.payload.len());
            write::message(&mut out, message.line, total);
            out.put(&[headers, message.payload, b"\r\n"].concat());
        }
        ServerOp::Ping => write::ping(&mut out),
        ServerOp::Pong => write::pong(&mut out),
        ServerOp::Ok => write::ok(&mut out),
        ServerOp::Err { text } => write::err(&mut out, text),
    }
    out
}
