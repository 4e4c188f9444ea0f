//! What becomes of a delivered message (R41), before any key is touched.

use std::time::Instant;

use crate::dataplane::identity::Barred;
use crate::dataplane::link::Link;
use crate::dataplane::meaning;
use crate::dataplane::replies::{Asked, FROM_STREAM};
use crate::dataplane::worker::Shared;
use crate::envelope::{Header, looks_sealed};
use crate::metrics::Cause;
use crate::policy::{Answers, Empty, KeyringId, Look, Policy, Role, Route, Rule};
use crate::wire::{Message, header, jetstream};

/// The reply subject of a stream's flow control, which comes as a status.
const FLOW_CONTROL: &[u8] = b"$JS.FC.";

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client gets it as it is.
    Pass,
    /// The same, although it is plaintext on a subject of this keyring: a migration.
    Accept(KeyringId),
    /// The client gets the plaintext.
    Open {
        /// Only this keyring's versions may have sealed it.
        expected: Option<KeyringId>,
        or: Otherwise,
    },
    /// A stored message in JSON: what is sealed in it is opened.
    OpenStored,
    /// The configuration of streams in JSON: its sizes become those of plaintext.
    NarrowConfig,
    /// The payload was left out by the server, and its size becomes that of the plaintext.
    NarrowSize,
    /// The client does not get it.
    Withhold(Option<KeyringId>, Cause),
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
        if message.payload.is_empty() {
            return self.of_empty(look, message);
        }
        match look.route {
            Route::Keyring(keyring) if is_envelope(message.payload) => {
                let unwelcome = self.policy.awaits_acknowledgements()
                    && self.admits_no_envelope(self.asked(message));
                if unwelcome {
                    return Fate::Withhold(Some(keyring), Cause::Answer);
                }
                open(Some(keyring))
            }
            Route::Keyring(keyring) => match self.asked(message) {
                Some(asked) => self.of_plain_answer(Some(asked), Some(keyring), message),
                None => self.of_plaintext(keyring, message),
            },
            Route::Reply(covering) => self.of_answer(self.asked(message), covering, message),
            Route::Pass if look.role == Role::User => match self.asked(message) {
                // An inbox of the client's own naming.
                Some(asked) => self.of_answer(Some(asked), None, message),
                None => unprotected(message),
            },
            Route::Pass => unprotected(message),
        }
    }

    /// The keyring of the subject, if it is not for this client, whatever the client has asked for. A status is the server's own.
    fn closed(&self, look: Look, message: &Message<'_>) -> Option<KeyringId> {
        if !self.deaf.any() {
            return None;
        }
        let status = message.payload.is_empty() && message.headers.is_some_and(header::has_status);
        let keyring = look.route.keyring().filter(|_| !status);
        keyring.filter(|keyring| self.deaf.has(*keyring))
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

    fn of_empty(&self, look: Look, message: &Message<'_>) -> Fate {
        let Route::Keyring(keyring) = look.route else {
            return Fate::Pass;
        };
        let headers = message.headers.unwrap_or_default();
        if meaning::stored_size(headers).is_some() {
            return Fate::NarrowSize;
        }
        let strict = self
            .rule(keyring)
            .is_some_and(|rule| rule.empty == Empty::Seal)
            && !self.shared.accepts_plaintext(self.policy, keyring);
        if strict && !meaning::has_meaning(headers) && self.asked(message).is_none() {
            return Fate::Withhold(Some(keyring), Cause::Empty);
        }
        Fate::Pass
    }

    /// Plaintext on a subject of this keyring, which the client did not ask for.
    fn of_plaintext(&self, keyring: KeyringId, message: &Message<'_>) -> Fate {
        if self.shared.accepts_plaintext(self.policy, keyring) {
            if self.deaf.has(keyring) {
                return Fate::Withhold(Some(keyring), Cause::Identity);
            }
            return Fate::Accept(keyring);
        }
        Fate::Withhold(Some(keyring), cause_of(message.payload))
    }

    /// A message on a reply subject; `covering` would seal it if nothing else were known.
    fn of_answer(
        &self,
        asked: Option<&Asked>,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        if !is_envelope(message.payload) {
            return self.of_plain_answer(asked, covering, message);
        }
        match asked {
            _ if self.admits_no_envelope(asked) => Fate::Withhold(covering, Cause::Answer),
            Some(Asked::Open) => unprotected(message),
            // A responder seals under the request's keyring; who holds another must not answer in its place.
            Some(Asked::Protected(keyring)) => open(Some(*keyring)),
            Some(Asked::Server | Asked::Stored(_) | Asked::Message(_) | Asked::Config) | None => {
                open(None)
            }
        }
    }

    fn of_plain_answer(
        &self,
        asked: Option<&Asked>,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        let admits = |keyring: KeyringId| {
            self.rule(keyring).is_some_and(|rule| {
                rule.answers != Answers::Sealed && jetstream::is_acknowledgement(message.payload)
            })
        };
        match asked {
            Some(Asked::Server | Asked::Open) => Fate::Pass,
            Some(Asked::Message(_)) => Fate::OpenStored,
            Some(Asked::Config) => Fate::NarrowConfig,
            Some(Asked::Stored(named)) => {
                self.of_stored(named.as_ref().map(|named| &***named), covering, message)
            }
            Some(Asked::Protected(keyring)) if admits(*keyring) => Fate::Pass,
            Some(Asked::Protected(keyring)) => self.of_plaintext(*keyring, message),
            // Nobody asked, as far as is known: an acknowledgement may be late.
            None => match covering {
                Some(keyring) if !admits(keyring) => self.of_plaintext(keyring, message),
                Some(_) | None => Fate::Pass,
            },
        }
    }

    /// Plaintext from a stream, in the answer to a direct get: what its own subject says of it.
    fn of_stored(
        &self,
        named: Option<&[u8]>,
        covering: Option<KeyringId>,
        message: &Message<'_>,
    ) -> Fate {
        let headers = message.headers.unwrap_or_default();
        let of = |subject: &[u8]| self.policy.route(subject).covering();
        // What was asked for decides, whatever the answer says of itself.
        let keyring = named.and_then(of).or_else(|| {
            let shown = header::get(headers, b"Nats-Subject").or(named);
            shown.map_or(covering, of)
        });
        keyring.map_or(Fate::Pass, |keyring| self.of_plaintext(keyring, message))
    }

    fn admits_no_envelope(&self, asked: Option<&Asked>) -> bool {
        let Some(Asked::Protected(keyring)) = asked else {
            return false;
        };
        self.rule(*keyring)
            .is_some_and(|rule| rule.answers == Answers::PubAck)
    }

    fn asked(&self, message: &Message<'_>) -> Option<&Asked> {
        self.link.replies.asked(message.subject, self.now)
    }

    fn rule(&self, keyring: KeyringId) -> Option<&Rule> {
        self.policy.keyring(keyring)
    }
}

const fn open(expected: Option<KeyringId>) -> Fate {
    Fate::Open {
        expected,
        or: Otherwise::Withhold,
    }
}

/// What is an envelope is opened where it can be; the rest is plaintext, also what only begins like one: one random payload in 65,536
/// does (R46).
fn unprotected(message: &Message<'_>) -> Fate {
    if is_envelope(message.payload) {
        Fate::Open {
            expected: None,
            or: Otherwise::Pass,
        }
    } else {
        Fate::Pass
    }
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
