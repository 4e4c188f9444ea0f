//! What may answer a request of the client, by the class of the request.
//!
//! | request to | plaintext that may answer | an envelope |
//! |---|---|---|
//! | JetStream's API | an API response | no |
//! | the configuration of a stream, a list of them | the same, its sizes narrowed | no |
//! | `STREAM.MSG.GET` | the same, its message opened or withheld by its own subject | no |
//! | a direct get | with the headers that the server appends: as the subject in them decides | likewise |
//! | a consumer (`CONSUMER.MSG.NEXT`, `+NXT`) | none: messages come on their own subjects | one that a stream delivers |
//! | the server (`$SYS`) | anything | if it opens for the subject |
//! | every client of the account (`$SRV`) | a JSON object | the same |
//! | a snapshot, where its chunks go | anything: they are pieces of a compressed stream | no |
//! | a trace (`Nats-Trace-Dest`) | a trace event | no |
//! | clients, on an unprotected subject | anything | if it opens for the subject |
//! | clients or a stream, on a protected subject | an acknowledgement of a publish, if the keyring admits it | under that keyring; bound to the request (an empty one: to being empty), or to none |
//! | the same, where it may be JetStream's API under a prefix that is not configured | the same; in place of an API response an error that says so | the same |
//!
//! Statuses and empty messages may answer any request. Anybody who may publish to an inbox can forge what is accepted there: of
//! an answer of the server only the form can be checked.

use crate::dataplane::replies::{Class, PublishedRequest};
use crate::envelope::Flags;
use crate::metrics::Cause;
use crate::policy::{Answers, KeyringId};
use crate::wire::{self, header, jetstream};

use super::decision::{
    Decision, DecisionContext, EnvelopeSource, NO_REQUEST, OnFailure, Opening, decide_unprotected,
    is_envelope, wants_no_headers,
};

/// The prefix of the reply subjects on which the chunks of a snapshot are acknowledged.
pub(super) const SNAPSHOT_ACK: &[u8] = b"$JS.SNAPSHOT.";

const DIRECT: [Class; 2] = [Class::DirectGet, Class::DirectGetNoHeaders];

