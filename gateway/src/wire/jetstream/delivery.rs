//! Deliveries of consumers: reply subjects for acknowledgements, acknowledgements, `Nats-Msg-Size`, and the statuses of pulls.

use super::super::header::{self, HeaderNumber};
use super::super::json;
use super::Pending;

/// The stored message that a delivery carries, read from its reply subject, which identifies it.
///
/// ```text
/// $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>
/// $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>[.…]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The domain (`_`: none) and the account's hash; `None` in the short form.
    pub origin: Option<(&'a [u8], &'a [u8])>,
    /// The stream.
    pub stream: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
    /// How often the message has been delivered, from 1.
    pub delivered: u64,
    /// The message's sequence in the stream.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970; a stream that was deleted and created again repeats sequences, not times.
    pub time: u64,
}

/// Whether the server takes this body for an acknowledgement of a delivery; it ignores any other.
#[must_use]
pub fn is_consumer_ack(body: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"", b"+ACK", b"+OK", b"+WPI"];
    const STARTS: [&[u8]; 3] = [b"-NAK", b"+NXT", b"+TERM"];
    WORDS.contains(&body) || STARTS.iter().any(|start| body.starts_with(start))
}

impl<'a> Delivery<'a> {
    /// Parses a reply subject; `None` unless it is a `$JS.ACK` subject.
    #[must_use]
    pub fn of(reply: &'a [u8]) -> Option<Self> {
        let mut tokens = reply.strip_prefix(b"$JS.ACK.")?.split(|&b| b == b'.');
        let origin = match tokens.clone().count() {
            7 => None,
            9.. => Some((tokens.next()?, tokens.next()?)),
            _ => return None,
        };
        let (stream, consumer) = (tokens.next()?, tokens.next()?);
        let delivered = number(tokens.next()?)?;
        let sequence = number(tokens.next()?)?;
        let _consumer_sequence = number(tokens.next()?)?;
        let time = number(tokens.next()?)?;
        (!stream.is_empty() && !consumer.is_empty()).then_some(Self {
            origin,
            stream,
            consumer,
            delivered,
            sequence,
            time,
        })
    }
}

/// The value of `Nats-Msg-Size` less `overhead`; `None` unless it is a number above that.
#[must_use]
pub fn narrow_msg_size(value: &[u8], overhead: usize) -> Option<u64> {
    let narrowed = number(value)?.checked_sub(u64::try_from(overhead).ok()?);
    narrowed.filter(|size| *size > 0)
}

/// The pull request behind `+NXT`, in an acknowledgement that asks for more messages.
#[must_use]
pub fn next_pull(body: &[u8]) -> Option<&[u8]> {
    body.strip_prefix(b"+NXT")
}

/// What remains of a pull according to its status, and the number of bytes in that header block.
#[must_use]
pub fn pending(headers: &[u8]) -> Option<(Pending, HeaderNumber<'_>)> {
    header::status(headers)?;
    let bytes = header::number(headers, b"Nats-Pending-Bytes")?;
    let messages = header::number(headers, b"Nats-Pending-Messages")?;
    let pending = Pending {
        messages: messages.value()?,
        bytes: bytes.value()?,
    };
    Some((pending, bytes))
}

/// Digits alone, no sign.
fn number(text: &[u8]) -> Option<u64> {
    let is_plain = text.iter().all(u8::is_ascii_digit);
    json::number(text).filter(|_| is_plain)
}
