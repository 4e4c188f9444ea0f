//! What was stored for others, in the plaintext of an answer that has gone astray.
//!
//! An answer to a request for a stored message comes to whoever listens, and a stream may store it under a subject of its own: a client
//! that is barred from a keyring could read its old plaintext (of a migration) on another connection, or out of that stream. So whatever
//! comes to such a client is looked through for what the server writes beside a stored message.

use memchr::memmem;

use crate::dataplane::identity::Barred;
use crate::policy::{KeyringId, Policy};
use crate::wire::jetstream::Stored;

/// The server's header with the subject of a stored message. A stored block may have one already, from an earlier answer.
const SUBJECT: &[u8] = b"\nNats-Subject:";

/// An answer within an answer, and so on, is looked through down to here; no honest one is one.
const DEPTH: usize = 8;

/// What a client may not have.
#[derive(Clone, Copy)]
pub(super) struct Shut<'a> {
    pub(super) policy: &'a Policy,
    /// The keyrings whose messages it may not get.
    pub(super) deaf: &'a Barred,
}

impl Shut<'_> {
    /// The keyring of a stored message that this is, or that is within it, if it is shut.
    pub(super) fn revealed(self, headers: &[u8], payload: &[u8]) -> Option<KeyringId> {
        self.named_in(headers)
            .or_else(|| self.stored_in(payload, DEPTH))
    }

    /// The same of the answer to `STREAM.MSG.GET`.
    pub(super) fn is_or_has(self, stored: &Stored<'_>) -> Option<KeyringId> {
        if !self.deaf.any() {
            return None;
        }
        self.of(&stored.subject)
            .or_else(|| self.deep_within(stored, DEPTH))
    }

    /// The keyring of a subject, if it is shut.
    fn of(self, subject: &[u8]) -> Option<KeyringId> {
        let keyring = self.policy.route(subject).covering();
        keyring.filter(|keyring| self.deaf.has(*keyring))
    }

    pub(super) fn named_in(self, headers: &[u8]) -> Option<KeyringId> {
        let mut named = memmem::find_iter(headers, SUBJECT);
        named.find_map(|at| {
            let value = headers.get(at.checked_add(SUBJECT.len())?..)?;
            let end = memchr::memchr(b'\r', value).unwrap_or(value.len());
            self.of(value.get(..end)?.trim_ascii())
        })
    }

    fn stored_in(self, payload: &[u8], depth: usize) -> Option<KeyringId> {
        if payload.first() != Some(&b'{') {
            return None;
        }
        let stored = Stored::parse(payload).ok().flatten()?;
        self.of(&stored.subject)
            .or_else(|| self.deep_within(&stored, depth))
    }

    fn deep_within(self, stored: &Stored<'_>, depth: usize) -> Option<KeyringId> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.deaf.first();
        };
        let (mut headers, mut data) = (Vec::new(), Vec::new());
        let is_text = stored.decode_headers(&mut headers) && stored.decode(&mut data);
        if !is_text {
            return None;
        }
        self.named_in(&headers)
            .or_else(|| self.stored_in(&data, depth))
    }
}
