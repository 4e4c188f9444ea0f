//! Protocol errors, and what to forward so that the server itself answers and closes the connection.

use std::borrow::Cow;

use strum::IntoStaticStr;

/// A protocol error; the parser that reported it must not be used again.
///
/// The server ends a client's connection, in order and with its own error: send [`Self::forward`] and nothing after it. Malformed
/// bytes of a server end the session on both sides.
///
/// "Seen" below is what nats-server 2.15.1 answered to the forwarded bytes, after answering an earlier PING. Before
/// authentication it is `Authorization Violation` wherever the first byte is not a `C`, for the client's own bytes and for the
/// forwarded ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Malformed {
    /// A byte that no operation has in this place; detected at that byte, not at the line's end. Forwarded: everything up to that
    /// byte. Seen: `-ERR 'Unknown Protocol Operation'`, closed.
    #[error(
        "no operation begins like this; would be right: a verb of the NATS protocol and a blank"
    )]
    UnknownOperation {
        /// The bytes up to and including the wrong one.
        len: usize,
    },
    /// `HMSG` from a client, which the server reads without parsing its arguments, so that what follows is undefined.
    /// Forwarded: a wrong byte. Seen: `-ERR 'Unknown Protocol Operation'`, closed.
    #[error("HMSG is for servers to send; would be right: HPUB")]
    ServerVerb,
    /// A carriage return inside an argument; the server's reading depends on how the line was split over reads: 2.15.1
    /// was seen to accept `SUB a 1\r\r\n` in one piece. Forwarded: a wrong byte, behind a `C` where the client's line was a
    /// CONNECT. Seen: `-ERR 'Unknown Protocol Operation'`, closed, also before authentication for `CX`.
    #[error("a carriage return inside an argument; would be right: only before the line feed")]
    CarriageReturn,
    /// An argument part longer than [`super::Limits`] allows. Forwarded: what is there of the line, never its line feed. Seen:
    /// `-ERR 'maximum control line exceeded'`, closed (with a reset, as for a client without a gateway: the rest stays unread).
    #[error(
        "an argument part beyond the control line limit; raise max-control-line if the server allows more"
    )]
    ControlLineTooLong {
        /// The bytes of the line that were seen, without its line feed.
        len: usize,
    },
    /// More blanks before an argument, or more bytes after `PING`, `PONG` or `+OK`, than [`super::Limits`] allows for an
    /// argument. The server skips any number (seen with 100,000 of each); the gateway does not buffer them. Forwarded and seen:
    /// as for [`Self::CarriageReturn`].
    #[error("a control line of nothing but filling; would be right: a line feed at its end")]
    EndlessFilling,
    /// A wrong number of arguments, an invalid size, headers longer than the message, headers that were not negotiated.
    /// Forwarded: the line. Seen: closed without an error.
    #[error(
        "wrong arguments; would be right: the count and sizes that the verb asks for, headers only when negotiated"
    )]
    Arguments {
        /// The whole line, line feed included.
        len: usize,
    },
    /// Headers and payload together exceed the server's `max_payload`. Forwarded: the line; the server checks its size before it
    /// reads a body. Seen: `-ERR 'Maximum Payload Violation'`, closed.
    #[error("a message larger than the server's max_payload")]
    PayloadTooLarge {
        /// The whole line, line feed included.
        len: usize,
    },
    /// The body is not followed by CRLF: its size is wrong. Forwarded: a wrong byte, as the body must not be. Seen: `-ERR
    /// 'Unknown Protocol Operation'`, closed, for either.
    #[error("the body is not followed by CRLF; would be right: a body of the announced size")]
    Trailer,
}

/// A byte that no operation starts with.
const WRONG_BYTE: &[u8] = b"X";
/// The same for a server that still waits for CONNECT, which answers any other first byte with `Authorization Violation`.
const WRONG_AFTER_CONNECT: &[u8] = b"CX";

impl Malformed {
    /// What to send to the server, as the last bytes of this client, so that it closes the connection with the error that it has
    /// for the client's own bytes. `buf` is the buffer that the parser refused.
    ///
    /// Never contains a payload, nor anything from behind the offending line.
    #[must_use]
    pub fn forward<'b>(&self, buf: &'b [u8]) -> Cow<'b, [u8]> {
        match *self {
            Self::UnknownOperation { len }
            | Self::ControlLineTooLong { len }
            | Self::Arguments { len }
            | Self::PayloadTooLarge { len } => Cow::Borrowed(buf.get(..len).unwrap_or(buf)),
            Self::CarriageReturn | Self::EndlessFilling
                if buf.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'c')) =>
            {
                Cow::Borrowed(WRONG_AFTER_CONNECT)
            }
            Self::ServerVerb | Self::CarriageReturn | Self::EndlessFilling | Self::Trailer => {
                Cow::Borrowed(WRONG_BYTE)
            }
        }
    }
}
