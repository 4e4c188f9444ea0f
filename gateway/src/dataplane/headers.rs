//! Headers that nats-server interprets, as far as sealing depends on them.
//!
//! Whoever may publish can write any header: a decision by one may only let an empty payload pass, or text of the server's own.

use memchr::memmem;

use crate::policy::Policy;
use crate::wire::Message;
use crate::wire::header::{self, HeaderNumber, Sender};
use crate::wire::jetstream::{self, Delivery, Pending, StoredFrom};

/// The prefix of headers that the server reads or writes.
const SERVERS: &[u8] = b"Nats-";

/// Whether an empty message with these headers means something to NATS: a status, a deleted key, a rollup, the end of a batch.
pub(super) fn has_meaning(headers: &[u8]) -> bool {
    header::has_status(headers)
        || memmem::find(headers, SERVERS).is_some()
        || header::get(headers, b"KV-Operation").is_some()
}

/// Whether the message adds to a counter (ADR-49).
pub(super) fn is_increment(headers: &[u8]) -> bool {
    has(headers, b"Nats-Incr").is_some()
}

/// The subject of the message's trace events (`Nats-Trace-Dest`, ADR-41).
pub(super) fn trace_destination(headers: &[u8]) -> Option<&[u8]> {
    has(headers, b"Nats-Trace-Dest")
}

/// A message schedule: what the server is to publish (ADR-51).
pub(super) struct Schedule<'a> {
    /// `Nats-Schedule-Source`: the subject whose last message is published; without one, the schedule's own message.
    pub(super) source: Option<&'a [u8]>,
    /// `Nats-Schedule-Target`.
    pub(super) target: &'a [u8],
}

/// The schedule in these headers.
pub(super) fn schedule(headers: &[u8]) -> Option<Schedule<'_>> {
    has(headers, b"Nats-Schedule").filter(|when| !when.is_empty())?;
    Some(Schedule {
        source: header::get(headers, b"Nats-Schedule-Source").filter(|source| !source.is_empty()),
        target: header::get(headers, b"Nats-Schedule-Target")?,
    })
}

/// `Nats-Msg-Size`: the size of a stored message that a `headers_only` consumer delivers, as the server wrote it.
pub(super) fn stored_size<'a>(message: &Message<'a>) -> Option<HeaderNumber<'a>> {
    let headers = message.headers?;
    memmem::find(headers, b"Nats-Msg-Size")?;
    let from = match message.reply.and_then(Delivery::of) {
        Some(_) => Sender::Consumer,
        None => Sender::Other,
    };
    header::headers_only_size(headers, from)
}

/// `Nats-Pending-Messages` and `Nats-Pending-Bytes` of a pull request's status.
pub(super) fn pending<'a>(message: &Message<'a>) -> Option<(Pending, HeaderNumber<'a>)> {
    let headers = message.headers?;
    memmem::find(headers, b"Nats-Pending-Bytes")?;
    jetstream::pending(headers)
}

/// Whether the `max_msg_size` of a stream must leave room for envelopes: everything published on this subject is sealed, or
/// something of what it mirrors or sources may be.
pub(super) fn holds_sealed(policy: &Policy, what: StoredFrom<'_>) -> bool {
    match what {
        StoredFrom::Published(subject) => policy.seals_every(subject),
        StoredFrom::Copied(filter) => policy.find_overlapping(filter, |_| true).is_some(),
    }
}

/// A substring search first: most messages have no such header.
fn has<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memmem::find(headers, name)?;
    header::get(headers, name)
}
