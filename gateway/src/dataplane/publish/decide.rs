//! What becomes of a publish: the keyring it is sealed under, what its answer will be, and what is refused.

use std::borrow::Cow;

use crate::dataplane::meaning;
use crate::dataplane::replies::{self, Answer, Asked};
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{Empty, KeyringId, Look, Policy, Route};
use crate::wire::write::{self, Decimal};
use crate::wire::{Buffer, Publish, jetstream};

use super::batch::PublishPath;
use super::request;

impl PublishPath<'_> {
    /// The keyring to seal under, if any.
    pub(super) fn keyring_for(
        &self,
        policy: &Policy,
        look: Look,
        publish: &Publish<'_>,
    ) -> Option<KeyringId> {
        if publish.payload.is_empty() && !self.seals_empty(policy, look, publish) {
            return None;
        }
        self.keyring_of(look, publish)
    }

    /// The same, as if an empty payload were any other.
    pub(super) fn keyring_of(&self, look: Look, publish: &Publish<'_>) -> Option<KeyringId> {
        match look.route {
            Route::Keyring(keyring) => Some(keyring),
            // An inbox of the client's own naming answers a sealed request with an envelope too.
            Route::Pass if replies::are_alike(look) => {
                let replies = &self.link.borrow().replies;
                replies.sealed_request(publish.subject, self.now)
            }
            Route::Pass if publish.subject.starts_with(replies::FROM_STREAM) => {
                let replies = &self.link.borrow().replies;
                let answers = !jetstream::acknowledges(publish.payload);
                answers.then(|| replies.no_acknowledgement()).flatten()
            }
            Route::Pass => None,
            // Nobody has asked, as far as is known: fail closed under the keyring that covers it, if any does.
            Route::Reply(covering) => {
                let replies = &self.link.borrow().replies;
                match replies.answer_to(publish.subject, self.now) {
                    Answer::Sealed(keyring) => Some(keyring),
                    Answer::Plain => None,
                    Answer::Unknown => covering,
                }
            }
        }
    }

    /// Whether the keyring of a subject seals empties too, and NATS gives this one no meaning.
    fn seals_empty(&self, policy: &Policy, look: Look, publish: &Publish<'_>) -> bool {
        let Route::Keyring(keyring) = look.route else {
            return false;
        };
        let rule = policy.keyring(keyring);
        rule.is_some_and(|rule| rule.empty == Empty::Seal)
            && !meaning::has_meaning(publish.headers.unwrap_or_default())
    }

    /// Answers have to be known when they come.
    pub(super) fn remember(
        &self,
        policy: &Policy,
        look: Look,
        keyring: Option<KeyringId>,
        publish: &Publish<'_>,
    ) {
        if let Some(reply) = publish.reply {
            let asked = request::asked(look, keyring, publish);
            let replies = &mut self.link.borrow_mut().replies;
            replies.request_published(reply, asked, self.now);
        }
        let said = publish.headers.and_then(meaning::trace_destination);
        let said = said.map(Cow::Borrowed).or_else(|| {
            let request = look.request(publish.subject)?;
            request::deliver_subject(request, publish.payload)
        });
        // The server, unasked by name, writes there in plaintext: trace events, chunks of a backup.
        if let Some(destination) = said.filter(|subject| !policy.is_system(subject)) {
            let replies = &mut self.link.borrow_mut().replies;
            replies.request_published(&destination, Asked::Server, self.now);
        }
    }

    /// Whether this is an increment of a counter on a subject whose plaintext, such as the counter's value, would be withheld.
    pub(super) fn is_counted(&self, policy: &Policy, look: Look, publish: &Publish<'_>) -> bool {
        let Route::Keyring(keyring) = look.route else {
            return false;
        };
        publish.headers.is_some_and(meaning::is_increment)
            && !self.worker.shared.accepts_plaintext(policy, keyring)
    }

    /// A request to JetStream's API, with room for envelopes in the sizes that it names.
    pub(super) fn request(
        &self,
        snapshot: &Snapshot,
        request: &[u8],
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        let policy = snapshot.policy();
        let strict = |subject: &[u8]| match policy.route(subject) {
            Route::Keyring(keyring) => !self.worker.shared.accepts_plaintext(policy, keyring),
            Route::Pass | Route::Reply(_) => false,
        };
        if let Some(subject) = request::counter_subject(request, publish.payload, strict) {
            return self.refuse(snapshot, policy.route(&subject), publish, out);
        }
        let mut widened = Buffer::new();
        if !request::widen(policy, request, publish.payload, &mut widened) {
            return self.pass(publish, out);
        }
        let headers = publish.headers.unwrap_or_default();
        let total = headers.len().saturating_add(widened.len());
        self.line(publish, Decimal::like(publish.size, total).digits(), out);
        out.put(headers);
        out.put(widened.filled());
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Publish)
            .add(widened.len());
    }

    /// R44: the client survives the error, and a request fails at once.
    pub(super) fn refuse(
        &self,
        snapshot: &Snapshot,
        route: Route,
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        self.refused(snapshot, route.keyring(), Cause::Counter, publish);
        // To the client's own inbox, through the server: only the server knows its subscriptions. A verbose client would get one `+OK` too many.
        if let Some(reply) = publish.reply.filter(|_| !self.options.verbose()) {
            write::own_publish(out, reply, request::COUNTER_REFUSED);
        }
        let refusals = &mut self.link.borrow_mut().refusals;
        refusals.refuse(publish.subject, out);
    }
}
