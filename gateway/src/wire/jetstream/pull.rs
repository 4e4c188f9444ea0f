//! `max_bytes` and `no_hdr` of requests for stored messages, and what the statuses of pulls say of bytes.
//!
//! What nats-server 2.12 to 2.15 makes of `no_hdr` (ADR-52) in a direct get: a message, alone or of a batch, comes without any
//! headers (`MSG`), neither those that the server appends nor the stored ones. Statuses are the same with and without it: 404, 408,
//! and the `204 EOB` behind a batch, but for its `Nats-Num-Pending`, which without headers counts what was pending at the beginning,
//! not what is left. `multi_last` takes no notice of `no_hdr`: its messages have headers.

use std::num::NonZeroU64;

use super::super::Buffer;
use super::super::json::{Elements, Members, NotAnObject, means};
use super::super::write::Decimal;
use super::integer;

/// What the server counts at least for a message: a subject of one byte and the shortest reply that acknowledges. More
/// messages than `max_bytes` has room for are never sent, whatever the batch: clients that mean "any number" ask for a million.
pub(super) const SHORTEST: u64 = 40;

/// The same in a direct get: a subject and a payload of a byte each; reply subjects do not count.
const SHORTEST_STORED: u64 = 2;

/// For how many of these there is room in a direct get, whatever its `max_bytes`: 1 MiB of overhead, of what a server has for a
/// connection (`max_pending`, 64 MiB).
const SHORT: u64 = 21_845;

/// How many messages a `multi_last` without `batch` yields at most.
const MULTI_LAST: i64 = 1024;

/// Appends `body` with its `max_bytes` raised by `overhead` bytes for each message that it may bring, so that the server, which
/// counts sealed bytes, sends as many messages as the client meant: those of its batch, as far as `max_bytes` has room for them.
///
/// The body is one of [`super::Request::Next`]. `false`: nothing to change, and `out` is as it was. That is so for a body that is no
/// JSON object (empty, or a bare batch size) and for a `max_bytes` that is absent or not positive.
pub fn widen_max_bytes(body: &[u8], overhead: usize, out: &mut Buffer) -> bool {
    let Ok(asked) = Asked::read(body) else {
        return false;
    };
    write(body, asked.wider(overhead, room), None, out)
}

/// A pull that asks for more messages than its `max_bytes` has room for, or does not say for how many: what its statuses say is not
/// enough to tell how much of what it was granted for envelopes is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The messages that it asks for; 0, one of them, where it does not say.
    batch: u64,
    /// The bytes that it asks for.
    max_bytes: NonZeroU64,
}

/// What the status of a pull says is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `Nats-Pending-Messages`.
    pub messages: u64,
    /// `Nats-Pending-Bytes`.
    pub bytes: u64,
}

/// Whether the body of a pull has a `max_bytes`; with the [`Grant`] of one whose statuses do not tell.
#[must_use]
pub fn bounded(body: &[u8]) -> Option<Option<Grant>> {
    let asked = Asked::read(body).ok()?;
    let span = asked.max_bytes.filter(|span| span.max_bytes > 0)?;
    let batch = u64::try_from(asked.batch).unwrap_or_default();
    let max_bytes = NonZeroU64::new(span.max_bytes.unsigned_abs())?;
    let tells = (1..=room(max_bytes.get())).contains(&batch);
    Some((!tells).then_some(Grant { batch, max_bytes }))
}

impl Grant {
    /// For how many of the messages that are left there is room, if each was granted `overhead` bytes. `None`: this is no status of that
    /// pull.
    #[must_use]
    pub fn room_left(self, overhead: u64, left: Pending) -> Option<u64> {
        let room = self.batch.max(1).min(room(self.max_bytes.get()));
        let granted = room
            .checked_mul(overhead)?
            .checked_add(self.max_bytes.get())?;
        let sent = self.batch.checked_sub(left.messages)?;
        let taken = granted.checked_sub(left.bytes)?;
        let least = sent.saturating_mul(SHORTEST);
        let is_of_it = taken >= least && (sent > 0 || taken == 0);
        is_of_it.then_some(room.saturating_sub(sent))
    }
}

/// What [`direct_get`] did, and what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer of its own"
)]
pub struct Edited {
    /// Whether anything was appended; otherwise the body stays as it is.
    pub changed: bool,
    /// Whether the client asked for messages without headers, of a server that would have sent them so.
    pub without_headers: bool,
}

