//! What becomes of a delivered message, before any key is touched.

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

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client gets it as it is.
    Pass,
    /// The same, of a stored message, whose headers the client does not want.
    PassBare,
    /// The client gets it as it is, although it is plaintext on a subject of this keyring: a migration.
    Accept(KeyringId),
    /// The client gets the plaintext.
    Open(Opening),
    /// A stored message in JSON: what is sealed in it is opened.
    OpenStored,
    /// The configuration of streams in JSON: its sizes become those of plaintext.
    NarrowConfig,
    /// The configuration of consumers in JSON: the most that a pull may ask for becomes that of plaintext.
    NarrowLimits,
    /// The payload was left out by the server, and its size becomes that of the plaintext.
    NarrowSize,
    /// The status of a pull that asks for more than its consumer allows: the limit becomes what the client may ask for.
    NarrowExceeded,
    /// The status of a pull, whose bytes become those that the client asked for.
    NarrowPending,
    /// The client gets an error in its place: JetStream was asked under a prefix that the configuration does not name, and the request
    /// was sealed under this keyring.
    Unnamed(KeyringId),
    /// The end of a direct get of several messages.
    EndBatch,
    /// The client does not get it.
    Withhold(Option<KeyringId>, Cause),
}

/// How an envelope is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// The keyring that must have sealed it, or one of several; with none, any may have, if the envelope is bound to its subject.
    pub(super) expected: [Option<KeyringId>; 2],
    /// The requests of this connection's of which it answers one, if it answers any.
    pub(super) requests: [Option<EnvelopeId>; 2],
    /// Where it comes from.
    pub(super) from: From,
    pub(super) or: Otherwise,
}

/// What may come where a consumer pushes, besides what is stored.
const PUSHED: Asked = Asked::of(Class::Pull);

/// It answers no request.
pub(super) const NO_REQUEST: [Option<EnvelopeId>; 2] = [None; 2];

/// Where an envelope comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Its publisher, on the subject that it is delivered on.
    Publisher,
    /// A stream, in the answer to a direct get: its subject is in the headers that the server has appended.
    Stream,
    /// The same, and the client does not want the headers.
    StreamBare,
}

/// What becomes of an envelope that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// On a subject that nobody protects, it may be anything.
    Pass,
    Withhold,
}

/// What a decision depends on besides the message.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) shared: &'a Shared,
    pub(super) policy: &'a Policy,
    pub(super) link: &'a Link,
    /// The keyrings whose messages the client may not get.
    pub(super) deaf: &'a Barred,
    pub(super) now: Instant,
}

impl Judge<'_> {
    /// Empties pass, envelopes are opened, plaintext on a protected subject is withheld unless it answers what the client itself
    /// asked. A status line changes nothing: whoever can publish can write one.
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
            // Nobody is asked for an answer there.
            Route::Keyring(keyring) if look.work().is_some() && is_envelope(message.payload) => {
                self.of_sealed(Some(keyring), NO_REQUEST, message)
            }
            Route::Pass if look.role != Role::User => unprotected(message),
            Route::Pass | Route::Keyring(_) | Route::Reply(_) => {
                self.by_what_was_asked(look.route, message)
            }
        }
    }

    /// On a subject that may have been named for an answer.
    fn by_what_was_asked(&self, route: Route, message: &Message<'_>) -> Fate {
        let sealed = is_envelope(message.payload);
        if !self.policy.protects_anything() {
            return Fate::Pass;
        }
        let replies = &self.link.replies;
        // Where a consumer of the client's pushes, its statuses come, as where it is pulled from.
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

    /// The keyring of the subject, or of that which a stored message has, if it is not for this client, whatever the client has asked
    /// for. A status is the server's own.
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

    /// A stored message that is not for this client, whatever it comes for.
    fn revealed(&self, headers: &[u8], message: &Message<'_>) -> Option<KeyringId> {
        let (policy, deaf) = (self.policy, self.deaf);
        let shut = Shut { policy, deaf };
        let payload = message.payload;
        // The server leaves headers out, and nothing says whose it is.
        let is_bare = self.link.client == Reads::Payloads && message.headers.is_none();
        if is_bare && !payload.is_empty() && !is_envelope(payload) {
            return deaf.first();
        }
        let asked = self.asked(message);
        // The answer becomes an error where it is not for this client.
        if asked.is_some_and(|asked| asked.is_only(Class::Message)) {
            return shut.named_in(headers);
        }
        shut.revealed(headers, payload)
    }

    /// Whether an answer to it would be published where nothing is ever sealed. Anybody on the bus can send a sealed request again with
    /// such a reply subject, or an empty one; but for acknowledgements, which no client may name, and flow control, nobody else does.
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

    /// What a consumer sends to a subscription, under the subject that it is stored under, where it must not come. Whoever may create
    /// consumers or pull can have one send what is stored on a subject of their own to where the client waits for an answer, or for what
    /// another stream holds, or for what is published on a protected subject. Many clients do not look at the subject of what comes there.
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

    /// Plaintext on a subject of this keyring, which the client did not ask for.
    pub(super) fn of_plaintext(&self, keyring: KeyringId, message: &Message<'_>) -> Fate {
        if self.shared.accepts_plaintext(self.policy, keyring) {
            if self.deaf.has(keyring) {
                return Fate::Withhold(Some(keyring), Cause::Identity);
            }
            return Fate::Accept(keyring);
        }
        Fate::Withhold(Some(keyring), cause_of(message.payload))
    }

    /// An envelope on a subject of this keyring, or of any. What answers a request opens for nobody else.
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

    /// An envelope on an inbox on which nothing was asked, as far as is known. What is bound to the inbox was sealed for whoever reads
    /// it; what is bound to a keyring alone may be anything that somebody had the client pass on.
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

/// Whether all that was asked on a reply subject wants messages without headers.
pub(super) fn wants_no_headers(asked: &Asked) -> bool {
    asked.is(Class::DirectBare) && !asked.is_any(&[Class::Direct, Class::Protected, Class::Open])
}

/// What is an envelope is opened where it can be; the rest is plaintext, also what only begins like one: one random payload in 65,536
/// does. What is bound to a keyring alone is none of this subject's.
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

/// Whether it is an envelope that is bound to its subject.
fn is_bound(payload: &[u8]) -> bool {
    keyring::flags(payload).has(Flags::BOUND)
}

pub(super) fn is_envelope(payload: &[u8]) -> bool {
    looks_sealed(payload) && Header::parse(payload).is_ok()
}

/// Why what is no envelope is withheld.
pub(super) fn cause_of(payload: &[u8]) -> Cause {
    if looks_sealed(payload) {
        Cause::BadEnvelope
    } else {
        Cause::Plaintext
    }
}
