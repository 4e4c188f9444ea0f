//! Requests that are delivered to the client: which of them are admitted, and what is remembered so that their answers are sealed
//! right.
//!
//! A reply subject decides where the client will publish. One that a keyring names explicitly is admitted only from a request
//! that is sealed under that keyring, or bound to exactly this reply subject. Any other is an inbox, whose answers are bound to
//! the latest request that can be told from others (`replies::delivered_requests`).

use crate::dataplane::headers;
use crate::dataplane::replies::{self, DeliveredRequest, ReplySubjectInUse};
use crate::envelope::{Flags, Header};
use crate::metrics::Cause;
use crate::policy::KeyringId;
use crate::wire::Buffer;

use super::path::{DeliverPath, Incoming};

/// How a message was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveredAs {
    /// In an envelope of this keyring that has opened.
    Sealed(KeyringId, Header),
    /// Empty, on a subject of this keyring, which accepts no plaintext. Nothing tells whether it comes from behind a gateway: a
    /// client on the bare bus must not get a plaintext answer by sending an empty request.
    Empty(KeyringId),
    /// In plaintext, on a subject of this keyring, if of any.
    Plain(Option<KeyringId>),
}

impl DeliverPath<'_> {
    /// Whether the client may have a plaintext or empty message; if not, it is withheld here.
    pub(super) fn admit_or_withhold(&self, incoming: Incoming<'_>, out: &mut Buffer) -> bool {
        let Incoming { snapshot, message } = incoming;
        if message.reply.is_none() && message.headers.is_none() {
            return true;
        }
        let keyring = self.routes.route().keyring();
        let accepts = |keyring: &KeyringId| {
            let shared = &self.worker.shared;
            shared.accepts_plaintext(snapshot.policy(), *keyring)
        };
        let comes = match keyring {
            Some(keyring) if message.payload.is_empty() && !accepts(&keyring) => {
                DeliveredAs::Empty(keyring)
            }
            other => DeliveredAs::Plain(other.filter(accepts)),
        };
        let admitted = self.admits_request(comes, incoming);
        if !admitted {
            self.withhold((keyring, Cause::Reply), incoming, out);
        }
        admitted
    }

    /// Whether the client may have a message with this reply subject. If so, the request is remembered: its answer is sealed
    /// under the request's keyring and bound to it, or published in plaintext as the request was.
    pub(super) fn admits_request(&self, comes: DeliveredAs, incoming: Incoming<'_>) -> bool {
        let Incoming { snapshot, message } = incoming;
        let policy = snapshot.policy();
        let mut state = self.state.borrow_mut();
        let replies = &mut state.replies;
        if let Some(to) = message.headers.and_then(headers::trace_destination) {
            replies.trace_delivered(to);
        }
        let Some(reply) = message.reply else {
            return true;
        };
        if reply.starts_with(replies::FROM_STREAM) {
            if let DeliveredAs::Sealed(keyring, _) | DeliveredAs::Empty(keyring) = comes {
                replies.stream_message_delivered(keyring);
            }
            return true;
        }
        let lookup = policy.lookup(reply);
        if let Some(work) = lookup.explicit_user_keyring() {
            return match comes {
                DeliveredAs::Sealed(keyring, header) => {
                    keyring == work || header.flags.has(Flags::REPLY)
                }
                DeliveredAs::Plain(keyring) => keyring == Some(work),
                DeliveredAs::Empty(_) => false,
            };
        }
        if !replies::is_answer_subject(lookup) {
            return true;
        }
        let binds = |keyring| {
            policy
                .keyring(keyring)
                .is_some_and(|rule| rule.binds_answers)
        };
        let request = match comes {
            DeliveredAs::Sealed(keyring, header)
                if header.flags.has(Flags::PASSED_ON) || !binds(keyring) =>
            {
                DeliveredRequest::PassedOn(keyring, header.id())
            }
            DeliveredAs::Sealed(keyring, header) => DeliveredRequest::Sealed(keyring, header.id()),
            DeliveredAs::Empty(keyring) => DeliveredRequest::Empty(keyring),
            DeliveredAs::Plain(_) => DeliveredRequest::Plain,
        };
        match replies.request_delivered(reply, request, self.now) {
            Ok(()) => true,
            Err(ReplySubjectInUse) => false,
        }
    }
}
