//! `max_bytes` and `no_hdr` in requests for stored messages, and the bytes in the statuses of pulls.
//!
//! `no_hdr` (ADR-52) in a direct get, as of nats-server 2.12 to 2.15: messages, single or of a batch, have no headers at all
//! (`MSG`), neither stored ones nor those that the server appends. Statuses (404, 408, and the `204 EOB` after a batch) are the
//! same, but for the `Nats-Num-Pending` of `204 EOB`, which then counts what was pending at the start, not what remains. With
//! `multi_last` the server ignores `no_hdr`.

use std::num::NonZeroU64;

use super::super::Buffer;
use super::super::json::{Elements, Members, NotAnObject, key_is};
use super::super::write::Decimal;
use super::change::{Change, Number};
use super::integer;

/// What the server counts at least for a message: a subject of one byte and the shortest reply that acknowledges. More
/// messages than `max_bytes` has room for are never sent, whatever the batch: clients that mean "any number" ask for a million.
pub(super) const MIN_MESSAGE_SIZE: u64 = 40;

/// The same for a direct get: a subject and a payload of one byte each; reply subjects do not count.
const MIN_DIRECT_MESSAGE_SIZE: u64 = 2;

/// How many such messages a direct get is widened for at most: 1 MiB of overhead, of the 64 MiB that a server buffers for a
/// connection (`max_pending`).
const MAX_SMALL_MESSAGES: u64 = 21_845;

/// How many messages a `multi_last` without `batch` yields at most.
const MULTI_LAST: i64 = 1024;

/// Appends `body`, of [`super::Request::Next`], with its `max_bytes` raised by `overhead` bytes for each message that may come,
/// so that the server, which counts sealed bytes, sends as many as the client meant: its batch, or as many as fit `max_bytes`.
///
/// `false`: nothing to change, `out` is unchanged. So for a body that is no JSON object (empty, or just a batch size), and for a
/// `max_bytes` that is absent or not positive.
pub fn widen_max_bytes(body: &[u8], overhead: usize, out: &mut Buffer) -> bool {
    let Ok(asked) = RequestBody::read(body) else {
        return false;
    };
    write(body, asked.wider(overhead, room), None, out)
}

/// A pull with `max_bytes` whose batch is larger than can fit them, or absent: its statuses alone do not tell how much of the
/// overhead that was added for it remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedPull {
    /// Messages requested; 0 if absent, which is one message.
    batch: u64,
    /// Bytes requested.
    max_bytes: NonZeroU64,
}

/// What remains of a pull, according to its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `Nats-Pending-Messages`.
    pub messages: u64,
    /// `Nats-Pending-Bytes`.
    pub bytes: u64,
}

/// `Some` if the body of a pull has a `max_bytes`; with a [`BoundedPull`] if its statuses are not enough to undo the overhead.
#[must_use]
pub fn bounded_pull(body: &[u8]) -> Option<Option<BoundedPull>> {
    let asked = RequestBody::read(body).ok()?;
    let batch = u64::try_from(asked.batch).unwrap_or_default();
    let max_bytes = asked.limit()?;
    let tells = (1..=room(max_bytes.get())).contains(&batch);
    Some((!tells).then_some(BoundedPull { batch, max_bytes }))
}

impl BoundedPull {
    /// For how many of the remaining messages `overhead` bytes each are left; `None` if this is not a status of that pull.
    #[must_use]
    pub fn room_left(self, overhead: u64, left: Pending) -> Option<u64> {
        let room = self.batch.max(1).min(room(self.max_bytes.get()));
        let granted = room
            .checked_mul(overhead)?
            .checked_add(self.max_bytes.get())?;
        let sent = self.batch.checked_sub(left.messages)?;
        let taken = granted.checked_sub(left.bytes)?;
        let least = sent.saturating_mul(MIN_MESSAGE_SIZE);
        let is_of_it = taken >= least && (sent > 0 || taken == 0);
        is_of_it.then_some(room.saturating_sub(sent))
    }
}

/// The result of [`direct_get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer of its own"
)]
pub struct DirectGetEdit {
    /// Whether anything was appended; otherwise the body stays as it is.
    pub changed: bool,
    /// Whether the client's request was for messages without headers.
    pub without_headers: bool,
}

