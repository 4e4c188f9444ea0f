//! What was stored for others, in the plaintext of an answer that has gone astray.
//!
//! An answer to a request for a stored message comes to whoever listens, and a stream may store it under a subject of its own: a client
//! that is barred from a keyring could read its old plaintext (of a migration) on another connection, or out of that stream. So whatever
//! comes to such a client is looked through for what the server writes beside a stored message.

use crate::dataplane::replies::Class;
use crate::policy::KeyringId;
use crate::wire::Message;
use crate::wire::jetstream::Stored;

use super::fate::Judge;

/// The server's header with the subject of a stored message. A stored block may have one already, from an earlier answer.
const SUBJECT: &[u8] = b"Nats-Subject:";

/// An answer within an answer, and so on, is looked through down to here; no honest one is one.
const DEPTH: usize = 8;

impl Judge<'_> {
    /// The keyring whose messages the client may not get, one of which this is.
    pub(super) fn revealed(&self, headers: &[u8], message: &Message<'_>) -> Option<KeyringId> {
        let asked = self.asked(message);
        // The answer becomes an error where it is not for this client; what is within is not looked at there.
        let is_answered = asked.is_some_and(|asked| asked.is_only(Class::Message));
        self.named_in(headers).or_else(|| {
            if is_answered {
                self.within(message.payload, DEPTH)
            } else {
                self.stored_in(message.payload, DEPTH)
            }
        })
    }

    fn named_in(&self, headers: &[u8]) -> Option<KeyringId> {
        let mut named = memchr::memmem::find_iter(headers, SUBJECT);
        named.find_map(|at| {
            let value = headers.get(at.checked_add(SUBJECT.len())?..)?;
            let end = memchr::memchr(b'\r', value).unwrap_or(value.len());
            self.shut(value.get(..end)?.trim_ascii())
        })
    }

    /// In the answer to `STREAM.MSG.GET`.
    fn stored_in(&self, payload: &[u8], depth: usize) -> Option<KeyringId> {
        if payload.first() != Some(&b'{') {
            return None;
        }
        let stored = Stored::parse(payload).ok().flatten()?;
        self.shut(&stored.subject)
            .or_else(|| self.within(payload, depth))
    }

    fn within(&self, payload: &[u8], depth: usize) -> Option<KeyringId> {
        let stored = Stored::parse(payload).ok().flatten()?;
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

    fn shut(&self, subject: &[u8]) -> Option<KeyringId> {
        let keyring = self.policy.route(subject).covering();
        keyring.filter(|keyring| self.deaf.has(*keyring))
    }
}
