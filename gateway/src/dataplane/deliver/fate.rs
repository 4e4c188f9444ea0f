//! Decides about a delivered message, before any key is touched.

use std::time::Instant;

use crate::dataplane::identity::Barred;
use crate::dataplane::link::{Link, Reads};
use crate::dataplane::meaning;
use crate::dataplane::replies::{Asked, Class, FLOW_CONTROL, FROM_STREAM};
use crate::dataplane::worker::Shared;
use crate::envelope::{EnvelopeId, Flags, Header, OVERHEAD, looks_sealed};
use crate::keyring;
use crate::metrics::Cause;
use crate::policy::{Empty, KeyringId, Look, Policy, Role, Route, Rule};
use crate::wire::jetstream::{self, Delivery};
use crate::wire::{Message, header};

use super::revealed::Shut;

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// The client gets it without its headers: a stored message, asked for with `no_hdr`.
    PassBare,
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
    Unnamed(KeyringId),
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
    pub(super) from: From,
    pub(super) or: Otherwise,
}

/// What may come on the deliver subject of a push consumer, besides stored messages: statuses.
const PUSHED: Asked = Asked::of(Class::Pull);

/// For an envelope that is bound to no request.
pub(super) const NO_REQUEST: [Option<EnvelopeId>; 2] = [None; 2];

/// Where an envelope comes from, which decides the subject that it must be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Its publisher: the subject is that of the delivery.
    Publisher,
    /// A stream, in the answer to a direct get: the subject is in the headers that the server has appended.
    Stream,
    /// The same, and the client gets no headers.
    StreamBare,
}

/// What is done with an envelope that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It is passed: on an unprotected subject it may be any data that looks like an envelope.
    Pass,
    Withhold,
}

/// What a decision depends on besides the message.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) shared: &'a Shared,
    pub(super) policy: &'a Policy,
    pub(super) link: &'a Link,
    pub(super) deaf: &'a Barred,
    pub(super) now: Instant,
}