/// Appends `body`, of [`super::Request::DirectGet`], with its `max_bytes` raised as in [`widen_max_bytes`], and with every
/// `no_hdr` set to `false`, so that the response's headers tell which message it is.
pub fn direct_get(body: &[u8], overhead: usize, out: &mut Buffer) -> DirectGetEdit {
    let Ok(asked) = RequestBody::read(body) else {
        return DirectGetEdit {
            changed: false,
            without_headers: false,
        };
    };
    DirectGetEdit {
        changed: write(
            body,
            asked.wider(overhead, direct_room),
            Some(b"false"),
            out,
        ),
        without_headers: asked.without_headers(),
    }
}

/// A direct get of several messages, which end with a `204 EOB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectGetBatch {
    /// The server stops after the message that reaches this many bytes.
    pub max_bytes: Option<NonZeroU64>,
    /// [`DirectGetEdit::without_headers`].
    pub without_headers: bool,
}

/// The [`DirectGetBatch`] for which the body of a direct get asks; `None` where it asks for one message.
#[must_use]
pub fn batch(body: &[u8]) -> Option<DirectGetBatch> {
    let asked = RequestBody::read(body).ok()?;
    (asked.batch > 0 || asked.has_multi_last).then(|| DirectGetBatch {
        max_bytes: asked.limit(),
        without_headers: asked.without_headers(),
    })
}

/// Appends `body` with both edits, or nothing if neither applies. `no_hdr` replaces a `true` of that key.
fn write(body: &[u8], wider: Option<Change>, no_hdr: Option<&[u8]>, out: &mut Buffer) -> bool {
    let digits = wider.map(Change::digits);
    let mut copied = 0;
    for member in Members::new(body).flatten() {
        let is_wider = wider.is_some_and(|wider| wider.number.at == member.at);
        let shown = no_hdr.filter(|_| member.value == b"true" && key_is(member.key, b"no_hdr"));
        let digits = digits.as_ref().filter(|_| is_wider);
        let Some(value) = digits.map(Decimal::digits).or(shown) else {
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

/// The keys of a body that matter here.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the body")]
struct RequestBody {
    max_bytes: Option<Number>,
    batch: i64,
    /// Whether `multi_last` is not empty.
    has_multi_last: bool,
    no_hdr: bool,
}

impl RequestBody {
    fn read(body: &[u8]) -> Result<Self, NotAnObject> {
        let mut asked = Self::default();
        for member in Members::new(body) {
            let member = member?;
            if key_is(member.key, b"max_bytes") {
                asked.max_bytes = Number::of(&member).or(asked.max_bytes);
            } else if key_is(member.key, b"batch") {
                asked.batch = integer(member.value).unwrap_or(asked.batch);
            } else if key_is(member.key, b"multi_last") {
                asked.has_multi_last = matches!(Elements::new(member.value).next(), Some(Ok(_)));
            } else if key_is(member.key, b"no_hdr") && member.value != b"null" {
                asked.no_hdr = member.value == b"true";
            }
        }
        Ok(asked)
    }

    const fn without_headers(&self) -> bool {
        self.no_hdr && !self.has_multi_last
    }

    /// A positive `max_bytes`.
    fn limit(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(u64::try_from(self.max_bytes?.value).ok()?)
    }

    /// What a positive `max_bytes` is raised to; `room`: how many messages fit.
    fn wider(&self, overhead: usize, room: fn(u64) -> u64) -> Option<Change> {
        let overhead = i64::try_from(overhead).unwrap_or(i64::MAX);
        let room = i64::try_from(room(self.limit()?.get())).unwrap_or(i64::MAX);
        let more = overhead.saturating_mul(self.batch().min(room));
        let max_bytes = self.max_bytes?;
        max_bytes.becomes(max_bytes.value.saturating_add(more))
    }

    /// How many messages it asks for.
    const fn batch(&self) -> i64 {
        match (self.batch, self.has_multi_last) {
            (1.., _) => self.batch,
            (_, true) => MULTI_LAST,
            (_, false) => 1,
        }
    }
}

/// How many messages `max_bytes` has room for at most.
pub(super) const fn room(max_bytes: u64) -> u64 {
    (max_bytes / MIN_MESSAGE_SIZE).saturating_add(1)
}

/// The same for a direct get. The gateway counts its responses itself, so that too large a result costs a few messages that are
/// dropped.
fn direct_room(max_bytes: u64) -> u64 {
    let short = (max_bytes / MIN_DIRECT_MESSAGE_SIZE).saturating_add(1);
    room(max_bytes).max(short.min(MAX_SMALL_MESSAGES))
}