impl DecisionContext<'_> {
    /// Decides about an envelope on the reply subject of these requests.
    pub(super) fn decide_sealed_answer(&self, asked: &PublishedRequest) -> Decision {
        if asked.is_any(&DIRECT)
            && let Some(decision) = self.decide_direct_get_answer(asked)
        {
            return decision;
        }
        if asked.is(Class::Protected) {
            return self.decide_protected_answer(asked);
        }
        if asked.is_any(&[Class::Unprotected, Class::Server, Class::Services]) {
            return match self.covering_keyring() {
                Some(_) => self.decide_sealed(None, NO_REQUEST),
                None => decide_unprotected(self.message),
            };
        }
        let from_stream = jetstream::Delivery::of(self.message.reply.unwrap_or_default()).is_some();
        if asked.is(Class::Pull) && from_stream {
            return self.decide_sealed(None, NO_REQUEST);
        }
        Decision::Withhold(self.covering_keyring(), Cause::Answer)
    }

    /// Decides about an envelope that answers a request on a protected subject. It must be sealed under the request's keyring and
    /// bound to the request, so that nobody with another keyring, and no answer to another request, can take its place.
    fn decide_protected_answer(&self, asked: &PublishedRequest) -> Decision {
        let keyring = asked.keyring();
        let rule = keyring.and_then(|keyring| self.policy.keyring(keyring));
        if rule.is_some_and(|rule| rule.answers == Answers::PubAck) {
            return Decision::Withhold(keyring, Cause::Answer);
        }
        let answers = self.has(Flags::ANSWER);
        let requests = if answers {
            asked.requests()
        } else {
            NO_REQUEST
        };
        let decision = self.decide_sealed(keyring, requests);
        let Decision::Open(opening) = decision else {
            return decision;
        };
        // An ordinary publish under the keyring of the subject itself is admitted, too.
        let other = self.covering_keyring();
        let other = other.filter(|_| !answers && keyring.is_some());
        Decision::Open(Opening {
            expected: [keyring, other],
            ..opening
        })
    }

    /// Decides about plaintext on the reply subject of these requests.
    pub(super) fn decide_plaintext_answer(&self, asked: &PublishedRequest) -> Decision {
        let payload = self.message.payload;
        if asked.is_any(&[Class::Unprotected, Class::Server, Class::StreamSnapshot]) {
            return Decision::Pass;
        }
        if asked.is_any(&DIRECT)
            && let Some(decision) = self.decide_direct_get_answer(asked)
        {
            return decision;
        }
        if asked.is(Class::MsgGet) {
            return Decision::OpenStored;
        }
        let api = || jetstream::is_api_response(payload);
        if asked.is(Class::StreamConfig) && api() {
            return Decision::NarrowConfig;
        }
        if asked.is(Class::Consumer) && api() {
            return Decision::NarrowLimits;
        }
        let comes = asked.is(Class::Api) && api()
            || asked.is(Class::Services) && wire::is_object(payload)
            || asked.is(Class::Trace) && jetstream::is_trace_event(payload);
        if comes {
            return Decision::Pass;
        }
        let keyring = asked.keyring().or_else(|| self.covering_keyring());
        match keyring {
            Some(keyring) if asked.is(Class::Protected) && self.admits_plaintext_ack(keyring) => {
                Decision::Pass
            }
            Some(keyring) => {
                let decision = self.decide_plaintext(keyring);
                let is_lost = matches!(decision, Decision::Withhold(_, Cause::Plaintext));
                let may_be_api = asked.is(Class::UnknownApiPrefix) && self.message.reply.is_none();
                // The client gets an error in place of the response, nothing of its content.
                if is_lost && may_be_api && api() {
                    Decision::UnknownApiPrefix(keyring)
                } else {
                    decision
                }
            }
            None => Decision::Withhold(None, Cause::Answer),
        }
    }

    /// Decides about plaintext on an inbox for which no request is known: it may be a late acknowledgement.
    pub(super) fn decide_unrequested_plaintext(&self) -> Decision {
        match self.covering_keyring() {
            Some(keyring) if !self.admits_plaintext_ack(keyring) => self.decide_plaintext(keyring),
            Some(_) | None => Decision::Pass,
        }
    }

    /// Whether the keyring admits plaintext acknowledgements of publishes, and this is one.
    fn admits_plaintext_ack(&self, keyring: KeyringId) -> bool {
        let rule = self.policy.keyring(keyring);
        rule.is_some_and(|rule| rule.answers != Answers::Sealed)
            && jetstream::is_pub_ack(self.message.payload)
    }

    /// Decides about the answer to a direct get by the subject in its headers. `None` without the server's headers: then it
    /// answers another request, if any.
    fn decide_direct_get_answer(&self, asked: &PublishedRequest) -> Option<Decision> {
        let headers = self.message.headers.unwrap_or_default();
        let stored = header::direct_get_headers(headers)?;
        let keyring = self.policy.route(stored.subject).covering_keyring();
        let other = asked
            .named()
            .is_some_and(|named| named != self.state.replies.short_hash(stored.subject));
        if other {
            return Some(Decision::Withhold(keyring, Cause::Answer));
        }
        let bare = wants_no_headers(asked);
        let pass = if bare {
            Decision::PassWithoutHeaders
        } else {
            Decision::Pass
        };
        if !is_envelope(self.message.payload) {
            let judged = keyring.map(|keyring| self.decide_plaintext(keyring));
            return Some(match judged {
                Some(decision) if !matches!(decision, Decision::Accept(_)) || !bare => decision,
                Some(_) | None => pass,
            });
        }
        if keyring.is_none() && !self.has(Flags::BOUND) {
            return Some(pass);
        }
        Some(Decision::Open(Opening {
            expected: [keyring, None],
            requests: NO_REQUEST,
            from: if bare {
                EnvelopeSource::StreamNoHeaders
            } else {
                EnvelopeSource::Stream
            },
            on_failure: match keyring {
                Some(_) => OnFailure::Withhold,
                None => OnFailure::Pass,
            },
        }))
    }
}
