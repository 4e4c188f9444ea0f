//! Finds stored messages that a client may not receive in plaintext answers to requests for stored messages.
//!
//! Anybody who subscribes to the reply subject receives such an answer, and a stream may store it under a subject of its own. A
//! client that is denied a keyring could so read the keyring's old plaintext (from a migration). Every delivery to such a client
//! is searched for what the server writes beside a stored message.

use memchr::memmem;

use crate::dataplane::identity::DeniedKeyrings;
use crate::policy::{KeyringId, Policy};
use crate::wire::jetstream::StoredMessage;

/// The server's header with the subject of a stored message. Stored headers may have one already, from an earlier answer.
const SUBJECT: &[u8] = b"\nNats-Subject:";

/// How deep answers that are stored within answers are searched; honest ones are not nested.
const DEPTH: usize = 8;

/// Searches deliveries for messages of keyrings that the client is denied.
#[derive(Clone, Copy)]
pub(super) struct LeakCheck<'a> {
    pub(super) policy: &'a Policy,
    pub(super) deliver_denied: &'a DeniedKeyrings,
}

impl LeakCheck<'_> {
    /// The denied keyring of a stored message in these headers or this payload.
    pub(super) fn find(self, headers: &[u8], payload: &[u8]) -> Option<KeyringId> {
        self.find_in_headers(headers)
            .or_else(|| self.find_in_payload(payload, DEPTH))
    }

    /// The same for an answer to `STREAM.MSG.GET`.
    pub(super) fn find_in_stored(self, stored: &StoredMessage<'_>) -> Option<KeyringId> {
        if !self.deliver_denied.any() {
            return None;
        }
        self.denied_keyring(&stored.subject)
            .or_else(|| self.find_nested(stored, DEPTH))
    }

    fn denied_keyring(self, subject: &[u8]) -> Option<KeyringId> {
        let keyring = self.policy.route(subject).covering_keyring();
        keyring.filter(|keyring| self.deliver_denied.has(*keyring))
    }

    pub(super) fn find_in_headers(self, headers: &[u8]) -> Option<KeyringId> {
        let mut named = memmem::find_iter(headers, SUBJECT);
        named.find_map(|at| {
            let value = headers.get(at.checked_add(SUBJECT.len())?..)?;
            let end = memchr::memchr(b'\r', value).unwrap_or(value.len());
            self.denied_keyring(value.get(..end)?.trim_ascii())
        })
    }

    fn find_in_payload(self, payload: &[u8], depth: usize) -> Option<KeyringId> {
        if payload.first() != Some(&b'{') {
            return None;
        }
        let stored = StoredMessage::parse(payload).ok().flatten()?;
        self.denied_keyring(&stored.subject)
            .or_else(|| self.find_nested(&stored, depth))
    }

    fn find_nested(self, stored: &StoredMessage<'_>, depth: usize) -> Option<KeyringId> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.deliver_denied.first();
        };
        let (mut headers, mut data) = (Vec::new(), Vec::new());
        let is_text = stored.decode_headers(&mut headers) && stored.decode(&mut data);
        if !is_text {
            return None;
        }
        self.find_in_headers(&headers)
            .or_else(|| self.find_in_payload(&data, depth))
    }
}
