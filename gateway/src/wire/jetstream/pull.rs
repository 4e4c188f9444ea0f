//! `max_bytes` of requests for stored messages.

use super::super::Buffer;
use super::super::json::{Elements, Members, NotAnObject, means};
use super::{integer, replace};

/// What the server counts at least for a message: a subject of one byte and the shortest reply that acknowledges. More
/// messages than `max_bytes` has room for are never sent, whatever the batch: clients that mean "any number" ask for a million.
const SHORTEST: i64 = 40;

/// How many messages a `multi_last` without `batch` yields at most.
const MULTI_LAST: i64 = 1024;

/// Appends `body` with its `max_bytes` raised by `overhead` bytes for each message that it may bring, so that the server, which
/// counts sealed bytes, sends as many messages as the client meant: those of its batch, as far as `max_bytes` has room for them.
///
/// The body is one of [`super::Request::Next`] or [`super::Request::DirectGet`]. `false`: nothing to change, and `out` is as it
/// was. That is so for a body that is no JSON object (empty, or a bare batch size) and for a `max_bytes` that is absent or not
/// positive.
pub fn widen_max_bytes(body: &[u8], overhead: usize, out: &mut Buffer) -> bool {
    let Ok(Some(asked)) = Asked::read(body) else {
        return false;
    };
    let room = (asked.max_bytes / SHORTEST).saturating_add(1);
    let overhead = i64::try_from(overhead).unwrap_or(i64::MAX);
    let wider = asked
        .max_bytes
        .saturating_add(overhead.saturating_mul(asked.batch.min(room)));
    if wider == asked.max_bytes {
        return false;
    }
    replace(body, asked.at, asked.len, wider, out);
    true
}

/// A body with a positive `max_bytes`.
struct Asked {
    max_bytes: i64,
    /// At least 1.
    batch: i64,
    /// The span of `max_bytes`' value.
    at: usize,
    len: usize,
}

impl Asked {
    fn read(body: &[u8]) -> Result<Option<Self>, NotAnObject> {
        let (mut span, mut batch, mut several) = (None, 0, false);
        for member in Members::new(body) {
            let member = member?;
            let number = integer(member.value);
            if means(member.key, b"max_bytes") {
                span = number
                    .map(|max| (max, member.at, member.value.len()))
                    .or(span);
            } else if means(member.key, b"batch") {
                batch = number.unwrap_or(batch);
            } else if means(member.key, b"multi_last") {
                several = matches!(Elements::new(member.value).next(), Some(Ok(_)));
            }
        }
        let fallback = if several { MULTI_LAST } else { 1 };
        let batch = if batch > 0 { batch } else { fallback };
        Ok(span
            .filter(|(max, ..)| *max > 0)
            .map(|(max_bytes, at, len)| Self {
                max_bytes,
                batch,
                at,
                len,
            }))
    }
}
