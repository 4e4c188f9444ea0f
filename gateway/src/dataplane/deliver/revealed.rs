//! Finds stored messages that a client may not receive in plaintext answers to requests for stored messages.
//!
//! Anybody who subscribes to the reply subject receives such an answer, and a stream may store it under a subject of its own. A
//! client that is denied a keyring could so read the keyring's old plaintext (from a migration). Every delivery to such a client
//! is searched for what the server writes beside a stored message.

use memchr::memmem;

use crate::dataplane::identity::Barred;
use crate::policy::{KeyringId, Policy};
use crate::wire::jetstream::Stored;

/// The server's header with the subject of a stored message. Stored headers may have one already, from an earlier answer.
const SUBJECT: &[u8] = b"\nNats-Subject:";

/// How deep answers that are stored within answers are searched; honest ones are not nested.
const DEPTH: usize = 8;

/// Searches deliveries for messages of keyrings that the client is denied.
#[derive(Clone, Copy)]
pub(super) struct Shut<'a> {
    pub(super) policy: &'a Policy,
    pub(super) deaf: &'a Barred,
}

impl Shut<'_> {
    /// The denied keyring of a stored message in these headers or this payload.
    pub(super) fn revealed(self, headers: &[u8], payload: &[u8]) -> Option<KeyringId> {
        self.named_in(headers)
            .or_else(|| self.stored_in(payload, DEPTH))
    }

    /// The same for an answer to `STREAM.MSG.GET`.
    pub(super) fn is_or_has(self, stored: &Stored<'_>) -> Option<KeyringId> {
        if !self.deaf.any() {
            return None;
        }
        self.of(&stored.subject)
            .or_else(|| self.deep_within(stored, DEPTH))
    }

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