/// Appends `body`, of [`super::Request::DirectGet`], with its `max_bytes` raised as [`widen_max_bytes`] does, and with every `no_hdr`
/// that is `true` set to `false`, so that the answer says which message it is.
pub fn direct_get(body: &[u8], overhead: usize, out: &mut Buffer) -> Edited {
    let Ok(asked) = Asked::read(body) else {
        return Edited {
            changed: false,
            without_headers: false,
        };
    };
    Edited {
        changed: write(
            body,
            asked.wider(overhead, direct_room),
            Some(b"false"),
            out,
        ),
        without_headers: asked.without_headers(),
    }
}

/// A direct get of several messages, which are followed by a `204 EOB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// With the message that brings so many bytes the server ends.
    pub max_bytes: Option<NonZeroU64>,
    /// [`Edited::without_headers`].
    pub without_headers: bool,
}

/// The [`Batch`] for which the body of a direct get asks; `None` where it asks for one message.
#[must_use]
pub fn batch(body: &[u8]) -> Option<Batch> {
    let asked = Asked::read(body).ok()?;
    let max_bytes = asked.max_bytes.filter(|span| span.max_bytes > 0);
    (asked.batch > 0 || asked.several).then_some(Batch {
        max_bytes: max_bytes.and_then(|span| NonZeroU64::new(span.max_bytes.unsigned_abs())),
        without_headers: asked.without_headers(),
    })
}

/// Appends `body` with the two edits; nothing when there is nothing to change. `no_hdr` takes the place of a `true` of that key.
fn write(body: &[u8], wider: Option<(Span, i64)>, no_hdr: Option<&[u8]>, out: &mut Buffer) -> bool {
    let mut copied = 0;
    for member in Members::new(body).flatten() {
        let is_wider = wider.filter(|(span, _)| span.at == member.at);
        let shown = no_hdr.filter(|_| member.value == b"true" && means(member.key, b"no_hdr"));
        let wider = is_wider.map(|(_, max)| Decimal::new(usize::try_from(max).unwrap_or_default()));
        let Some(value) = wider.as_ref().map(Decimal::digits).or(shown) else {
            continue;
        };
        out.put(body.get(copied..member.at).unwrap_or_default());
        out.put(value);
        copied = member.at.saturating_add(member.value.len());
    }
    if copied > 0 {
        out.put(body.get(copied..).unwrap_or_default());
    }
    copied > 0
}

/// Where a `max_bytes` begins in the body, and what it says.
#[derive(Clone, Copy)]
struct Span {
    at: usize,
    max_bytes: i64,
}

/// What counts in a body.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the body")]
struct Asked {
    max_bytes: Option<Span>,
    batch: i64,
    /// Whether `multi_last` names anything.
    several: bool,
    no_hdr: bool,
}

impl Asked {
    fn read(body: &[u8]) -> Result<Self, NotAnObject> {
        let mut asked = Self::default();
        for member in Members::new(body) {
            let member = member?;
            let number = integer(member.value);
            if means(member.key, b"max_bytes") {
                let at = member.at;
                asked.max_bytes = number
                    .map(|max_bytes| Span { at, max_bytes })
                    .or(asked.max_bytes);
            } else if means(member.key, b"batch") {
                asked.batch = number.unwrap_or(asked.batch);
            } else if means(member.key, b"multi_last") {
                asked.several = matches!(Elements::new(member.value).next(), Some(Ok(_)));
            } else if means(member.key, b"no_hdr") && member.value != b"null" {
                asked.no_hdr = member.value == b"true";
            }
        }
        Ok(asked)
    }

    const fn without_headers(&self) -> bool {
        self.no_hdr && !self.several
    }

    /// A positive `max_bytes`, and what becomes of it where there is `room` for so many messages.
    fn wider(&self, overhead: usize, room: fn(u64) -> u64) -> Option<(Span, i64)> {
        let span = self.max_bytes.filter(|span| span.max_bytes > 0)?;
        let overhead = i64::try_from(overhead).unwrap_or(i64::MAX);
        let room = room(span.max_bytes.unsigned_abs());
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let more = overhead.saturating_mul(self.batch().min(room));
        let wider = span.max_bytes.saturating_add(more);
        (wider != span.max_bytes).then_some((span, wider))
    }

    /// How many messages it asks for.
    const fn batch(&self) -> i64 {
        match (self.batch, self.several) {
            (1.., _) => self.batch,
            (_, true) => MULTI_LAST,
            (_, false) => 1,
        }
    }
}

/// How many messages `max_bytes` has room for at most.
pub(super) const fn room(max_bytes: u64) -> u64 {
    (max_bytes / SHORTEST).saturating_add(1)
}

/// The same of a direct get, whose answers the gateway counts itself: too much costs a few messages that go no further.
fn direct_room(max_bytes: u64) -> u64 {
    let short = (max_bytes / SHORTEST_STORED).saturating_add(1);
    room(max_bytes).max(short.min(SHORT))
}
