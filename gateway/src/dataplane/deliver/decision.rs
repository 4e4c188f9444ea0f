//! Decides about a delivered message, before any key is touched.

use std::time::Instant;

use crate::dataplane::context::Shared;
use crate::dataplane::headers;
use crate::dataplane::replies::{Class, FLOW_CONTROL, FROM_STREAM, PublishedRequest};
use crate::dataplane::session_state::{ClientReads, SessionState};
use crate::envelope::{EnvelopeId, Flags, Header, OVERHEAD, looks_sealed};
use crate::keyring;
use crate::metrics::Cause;
use crate::policy::{Empty, KeyringId, Lookup, Policy, Role, Route, Rule};
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

/// What a decision depends on besides the message.
#[derive(Clone, Copy)]
pub(super) struct DecisionContext<'a> {
    pub(super) shared: &'a Shared,
    pub(super) policy: &'a Policy,
    pub(super) state: &'a SessionState,
    pub(super) now: Instant,
}

impl DecisionContext<'_> {
    /// Empty payloads pass, envelopes are opened, plaintext on a protected subject is withheld unless it may answer a request of
    /// this client. A status line proves nothing: anybody who can publish can write one.
    pub(super) fn decide(&self, lookup: Lookup, message: &Message<'_>) -> Decision {
        if let Some(keyring) = self.denied_keyring(lookup, message) {
            return Decision::Withhold(Some(keyring), Cause::Identity);
        }
        if self.elicits_plaintext(lookup, message) {
            return Decision::Withhold(lookup.route.keyring(), Cause::Reply);
        }
        if let Some(decision) = self.decide_unmatched_delivery(lookup, message) {
            return decision;
        }
        if message.payload.is_empty() {
            return self.decide_empty(lookup, message);
        }
        match lookup.route {
            // Requests do not name such subjects for their answers.
            Route::Keyring(keyring)
                if lookup.explicit_user_keyring().is_some() && is_envelope(message.payload) =>
            {
                self.decide_sealed(Some(keyring), NO_REQUEST, message)
            }
            Route::Pass if lookup.role != Role::User => decide_unprotected(message),
            Route::Pass | Route::Keyring(_) | Route::Reply(_) => {
                self.decide_on_reply_subject(lookup.route, message)
            }
        }
    }

    /// Decides on a subject that a request of the client may have named as its reply subject.
    fn decide_on_reply_subject(&self, route: Route, message: &Message<'_>) -> Decision {
        let sealed = is_envelope(message.payload);
        if !self.policy.protects_anything() {
            return Decision::Pass;
        }
        let replies = &self.state.replies;
        // A push consumer of the client's sends statuses to its deliver subject, as a pull does to its reply subject.
        let pushes = || route != Route::Pass && replies.is_pushed_to(message.subject, self.now);
        let asked = self
            .request_on(message)
            .or_else(|| pushes().then_some(&PUSHED));
        match (asked, route) {
            (Some(asked), _) if sealed => {
                self.decide_sealed_answer(asked, route.covering_keyring(), message)
            }
            (Some(asked), _) => {
                self.decide_plaintext_answer(asked, route.covering_keyring(), message)
            }
            (None, Route::Keyring(keyring)) if sealed => {
                self.decide_sealed(Some(keyring), NO_REQUEST, message)
            }
            (None, Route::Keyring(keyring)) => self.decide_plaintext(keyring, message),
            (None, Route::Reply(covering)) if sealed => self.decide_unrequested(covering, message),
            (None, Route::Reply(covering)) => self.decide_unrequested_plaintext(covering, message),
            (None, Route::Pass) => decide_unprotected(message),
        }
    }

    /// The keyring of the subject, or of a stored message in the content, if the client may not receive its messages, whatever it
    /// has asked for. Statuses are the server's own.
    fn denied_keyring(&self, lookup: Lookup, message: &Message<'_>) -> Option<KeyringId> {
        if !self.state.identity.deliver_denied.any() {
            return None;
        }
        let headers = message.headers.unwrap_or_default();
        if message.payload.is_empty() && header::has_status(headers) {
            return None;
        }
        let own = lookup.route.keyring();
        let own = own.filter(|keyring| self.state.identity.deliver_denied.has(*keyring));
        own.or_else(|| self.denied_content(headers, message))
    }

    /// The keyring of a stored message in headers or payload that the client may not receive.
    fn denied_content(&self, headers: &[u8], message: &Message<'_>) -> Option<KeyringId> {
        let (policy, deliver_denied) = (self.policy, &self.state.identity.deliver_denied);
        let leak_check = LeakCheck {
            policy,
            deliver_denied,
        };
        let payload = message.payload;
        // To a client without headers nothing says which subject a stored message has.
        let is_bare = self.state.client_reads == ClientReads::Payloads && message.headers.is_none();
        if is_bare && !payload.is_empty() && !is_envelope(payload) {
            return deliver_denied.first();
        }
        let asked = self.request_on(message);
        // The payload is checked when it is opened: the answer becomes an error there.
        if asked.is_some_and(|asked| asked.is_only(Class::MsgGet)) {
            return leak_check.find_in_headers(headers);
        }
        leak_check.find(headers, payload)
    }

    /// Whether the answer would be published on a system subject, where nothing is sealed. Anybody on the bus can replay a sealed
    /// request, or send an empty one, with such a reply subject. Honest messages have one for two purposes only:
    /// acknowledgements, which the server lets no client name, and flow control.
    fn elicits_plaintext(&self, lookup: Lookup, message: &Message<'_>) -> bool {
        let clear = |reply: &[u8]| !reply.starts_with(FROM_STREAM) && self.policy.is_system(reply);
        let Some(reply) = message.reply.filter(|reply| clear(reply)) else {
            return false;
        };
        if !message.payload.is_empty() {
            return is_envelope(message.payload);
        }
        let status = message.headers.is_some_and(header::has_status);
        let strict = lookup
            .route
            .keyring()
            .is_some_and(|keyring| !self.shared.accepts_plaintext(self.policy, keyring));
        strict && !(status && reply.starts_with(FLOW_CONTROL))
    }

    /// Withholds a message that a consumer sends to a subscription whose filter does not match the message's subject, where the
    /// client did not ask for that. Anybody who may create consumers or pull can direct stored messages of their own to a
    /// subscription on which the client awaits an answer, another stream's messages, or those of a protected subject. Many
    /// clients ignore the subject there.
    fn decide_unmatched_delivery(&self, lookup: Lookup, message: &Message<'_>) -> Option<Decision> {
        let reply = message
            .reply
            .filter(|reply| reply.starts_with(FROM_STREAM))?;
        if !self.policy.protects_anything() {
            return None;
        }
        let delivery = Delivery::of(reply);
        let stream = delivery.map_or(&b""[..], |delivery| delivery.stream);
        let replies = &self.state.replies;
        let on = replies.unmatched_delivery(message.sid, (stream, message.subject), self.now)?;
        let covered = lookup.route.covering_keyring().is_some();
        let unprotected = !covered && !is_bound(message.payload);
        if let Some(keyring) = on.keyring
            && unprotected
            && !self.shared.accepts_plaintext(self.policy, keyring)
        {
            let seals_empty = |rule: &Rule| rule.empty == Empty::Seal;
            if !message.payload.is_empty() {
                return Some(Decision::Withhold(Some(keyring), Cause::Plaintext));
            }
            if self.rule(keyring).is_some_and(seals_empty) {
                return Some(Decision::Withhold(Some(keyring), Cause::Empty));
            }
        }
        let awaits_answer = on.asked.is_some_and(|asked| {
            asked.is(Class::Protected) && !asked.is_any(&[Class::Pull, Class::Unprotected])
        });
        let unasked = awaits_answer || !on.is_expected;
        unasked.then(|| Decision::Withhold(lookup.route.keyring(), Cause::Answer))
    }

    fn decide_empty(&self, lookup: Lookup, message: &Message<'_>) -> Decision {
        let headers = message.headers.unwrap_or_default();
        let asked = || self.request_on(message);
        if !header::has_status(headers) && asked().is_some_and(wants_no_headers) {
            return Decision::PassWithoutHeaders;
        }
        let pulled = || {
            let is_pull = |asked: &PublishedRequest| asked.is(Class::Pull);
            self.policy.protects_anything() && asked().is_some_and(is_pull)
        };
        if headers::pending(message).is_some() && pulled() {
            return Decision::NarrowPending;
        }
        if jetstream::exceeded(headers, OVERHEAD).is_some() && pulled() {
            return Decision::NarrowExceeded;
        }
        let ends = self.state.replies.ends_batch(message.subject, self.now);
        if ends && header::has_status(headers) && header::direct_get_headers(headers).is_none() {
            return Decision::EndBatch;
        }
        let Route::Keyring(keyring) = lookup.route else {
            return Decision::Pass;
        };
        if headers::stored_size(message).is_some() {
            return Decision::NarrowSize;
        }
        let strict = self
            .rule(keyring)
            .is_some_and(|rule| rule.empty == Empty::Seal)
            && !self.shared.accepts_plaintext(self.policy, keyring);
        if strict && !headers::has_meaning(headers) && asked().is_none() {
            return Decision::Withhold(Some(keyring), Cause::Empty);
        }
        Decision::Pass
    }

    /// Decides about plaintext on a subject of this keyring that answers no request.
    pub(super) fn decide_plaintext(&self, keyring: KeyringId, message: &Message<'_>) -> Decision {
        if self.shared.accepts_plaintext(self.policy, keyring) {
            if self.state.identity.deliver_denied.has(keyring) {
                return Decision::Withhold(Some(keyring), Cause::Identity);
            }
            return Decision::Accept(keyring);
        }
        Decision::Withhold(Some(keyring), cause_of(message.payload))
    }

    /// Decides about an envelope on a subject of this keyring, or of any. One that answers a request opens for the requester
    /// alone.
    pub(super) fn decide_sealed(
        &self,
        keyring: Option<KeyringId>,
        requests: [Option<EnvelopeId>; 2],
        message: &Message<'_>,
    ) -> Decision {
        if requests == NO_REQUEST && keyring::flags(message.payload).has(Flags::ANSWER) {
            return Decision::Withhold(keyring, Cause::Answer);
        }
        Decision::Open(Opening {
            expected: [keyring, None],
            requests,
            from: EnvelopeSource::Publisher,
            on_failure: OnFailure::Withhold,
        })
    }

    /// Decides about an envelope on an inbox for which no request is known. Bound to the inbox, it was sealed for its reader;
    /// bound to a keyring alone, it may be any message that was replayed there.
    fn decide_unrequested(&self, covering: Option<KeyringId>, message: &Message<'_>) -> Decision {
        let bound = keyring::flags(message.payload).has(Flags::BOUND);
        self.decide_sealed(covering.filter(|_| !bound), NO_REQUEST, message)
    }

    pub(super) fn request_on(&self, message: &Message<'_>) -> Option<&PublishedRequest> {
        self.state.replies.request_on(message.subject, self.now)
    }

    pub(super) fn rule(&self, keyring: KeyringId) -> Option<&Rule> {
        self.policy.keyring(keyring)
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
    if is_bound(message.payload) {
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

fn is_bound(payload: &[u8]) -> bool {
    keyring::flags(payload).has(Flags::BOUND)
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
