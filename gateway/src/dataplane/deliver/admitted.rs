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

use crate::dataplane::replies::{Asked, Class};
use crate::envelope::Flags;
use crate::keyring;
use crate::metrics::Cause;
use crate::policy::{Answers, KeyringId};
use crate::wire::{self, Message, header, jetstream};

use super::fate::{
    Fate, From, Judge, NO_REQUEST, Opening, Otherwise, is_envelope, unprotected, wants_no_headers,
};

/// The prefix of the reply subjects on which the chunks of a snapshot are acknowledged.
pub(super) const CHUNK: &[u8] = b"$JS.SNAPSHOT.";

const DIRECT: [Class; 2] = [Class::Direct, Class::DirectBare];

impl Judge<'_> {
    /// Decides about an envelope on the reply subject of these requests. `covering` is the keyring of the subject itself.
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

    /// Decides about an envelope that answers a request on a protected subject. It must be sealed under the request's keyring and
    /// bound to the request, so that nobody with another keyring, and no answer to another request, can take its place.
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
        // An ordinary publish under the keyring of the subject itself is admitted, too.
        let other = covering.filter(|_| !answers && keyring.is_some());
        Fate::Open(Opening {
            expected: [keyring, other],
            ..opening
        })
    }

    /// Decides about plaintext on the reply subject of these requests.
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
                // The client gets an error in place of the response, nothing of its content.
                if is_lost && may_be_api && api() {
                    Fate::Unnamed(keyring)
                } else {
                    fate
                }
            }
            None => Fate::Withhold(None, Cause::Answer),
        }
    }

    /// Decides about plaintext on an inbox for which no request is known: it may be a late acknowledgement.
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

    /// Whether the keyring admits plaintext acknowledgements of publishes, and this is one.
    fn admits(&self, keyring: KeyringId, message: &Message<'_>) -> bool {
        self.rule(keyring).is_some_and(|rule| {
            rule.answers != Answers::Sealed && jetstream::is_acknowledgement(message.payload)
        })
    }

    /// Decides about the answer to a direct get by the subject in its headers. `None` without the server's headers: then it
    /// answers another request, if any.
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
