//! What headers mean to the server, as far as sealing depends on it.
//!
//! Anybody who can publish can write a header: what is decided by one may only ever let an empty payload pass, or the server's own words.

use memchr::memmem;

use crate::wire::header;

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

/// The length of a stored message that was delivered without it.
pub(super) fn stored_size(headers: &[u8]) -> Option<&[u8]> {
    has(headers, SIZE)
}

/// The header of [`stored_size`].
pub(super) const SIZE: &[u8] = b"Nats-Msg-Size";

/// One look for the common prefix spares most messages the walk through their headers.
fn has<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    memmem::find(headers, name)?;
    header::get(headers, name)
}
