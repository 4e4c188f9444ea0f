//! What headers and the configuration of streams mean to the server, as far as sealing depends on it.
//!
//! Anybody who can publish can write a header: what is decided by one may only ever let an empty payload pass, or the server's own words.

use memchr::memmem;

use crate::policy::Policy;
use crate::wire::Message;
use crate::wire::header::{self, Number, Sender};
use crate::wire::jetstream::{self, Delivery, Holds, Pending};

/// How the headers begin that the server reads or writes.
const SERVERS: &[u8] = b"Nats-";

/// Whether NATS gives an empty message with these headers a meaning: a status, a key that was deleted, a stream that is rolled up, the
/// end of a batch.
pub(super) fn has_meaning(headers: &[u8]) -> bool {
    header::has_status(headers)
        || memmem::find(headers, SERVERS).is_some()
        || header::get(headers, b"KV-Operation").is_some()
}

/// Whether the message adds to a counter (ADR-49).
pub(super) fn is_increment(headers: &[u8]) -> bool {
    has(headers, b"Nats-Incr").is_some()
}

/// Where the server is to write what became of this message (ADR-41).
pub(super) fn trace_destination(headers: &[u8]) -> Option<&[u8]> {
    has(headers, b"Nats-Trace-Dest")
}

/// What the server is to publish by itself (ADR-51).
pub(super) struct Schedule<'a> {
    /// The last message of this subject; if there is none, the schedule's own.
    pub(super) source: Option<&'a [u8]>,
    /// Where.
    pub(super) target: &'a [u8],
}

/// What a message has the server publish, if it is a schedule.
pub(super) fn schedule(headers: &[u8]) -> Option<Schedule<'_>> {
    has(headers, b"Nats-Schedule").filter(|when| !when.is_empty())?;
    Some(Schedule {
        source: header::get(headers, b"Nats-Schedule-Source").filter(|source| !source.is_empty()),
        target: header::get(headers, b"Nats-Schedule-Target")?,
    })
}

/// The length of a stored message that was delivered without it, as the server wrote it.
pub(super) fn stored_size<'a>(message: &Message<'a>) -> Option<Number<'a>> {
    let headers = message.headers?;
    memmem::find(headers, b"Nats-Msg-Size")?;
    let from = match message.reply.and_then(Delivery::of) {
        Some(_) => Sender::Consumer,
        None => Sender::Other,
    };
    header::written_for_headers_only(headers, from)
}

/// What is left of a pull, as its status says.
pub(super) fn pending<'a>(message: &Message<'a>) -> Option<(Pending, Number<'a>)> {
    let headers = message.headers?;
    memmem::find(headers, b"Nats-Pending-Bytes")?;
    jetstream::pending(headers)
}

/// Whether the `max_msg_size` of a stream that holds this must leave room for envelopes: all that is published there is sealed, or
/// something of what it copies may be.
pub(super) fn holds_sealed(policy: &Policy, what: Holds<'_>) -> bool {
    match what {
        Holds::Published(subject) => policy.seals_every(subject),
        Holds::Copied(filter) => policy.reaches(filter, |_| true).is_some(),
    }
}

/// One look for the common prefix spares most messages the walk through their headers.
fn has<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memmem::find(headers, name)?;
    header::get(headers, name)
}