impl Judge<'_> {
    /// Empty payloads pass, envelopes are opened, plaintext on a protected subject is withheld unless it may answer a request of
    /// this client. A status line proves nothing: anybody who can publish can write one.
    pub(super) fn fate(&self, look: Look, message: &Message<'_>) -> Fate {
        if let Some(keyring) = self.closed(look, message) {
            return Fate::Withhold(Some(keyring), Cause::Identity);
        }
        if self.draws_plaintext(look, message) {
            return Fate::Withhold(look.route.keyring(), Cause::Reply);
        }
        if let Some(fate) = self.sent_elsewhere(look, message) {
            return fate;
        }
        if message.payload.is_empty() {
            return self.of_empty(look, message);
        }
        match look.route {
            // Requests do not name such subjects for their answers.
            Route::Keyring(keyring) if look.work().is_some() && is_envelope(message.payload) => {
                self.of_sealed(Some(keyring), NO_REQUEST, message)
            }
            Route::Pass if look.role != Role::User => unprotected(message),
            Route::Pass | Route::Keyring(_) | Route::Reply(_) => {
                self.by_what_was_asked(look.route, message)
            }
        }
    }

    /// Decides on a subject that a request of the client may have named as its reply subject.
    fn by_what_was_asked(&self, route: Route, message: &Message<'_>) -> Fate {
        let sealed = is_envelope(message.payload);
        if !self.policy.protects_anything() {
            return Fate::Pass;
        }
        let replies = &self.link.replies;
        // A push consumer of the client's sends statuses to its deliver subject, as a pull does to its reply subject.
        let pushes = || route != Route::Pass && replies.is_pushed_to(message.subject, self.now);
        let asked = self.asked(message).or_else(|| pushes().then_some(&PUSHED));
        match (asked, route) {
            (Some(asked), _) if sealed => self.of_sealed_answer(asked, route.covering(), message),
            (Some(asked), _) => self.of_plain_answer(asked, route.covering(), message),
            (None, Route::Keyring(keyring)) if sealed => {
                self.of_sealed(Some(keyring), NO_REQUEST, message)
            }
            (None, Route::Keyring(keyring)) => self.of_plaintext(keyring, message),
            (None, Route::Reply(covering)) if sealed => self.of_unasked(covering, message),
            (None, Route::Reply(covering)) => self.of_unasked_plaintext(covering, message),
            (None, Route::Pass) => unprotected(message),
        }
    }

    /// The keyring of the subject, or of a stored message in the content, if the client may not receive its messages, whatever it
    /// has asked for. Statuses are the server's own.
    fn closed(&self, look: Look, message: &Message<'_>) -> Option<KeyringId> {
        if !self.deaf.any() {
            return None;
        }
        let headers = message.headers.unwrap_or_default();
        if message.payload.is_empty() && header::has_status(headers) {
            return None;
        }
        let own = look.route.keyring();
        let own = own.filter(|keyring| self.deaf.has(*keyring));
        own.or_else(|| self.revealed(headers, message))
    }

    /// The keyring of a stored message in headers or payload that the client may not receive.
    fn revealed(&self, headers: &[u8], message: &Message<'_>) -> Option<KeyringId> {
        let (policy, deaf) = (self.policy, self.deaf);
        let shut = Shut { policy, deaf };
        let payload = message.payload;
        // To a client without headers nothing says which subject a stored message has.
        let is_bare = self.link.client == Reads::Payloads && message.headers.is_none();
        if is_bare && !payload.is_empty() && !is_envelope(payload) {
            return deaf.first();
        }
        let asked = self.asked(message);
        // The payload is checked when it is opened: the answer becomes an error there.
        if asked.is_some_and(|asked| asked.is_only(Class::Message)) {
            return shut.named_in(headers);
        }
        shut.revealed(headers, payload)
    }

    /// Whether the answer would be published on a system subject, where nothing is sealed. Anybody on the bus can replay a sealed
    /// request, or send an empty one, with such a reply subject. Honest messages have one for two purposes only:
    /// acknowledgements, which the server lets no client name, and flow control.
    fn draws_plaintext(&self, look: Look, message: &Message<'_>) -> bool {
        let clear = |reply: &[u8]| !reply.starts_with(FROM_STREAM) && self.policy.is_system(reply);
        let Some(reply) = message.reply.filter(|reply| clear(reply)) else {
            return false;
        };
        if !message.payload.is_empty() {
            return is_envelope(message.payload);
        }
        let status = message.headers.is_some_and(header::has_status);
        let strict = look
            .route
            .keyring()
            .is_some_and(|keyring| !self.shared.accepts_plaintext(self.policy, keyring));
        strict && !(status && reply.starts_with(FLOW_CONTROL))
    }

    /// Withholds a message that a consumer sends to a subscription whose filter does not match the message's subject, where the
    /// client did not ask for that. Anybody who may create consumers or pull can direct stored messages of their own to a
    /// subscription on which the client awaits an answer, another stream's messages, or those of a protected subject. Many
    /// clients ignore the subject there.
    fn sent_elsewhere(&self, look: Look, message: &Message<'_>) -> Option<Fate> {
        let reply = message
            .reply
            .filter(|reply| reply.starts_with(FROM_STREAM))?;
        if !self.policy.protects_anything() {
            return None;
        }
        let delivery = Delivery::of(reply);
        let stream = delivery.map_or(&b""[..], |delivery| delivery.stream);
        let replies = &self.link.replies;
        let on = replies.comes_elsewhere(message.sid, (stream, message.subject), self.now)?;
        let covered = look.route.covering().is_some();
        let unprotected = !covered && !is_bound(message.payload);
        if let Some(keyring) = on.keyring
            && unprotected
            && !self.shared.accepts_plaintext(self.policy, keyring)
        {
            let seals_empty = |rule: &Rule| rule.empty == Empty::Seal;
            if !message.payload.is_empty() {
                return Some(Fate::Withhold(Some(keyring), Cause::Plaintext));
            }
            if self.rule(keyring).is_some_and(seals_empty) {
                return Some(Fate::Withhold(Some(keyring), Cause::Empty));
            }
        }
        let awaits_answer = on.asked.is_some_and(|asked| {
            asked.is(Class::Protected) && !asked.is_any(&[Class::Pull, Class::Open])
        });
        let unasked = awaits_answer || !on.is_expected;
        unasked.then(|| Fate::Withhold(look.route.keyring(), Cause::Answer))
    }

    fn of_empty(&self, look: Look, message: &Message<'_>) -> Fate {
        let headers = message.headers.unwrap_or_default();
        let asked = || self.asked(message);
        if !header::has_status(headers) && asked().is_some_and(wants_no_headers) {
            return Fate::PassBare;
        }
        let pulled = || {
            let is_pull = |asked: &Asked| asked.is(Class::Pull);
            self.policy.protects_anything() && asked().is_some_and(is_pull)
        };
        if meaning::pending(message).is_some() && pulled() {
            return Fate::NarrowPending;
        }
        if jetstream::exceeded(headers, OVERHEAD).is_some() && pulled() {
            return Fate::NarrowExceeded;
        }
        let ends = self.link.replies.ends_batch(message.subject, self.now);
        if ends && header::has_status(headers) && header::written_by_direct_get(headers).is_none() {
            return Fate::EndBatch;
        }
        let Route::Keyring(keyring) = look.route else {
            return Fate::Pass;
        };
        if meaning::stored_size(message).is_some() {
            return Fate::NarrowSize;
        }
        let strict = self
            .rule(keyring)
            .is_some_and(|rule| rule.empty == Empty::Seal)
            && !self.shared.accepts_plaintext(self.policy, keyring);
        if strict && !meaning::has_meaning(headers) && asked().is_none() {
            return Fate::Withhold(Some(keyring), Cause::Empty);
        }
        Fate::Pass
    }

    /// Decides about plaintext on a subject of this keyring that answers no request.
    pub(super) fn of_plaintext(&self, keyring: KeyringId, message: &Message<'_>) -> Fate {
        if self.shared.accepts_plaintext(self.policy, keyring) {
            if self.deaf.has(keyring) {
                return Fate::Withhold(Some(keyring), Cause::Identity);
            }
            return Fate::Accept(keyring);
        }
        Fate::Withhold(Some(keyring), cause_of(message.payload))
    }

    /// Decides about an envelope on a subject of this keyring, or of any. One that answers a request opens for the requester
    /// alone.
    pub(super) fn of_sealed(
        &self,
        keyring: Option<KeyringId>,
        requests: [Option<EnvelopeId>; 2],
        message: &Message<'_>,
    ) -> Fate {
        if requests == NO_REQUEST && keyring::flags(message.payload).has(Flags::ANSWER) {
            return Fate::Withhold(keyring, Cause::Answer);
        }
        Fate::Open(Opening {
            expected: [keyring, None],
            requests,
            from: From::Publisher,
            or: Otherwise::Withhold,
        })
    }

    /// Decides about an envelope on an inbox for which no request is known. Bound to the inbox, it was sealed for its reader;
    /// bound to a keyring alone, it may be any message that was replayed there.
    fn of_unasked(&self, covering: Option<KeyringId>, message: &Message<'_>) -> Fate {
        let bound = keyring::flags(message.payload).has(Flags::BOUND);
        self.of_sealed(covering.filter(|_| !bound), NO_REQUEST, message)
    }

    pub(super) fn asked(&self, message: &Message<'_>) -> Option<&Asked> {
        self.link.replies.asked(message.subject, self.now)
    }

    pub(super) fn rule(&self, keyring: KeyringId) -> Option<&Rule> {
        self.policy.keyring(keyring)
    }
}

/// Whether all requests on a reply subject asked for messages without headers.
pub(super) fn wants_no_headers(asked: &Asked) -> bool {
    asked.is(Class::DirectBare) && !asked.is_any(&[Class::Direct, Class::Protected, Class::Open])
}

/// Decides on an unprotected subject: an envelope that is bound to its subject is opened if that is possible; all else passes,
/// also what only begins like an envelope, as one random payload in 65,536 does.
pub(super) fn unprotected(message: &Message<'_>) -> Fate {
    if is_bound(message.payload) {
        Fate::Open(Opening {
            expected: [None; 2],
            requests: NO_REQUEST,
            from: From::Publisher,
            or: Otherwise::Pass,
        })
    } else {
        Fate::Pass
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
