//! Decides about a delivered message, before any key is touched.

use std::time::Instant;

use crate::dataplane::context::Shared;
use crate::dataplane::headers;
use crate::dataplane::replies::{Class, FLOW_CONTROL, FROM_STREAM, PublishedRequest};
use crate::dataplane::session_state::{ClientReads, SessionState};
use crate::envelope::{EnvelopeId, Flags, Header, OVERHEAD, looks_sealed};
use crate::keyring;
use crate::metrics::Cause;
use crate::policy::{Empty, KeyringId, Lookup, Policy, Role, Route};
use crate::wire::jetstream::{self, Delivery};
use crate::wire::{Message, header};

use super::leak_check::LeakCheck;

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Pass,
    /// The client gets it without its headers: a stored message, asked for with `no_hdr`.
    PassWithoutHeaders,
    /// The client gets it as it is, although it is plaintext on a subject of this keyring, which accepts plaintext (migration).
    Accept(KeyringId),
    Open(Opening),
    /// The answer to `STREAM.MSG.GET`: the stored message in its JSON is opened.
    OpenStored,
    /// The configuration of streams in JSON: `max_msg_size` is reduced to that of plaintext.
    NarrowConfig,
    /// The configuration of consumers in JSON: the most that a pull may ask for becomes that of plaintext.
    NarrowLimits,
    /// The payload was left out by the server, and its size becomes that of the plaintext.
    NarrowSize,
    /// The status of a pull that asks for more than its consumer allows: the limit becomes what the client may ask for.
    NarrowExceeded,
    /// The status of a pull, whose bytes become those that the client asked for.
    NarrowPending,
    /// The client gets an error in place of an API response: the request went to JetStream under a prefix that the configuration
    /// does not name, and so was sealed under this keyring.
    UnknownApiPrefix(KeyringId),
    /// The status that ends a direct get of several messages.
    EndBatch,
    Withhold(Option<KeyringId>, Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// The keyrings one of which must have sealed it; if there is none, any may have, provided that the envelope is bound to its
    /// subject.
    pub(super) expected: [Option<KeyringId>; 2],
    /// The requests of this connection one of which it must answer, if it is bound to a request.
    pub(super) requests: [Option<EnvelopeId>; 2],
    pub(super) from: EnvelopeSource,
    pub(super) on_failure: OnFailure,
}

/// What may come on the deliver subject of a push consumer, besides stored messages: statuses.
const PUSHED: PublishedRequest = PublishedRequest::of(Class::Pull);

/// For an envelope that is bound to no request.
pub(super) const NO_REQUEST: [Option<EnvelopeId>; 2] = [None; 2];

/// Where an envelope comes from, which decides the subject that it must be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnvelopeSource {
    /// Its publisher: the subject is that of the delivery.
    Publisher,
    /// A stream, in the answer to a direct get: the subject is in the headers that the server has appended.
    Stream,
    /// The same, and the client gets no headers.
    StreamNoHeaders,
}

/// What is done with an envelope that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// It is passed: on an unprotected subject it may be any data that looks like an envelope.
    Pass,
    Withhold,
}

/// What a decision depends on.
#[derive(Clone, Copy)]
pub(super) struct DecisionContext<'a> {
    pub(super) message: &'a Message<'a>,
    /// Of its subject.
    pub(super) lookup: Lookup,
    pub(super) shared: &'a Shared,
    pub(super) policy: &'a Policy,
    pub(super) state: &'a SessionState,
    pub(super) now: Instant,
}

