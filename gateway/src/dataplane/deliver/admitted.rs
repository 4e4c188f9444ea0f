//! What may answer a request of the client's, by what it has asked.
//!
//! | asked | plaintext that may answer | an envelope |
//! |---|---|---|
//! | JetStream's API | an API response | no |
//! | the configuration of a stream, a list of them | the same, its sizes narrowed | no |
//! | `STREAM.MSG.GET` | the same, its message opened or withheld by its own subject | no |
//! | a direct get | with the headers that the server appends: what the subject there says | likewise |
//! | a consumer (`CONSUMER.MSG.NEXT`, `+NXT`) | none: messages come on their own subjects | one that a stream delivers |
//! | the server (`$SYS`) | anything | if it opens for the subject |
//! | every client of the account (`$SRV`) | a JSON object | the same |
//! | a backup, where its chunks go | anything: they are pieces of a compressed stream | no |
//! | a trace (`Nats-Trace-Dest`) | a trace event | no |
//! | agents, on a subject that nobody protects | anything | if it opens for the subject |
//! | agents or a stream, on a protected subject | an acknowledgement of a publish, if the keyring admits it | under that keyring; bound to the request (an empty one: to being empty), or to none |
//! | the same, by what may be JetStream's API under a prefix that is not named | the same; in place of an API response an error that says so | the same |
//!
//! Statuses and empty messages may answer anything. Whoever may publish to an inbox can write whatever may come there: where the server
//! answers, its form is all that is known of it.

use crate::dataplane::replies::{Asked, Class};
use crate::envelope::Flags;
use crate::keyring;
use crate::metrics::Cause;
use crate::policy::{Answers, KeyringId};
use crate::wire::{self, Message, header, jetstream};

use super::fate::{
    Fate, From, Judge, NO_REQUEST, Opening, Otherwise, is_envelope, unprotected, wants_no_headers,
};

/// How the reply subjects begin that acknowledge the chunks of a backup.
pub(super) const CHUNK: &[u8] = b"$JS.SNAPSHOT.";

const DIRECT: [Class; 2] = [Class::Direct, Class::DirectBare];