impl DecisionContext<'_> {
    /// Empty payloads pass, envelopes are opened, plaintext on a protected subject is withheld unless it may answer a request of
    /// this client. A status line proves nothing: anybody who can publish can write one.
    pub(super) fn decide(&self) -> Decision {
        if let Some(keyring) = self.denied_keyring() {
            return Decision::Withhold(Some(keyring), Cause::Identity);
        }
        if self.elicits_plaintext() {
            return Decision::Withhold(self.lookup.route.keyring(), Cause::Reply);
        }
        if let Some(decision) = self.decide_unmatched_delivery() {
            return decision;
        }
        if self.message.payload.is_empty() {
            return self.decide_empty();
        }
        match self.lookup.route {
            // Requests do not name such subjects for their answers.
            Route::Keyring(keyring)
                if self.lookup.explicit_user_keyring().is_some()
                    && is_envelope(self.message.payload) =>
            {
                self.decide_sealed(Some(keyring), NO_REQUEST)
            }
            Route::Pass if self.lookup.role != Role::User => decide_unprotected(self.message),
            Route::Pass | Route::Keyring(_) | Route::Reply(_) => self.decide_on_reply_subject(),
        }
    }

    /// Decides on a subject that a request of the client may have named as its reply subject.
    fn decide_on_reply_subject(&self) -> Decision {
        if !self.policy.protects_anything() {
            return Decision::Pass;
        }
        let (route, replies) = (self.lookup.route, &self.state.replies);
        // A push consumer of the client's sends statuses to its deliver subject, as a pull does to its reply subject.
        let pushes =
            || route != Route::Pass && replies.is_pushed_to(self.message.subject, self.now);
        let asked = self.request_on().or_else(|| pushes().then_some(&PUSHED));
        let sealed = is_envelope(self.message.payload);
        match (asked, route) {
            (Some(asked), _) if sealed => self.decide_sealed_answer(asked),
            (Some(asked), _) => self.decide_plaintext_answer(asked),
            (None, Route::Keyring(keyring)) if sealed => {
                self.decide_sealed(Some(keyring), NO_REQUEST)
            }
            (None, Route::Keyring(keyring)) => self.decide_plaintext(keyring),
            (None, Route::Reply(covering)) if sealed => {
                // For which no request is known. Bound to the inbox, it was sealed for its reader; bound to a keyring alone, it may be
                // any message that was replayed there.
                let keyring = covering.filter(|_| !self.has(Flags::BOUND));
                self.decide_sealed(keyring, NO_REQUEST)
            }
            (None, Route::Reply(_)) => self.decide_unrequested_plaintext(),
            (None, Route::Pass) => decide_unprotected(self.message),
        }
    }

    /// The keyring of the subject, or of a stored message in the content, if the client may not receive its messages, whatever it
    /// has asked for. Statuses are the server's own.
    fn denied_keyring(&self) -> Option<KeyringId> {
        if !self.state.identity.deliver_denied.any() {
            return None;
        }
        let headers = self.message.headers.unwrap_or_default();
        if self.message.payload.is_empty() && header::has_status(headers) {
            return None;
        }
        let own = self.lookup.route.keyring();
        let own = own.filter(|keyring| self.state.identity.deliver_denied.has(*keyring));
        own.or_else(|| self.denied_content(headers))
    }

    /// The keyring of a stored message in headers or payload that the client may not receive.
    fn denied_content(&self, headers: &[u8]) -> Option<KeyringId> {
        let (policy, deliver_denied) = (self.policy, &self.state.identity.deliver_denied);
        let leak_check = LeakCheck {
            policy,
            deliver_denied,
        };
        let payload = self.message.payload;
        // To a client without headers nothing says which subject a stored message has.
        let is_bare =
            self.state.client_reads == ClientReads::Payloads && self.message.headers.is_none();
        if is_bare && !payload.is_empty() && !is_envelope(payload) {
            return deliver_denied.first();
        }
        let asked = self.request_on();
        // The payload is checked when it is opened: the answer becomes an error there.
        if asked.is_some_and(|asked| asked.is_only(Class::MsgGet)) {
            return leak_check.find_in_headers(headers);
        }
        leak_check.find(headers, payload)
    }

    /// Whether the answer would be published on a system subject, where nothing is sealed. Anybody on the bus can replay a sealed
    /// request, or send an empty one, with such a reply subject. Honest messages have one for two purposes only:
    /// acknowledgements, which the server lets no client name, and flow control.
    fn elicits_plaintext(&self) -> bool {
        let clear = |reply: &[u8]| !reply.starts_with(FROM_STREAM) && self.policy.is_system(reply);
        let Some(reply) = self.message.reply.filter(|reply| clear(reply)) else {
            return false;
        };
        if !self.message.payload.is_empty() {
            return is_envelope(self.message.payload);
        }
        let status = self.message.headers.is_some_and(header::has_status);
        let keyring = self.lookup.route.keyring();
        let strict = keyring.is_some_and(|keyring| self.is_strict(keyring));
        strict && !(status && reply.starts_with(FLOW_CONTROL))
    }

    /// Withholds a message that a consumer sends to a subscription whose filter does not match the message's subject, where the
    /// client did not ask for that. Anybody who may create consumers or pull can direct stored messages of their own to a
    /// subscription on which the client awaits an answer, another stream's messages, or those of a protected subject. Many
    /// clients ignore the subject there.
    fn decide_unmatched_delivery(&self) -> Option<Decision> {
        let Message {
            subject,
            sid,
            reply,
            payload,
            ..
        } = *self.message;
        let reply = reply.filter(|reply| reply.starts_with(FROM_STREAM))?;
        if !self.policy.protects_anything() {
            return None;
        }
        let delivery = Delivery::of(reply);
        let stream = delivery.map_or(&b""[..], |delivery| delivery.stream);
        let replies = &self.state.replies;
        let on = replies.unmatched_delivery(sid, (stream, subject), self.now)?;
        if let Some(keyring) = on.keyring
            && self.covering_keyring().is_none()
            && !self.has(Flags::BOUND)
            && self.is_strict(keyring)
        {
            if !payload.is_empty() {
                return Some(Decision::Withhold(Some(keyring), Cause::Plaintext));
            }
            if self.seals_empty(keyring) {
                return Some(Decision::Withhold(Some(keyring), Cause::Empty));
            }
        }
        let awaits_answer = on.asked.is_some_and(|asked| {
            asked.is(Class::Protected) && !asked.is_any(&[Class::Pull, Class::Unprotected])
        });
        let unasked = awaits_answer || !on.is_expected;
        unasked.then(|| Decision::Withhold(self.lookup.route.keyring(), Cause::Answer))
    }

    fn decide_empty(&self) -> Decision {
        let headers = self.message.headers.unwrap_or_default();
        let asked = || self.request_on();
        if !header::has_status(headers) && asked().is_some_and(wants_no_headers) {
            return Decision::PassWithoutHeaders;
        }
        let pulled = || {
            let is_pull = |asked: &PublishedRequest| asked.is(Class::Pull);
            self.policy.protects_anything() && asked().is_some_and(is_pull)
        };
        if headers::pending(self.message).is_some() && pulled() {
            return Decision::NarrowPending;
        }
        if jetstream::exceeded(headers, OVERHEAD).is_some() && pulled() {
            return Decision::NarrowExceeded;
        }
        let ends = self
            .state
            .replies
            .ends_batch(self.message.subject, self.now);
        if ends && header::has_status(headers) && header::direct_get_headers(headers).is_none() {
            return Decision::EndBatch;
        }
        let Route::Keyring(keyring) = self.lookup.route else {
            return Decision::Pass;
        };
        if headers::stored_size(self.message).is_some() {
            return Decision::NarrowSize;
        }
        let strict = self.seals_empty(keyring) && self.is_strict(keyring);
        if strict && !headers::has_meaning(headers) && asked().is_none() {
            return Decision::Withhold(Some(keyring), Cause::Empty);
        }
        Decision::Pass
    }

    /// Decides about plaintext on a subject of this keyring that answers no request.
    pub(super) fn decide_plaintext(&self, keyring: KeyringId) -> Decision {
        if self.is_strict(keyring) {
            Decision::Withhold(Some(keyring), cause_of(self.message.payload))
        } else if self.state.identity.deliver_denied.has(keyring) {
            Decision::Withhold(Some(keyring), Cause::Identity)
        } else {
            Decision::Accept(keyring)
        }
    }

    /// Decides about an envelope on a subject of this keyring, or of any. One that answers a request opens for the requester
    /// alone.
    pub(super) fn decide_sealed(
        &self,
        keyring: Option<KeyringId>,
        requests: [Option<EnvelopeId>; 2],
    ) -> Decision {
        if requests == NO_REQUEST && self.has(Flags::ANSWER) {
            return Decision::Withhold(keyring, Cause::Answer);
        }
        Decision::Open(Opening {
            expected: [keyring, None],
            requests,
            from: EnvelopeSource::Publisher,
            on_failure: OnFailure::Withhold,
        })
    }

    /// The keyring whose patterns cover the subject.
    pub(super) const fn covering_keyring(&self) -> Option<KeyringId> {
        self.lookup.route.covering_keyring()
    }

    /// Whether the payload is an envelope with this flag.
    pub(super) fn has(&self, flag: Flags) -> bool {
        keyring::flags(self.message.payload).has(flag)
    }

    /// Whether plaintext on the keyring's subjects is withheld.
    fn is_strict(&self, keyring: KeyringId) -> bool {
        !self.shared.accepts_plaintext(self.policy, keyring)
    }

    fn seals_empty(&self, keyring: KeyringId) -> bool {
        let rule = self.policy.keyring(keyring);
        rule.is_some_and(|rule| rule.empty == Empty::Seal)
    }

    pub(super) fn request_on(&self) -> Option<&PublishedRequest> {
        self.state
            .replies
            .request_on(self.message.subject, self.now)
    }
}

/// Whether all requests on a reply subject asked for messages without headers.
pub(super) fn wants_no_headers(asked: &PublishedRequest) -> bool {
    asked.is(Class::DirectGetNoHeaders)
        && !asked.is_any(&[Class::DirectGet, Class::Protected, Class::Unprotected])
}

/// Decides on an unprotected subject: an envelope that is bound to its subject is opened if that is possible; all else passes,
/// also what only begins like an envelope, as one random payload in 65,536 does.
pub(super) fn decide_unprotected(message: &Message<'_>) -> Decision {
    if keyring::flags(message.payload).has(Flags::BOUND) {
        Decision::Open(Opening {
            expected: [None; 2],
            requests: NO_REQUEST,
            from: EnvelopeSource::Publisher,
            on_failure: OnFailure::Pass,
        })
    } else {
        Decision::Pass
    }
}

pub(super) fn is_envelope(payload: &[u8]) -> bool {
    looks_sealed(payload) && Header::parse(payload).is_ok()
}

/// Why a payload that is no envelope is withheld.
pub(super) fn cause_of(payload: &[u8]) -> Cause {
    if looks_sealed(payload) {
        Cause::BadEnvelope
    } else {
        Cause::Plaintext
    }
}