impl Judge<'_> {
    /// An envelope on a reply subject on which this was asked; `covering` would seal it if nothing else were known.
    pub(super) fn of_sealed_answer(
        &self,
        asked: &Asked,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        if asked.is_any(&DIRECT)
            && let Some(fate) = self.of_stored(asked, message)
        {
            return fate;
        }
        if asked.is(Class::Protected) {
            return self.of_sealed_to(asked, covering, message);
        }
        if asked.is_any(&[Class::Open, Class::Server, Class::Services]) {
            return match covering {
                Some(_) => self.of_sealed(None, NO_REQUEST, message),
                None => unprotected(message),
            };
        }
        let from_stream = jetstream::Delivery::of(message.reply.unwrap_or_default()).is_some();
        if asked.is(Class::Pull) && from_stream {
            return self.of_sealed(None, NO_REQUEST, message);
        }
        Fate::Withhold(covering, Cause::Answer)
    }

    /// An envelope that answers a request on a protected subject. A responder seals under the request's keyring, and binds to the
    /// request: who holds another, or answers another, must not answer in its place.
    fn of_sealed_to(
        &self,
        asked: &Asked,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        let keyring = asked.keyring();
        let only_acknowledged = keyring
            .and_then(|keyring| self.rule(keyring))
            .is_some_and(|rule| rule.answers == Answers::PubAck);
        if only_acknowledged {
            return Fate::Withhold(keyring, Cause::Answer);
        }
        let answers = keyring::flags(message.payload).has(Flags::ANSWER);
        let requests = if answers {
            asked.requests()
        } else {
            NO_REQUEST
        };
        let fate = self.of_sealed(keyring, requests, message);
        let Fate::Open(opening) = fate else {
            return fate;
        };
        // Who publishes on a subject that a keyring covers by itself may do so whatever was asked.
        let other = covering.filter(|_| !answers && keyring.is_some());
        Fate::Open(Opening {
            expected: [keyring, other],
            ..opening
        })
    }

    /// Plaintext on a reply subject on which this was asked.
    pub(super) fn of_plain_answer(
        &self,
        asked: &Asked,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        let payload = message.payload;
        if asked.is_any(&[Class::Open, Class::Server, Class::Snapshot]) {
            return Fate::Pass;
        }
        if asked.is_any(&DIRECT)
            && let Some(fate) = self.of_stored(asked, message)
        {
            return fate;
        }
        if asked.is(Class::Message) {
            return Fate::OpenStored;
        }
        let api = || jetstream::is_api_response(payload);
        if asked.is(Class::Config) && api() {
            return Fate::NarrowConfig;
        }
        if asked.is(Class::Consumer) && api() {
            return Fate::NarrowLimits;
        }
        let comes = asked.is(Class::Api) && api()
            || asked.is(Class::Services) && wire::is_object(payload)
            || asked.is(Class::Trace) && jetstream::is_trace_event(payload);
        if comes {
            return Fate::Pass;
        }
        let keyring = asked.keyring().or(covering);
        match keyring {
            Some(keyring) if asked.is(Class::Protected) && self.admits(keyring, message) => {
                Fate::Pass
            }
            Some(keyring) => {
                let fate = self.of_plaintext(keyring, message);
                let is_lost = matches!(fate, Fate::Withhold(_, Cause::Plaintext));
                let may_be_api = asked.is(Class::Foreign) && message.reply.is_none();
                // Of what came, the client is given nothing.
                if is_lost && may_be_api && api() {
                    Fate::Unnamed(keyring)
                } else {
                    fate
                }
            }
            None => Fate::Withhold(None, Cause::Answer),
        }
    }

    /// Plaintext on an inbox on which nothing was asked, as far as is known: an acknowledgement may be late.
    pub(super) fn of_unasked_plaintext(
        &self,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        match covering {
            Some(keyring) if !self.admits(keyring, message) => self.of_plaintext(keyring, message),
            Some(_) | None => Fate::Pass,
        }
    }

    /// Whether a keyring lets this be the acknowledgement of a publish.
    fn admits(&self, keyring: KeyringId, message: &Message<'_>) -> bool {
        self.rule(keyring).is_some_and(|rule| {
            rule.answers != Answers::Sealed && jetstream::is_acknowledgement(message.payload)
        })
    }

    /// The answer to a direct get: what its own subject says of it. `None` when the server has not written what it is, and it answers
    /// something else, if anything.
    fn of_stored(&self, asked: &Asked, message: &Message<'_>) -> Option<Fate> {
        let headers = message.headers.unwrap_or_default();
        let stored = header::written_by_direct_get(headers)?;
        let keyring = self.policy.route(stored.subject).covering();
        let other = asked
            .named()
            .is_some_and(|named| named != self.link.replies.name(stored.subject));
        if other {
            return Some(Fate::Withhold(keyring, Cause::Answer));
        }
        let bare = wants_no_headers(asked);
        let pass = if bare { Fate::PassBare } else { Fate::Pass };
        if !is_envelope(message.payload) {
            let judged = keyring.map(|keyring| self.of_plaintext(keyring, message));
            return Some(match judged {
                Some(fate) if !matches!(fate, Fate::Accept(_)) || !bare => fate,
                Some(_) | None => pass,
            });
        }
        let bound = keyring::flags(message.payload).has(Flags::BOUND);
        if keyring.is_none() && !bound {
            return Some(pass);
        }
        Some(Fate::Open(Opening {
            expected: [keyring, None],
            requests: NO_REQUEST,
            from: if bare { From::StreamBare } else { From::Stream },
            or: match keyring {
                Some(_) => Otherwise::Withhold,
                None => Otherwise::Pass,
            },
        }))
    }
}
