//! Decides about a publish: the keyring it is sealed under, what the envelope is bound to, which answers to expect, what is
//! refused.

use crate::dataplane::meaning::{self, Schedule};
use crate::dataplane::replies::{
    self, Answer, Asked, Class, Delivers, FLOW_CONTROL, FROM_STREAM, Stored,
};
use crate::envelope::{Binding, EnvelopeId};
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{Empty, KeyringId, Look, Move, Policy, Role, Route};
use crate::wire::subject::is_literal;
use crate::wire::write::{self, Decimal};
use crate::wire::{Buffer, Publish, jetstream};

use super::batch::{PublishPath, binds};
use super::request;

/// Under which keyring a publish is sealed, leaving aside that its payload may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seals {
    Never,
    /// Under this keyring; with the request that it answers, if that is known.
    Under(KeyringId, Option<EnvelopeId>),
    /// It is an answer, and it is not known under which keyring.
    Unclear,
}

impl Seals {
    pub(super) const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Under(keyring, _) => Some(keyring),
            Self::Never | Self::Unclear => None,
        }
    }
}

impl PublishPath<'_> {
    /// Decides by the subject, and by the requests that were delivered with it as their reply subject.
    pub(super) fn seals(&self, policy: &Policy, look: Look, publish: &Publish<'_>) -> Seals {
        let of_route = match look.route.covering() {
            Some(keyring) => Seals::Under(keyring, None),
            None => Seals::Never,
        };
        if look.role == Role::System && publish.subject.starts_with(FROM_STREAM) {
            return self.in_place_of_an_acknowledgement(policy, publish);
        }
        if look.role == Role::System && publish.subject.starts_with(FLOW_CONTROL) {
            return outside_flow_control(policy, publish);
        }
        if !replies::are_answers(look) {
            return of_route;
        }
        match self.link.borrow_mut().replies.answer_to(publish.subject) {
            Answer::Sealed(keyring, request) => Seals::Under(keyring, request),
            Answer::Unclear => Seals::Unclear,
            // A subject that a keyring names explicitly is never published in plaintext, whatever the request was.
            Answer::Plain if look.route.keyring().is_none() => Seals::Never,
            Answer::Plain | Answer::Unknown => of_route,
        }
    }

    /// On an acknowledgement subject (`$JS.ACK.`), a payload that is no acknowledgement answers a message of a stream; the server
    /// ignores it.
    fn in_place_of_an_acknowledgement(&self, policy: &Policy, publish: &Publish<'_>) -> Seals {
        if jetstream::acknowledges(publish.payload) {
            return Seals::Never;
        }
        match self.link.borrow().replies.stored() {
            Stored::One(keyring) => Seals::Under(keyring, None),
            Stored::Nothing if !policy.protects_anything() => Seals::Never,
            Stored::Nothing | Stored::Several => Seals::Unclear,
        }
    }

    /// The keyring to seal under, if any; empty payloads mostly pass.
    pub(super) fn keyring_for(
        &self,
        policy: &Policy,
        look: Look,
        seals: Seals,
        publish: &Publish<'_>,
    ) -> Option<KeyringId> {
        if publish.payload.is_empty() && !seals_empty(policy, look, publish) {
            return None;
        }
        seals.keyring()
    }

    /// What the envelope is bound to: subject, request, reply subject.
    pub(super) fn binding<'p>(
        &self,
        snapshot: &Snapshot,
        (look, seals): (Look, Seals),
        publish: &'p Publish<'_>,
    ) -> Binding<'p> {
        let policy = snapshot.policy();
        let Seals::Under(keyring, request) = seals else {
            return Binding::default();
        };
        let binds_answers = policy
            .keyring(keyring)
            .is_some_and(|rule| rule.binds_answers);
        let mut binding = Binding {
            answers: request.filter(|_| binds_answers),
            ..Binding::to(binds(snapshot, keyring).then(|| look.bare(publish.subject)))
        };
        if let Some(reply) = publish.reply {
            let named = policy.look(reply);
            if let Some(work) = named.work() {
                // The responder would publish under another keyring: it does so only for an envelope that is bound to this reply
                // subject.
                binding.reply = (work != keyring).then_some(reply);
            } else if binds_answers && replies::are_answers(named) {
                let replies = &self.link.borrow().replies;
                binding.passes_on = replies.is_shared(reply, self.now);
            }
        }
        if let Some(reply) = binding.reply {
            let reports = &self.worker.shared.reports;
            let named = (publish.subject, reply);
            reports.tell_reply(policy.name_of(Some(keyring)), named, self.now);
        }
        binding
    }

    /// Records which answers the client may receive. `id` names the envelope that was sealed, if answers are to be bound to it.
    pub(super) fn remember(
        &self,
        policy: &Policy,
        (look, seals): (Look, Seals),
        id: Option<EnvelopeId>,
        publish: &Publish<'_>,
    ) {
        let replies = &mut self.link.borrow_mut().replies;
        let request = look.request(publish.subject);
        if let Some(reply) = publish.reply {
            let asked = match (request, seals) {
                (Some(request), _) => {
                    let name = |subject: &[u8]| replies.name(subject);
                    request::of_jetstream(request, publish.payload, name)
                }
                // Also with an empty payload, which is not sealed itself.
                (None, Seals::Under(keyring, _))
                    if look.role == Role::User && jetstream::resembles_request(publish.subject) =>
                {
                    Asked::protected(keyring, id).foreign()
                }
                (None, Seals::Under(keyring, _)) => Asked::protected(keyring, id),
                (None, _) if look.role == Role::System => request::of_system(publish.subject),
                (None, Seals::Never | Seals::Unclear) => Asked::of(Class::Open),
            };
            replies.request_published(reply, asked, self.now);
        }
        // The server publishes trace events and the chunks of a snapshot in plaintext. A client that copies the headers of a
        // message that it received has not asked for a trace.
        let traced = publish.headers.and_then(meaning::trace_destination);
        if let Some(to) = traced.filter(|to| !policy.is_system(to) && !replies.has_come_in(to)) {
            replies.request_published(to, Asked::of(Class::Trace), self.now);
        }
        if let Some(request) = request {
            let named = (publish.payload, publish.reply);
            request::deliveries(request, named, |at, delivers| {
                replies.stream_asked(at, delivers, self.now);
            });
        } else if let Some(reply) = publish.reply
            && let Some(delivery) = jetstream::Delivery::of(publish.subject)
        {
            // `+NXT`: an acknowledgement that pulls the next message.
            replies.stream_asked((delivery.stream, reply), Delivers::Once, self.now);
        }
        let pull = request::pull(request, publish).filter(|_| policy.protects_anything());
        if let Some(reply) = publish.reply
            && let Some(grant) = pull.and_then(jetstream::bounded)
        {
            replies.pulled(reply, grant, self.now);
        }
        let batch = request.filter(|_| policy.protects_anything());
        if let Some(reply) = publish.reply
            && let Some(batch) = batch.and_then(|request| request::batch(request, publish.payload))
        {
            replies.batch_asked(reply, batch, self.now);
        }
        let chunks = request.and_then(|request| request::deliver_subject(request, publish.payload));
        if let Some(to) = chunks.filter(|to| !policy.is_system(to)) {
            replies.request_published(&to, Asked::of(Class::Snapshot), self.now);
        }
    }

    /// Whether this increments a counter (ADR-49) on a subject where plaintext, such as the counter's value, would be withheld.
    pub(super) fn is_counted(&self, policy: &Policy, look: Look, publish: &Publish<'_>) -> bool {
        let Route::Keyring(keyring) = look.route else {
            return false;
        };
        publish.headers.is_some_and(meaning::is_increment)
            && !self.worker.shared.accepts_plaintext(policy, keyring)
    }

    /// Whether this is a schedule (ADR-51) that has the server publish on a subject under which the message opens for nobody.
    pub(super) fn is_misdirected(
        &self,
        policy: &Policy,
        (look, keyring): (Look, Option<KeyringId>),
        publish: &Publish<'_>,
    ) -> bool {
        let schedule = publish.headers.and_then(meaning::schedule);
        let Some(Schedule { source, target: to }) = schedule.filter(|_| look.role == Role::User)
        else {
            return false;
        };
        // The server takes no wildcards.
        if !is_literal(to) {
            return false;
        }
        let strict = |id| !self.worker.shared.accepts_plaintext(policy, id);
        let is_lost = |from: &[u8], is_strict: &dyn Fn(KeyringId) -> bool| {
            let published = &[from.to_vec()];
            policy.opens_nowhere(
                Move {
                    published,
                    from,
                    to,
                },
                is_strict,
            )
        };
        let own = look.bare(publish.subject);
        let own_is_lost = || match keyring {
            Some(_sealed) => is_lost(own, &|_| true),
            None => !publish.payload.is_empty() && is_lost(own, &strict),
        };
        match source {
            // The schedule's own payload, mostly empty, is published only while the source subject has no message.
            Some(source) if publish.payload.is_empty() => is_lost(source, &strict),
            Some(source) => is_lost(source, &strict) && own_is_lost(),
            None => own_is_lost(),
        }
    }

    /// Forwards a request to JetStream's API, its sizes widened by the envelopes' overhead.
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
            let route = policy.route(&subject);
            let why = (route, Cause::Counter, request::COUNTERS_REFUSED);
            return self.refuse(snapshot, why, publish, out);
        }
        let strict = |id| !self.worker.shared.accepts_plaintext(policy, id);
        let lost = |moved: Move<'_>| policy.opens_nowhere(moved, strict);
        if request::is_misdirected(request, publish.payload, lost) {
            let why = (Route::Pass, Cause::Destination, request::RENAMING_REFUSED);
            return self.refuse(snapshot, why, publish, out);
        }
        let mut edited = Buffer::new();
        if request::edit(policy, request, publish.payload, &mut edited) {
            self.edited(publish, &edited, out);
        } else {
            self.pass(publish, out);
        }
    }

    /// Forwards what is published on a system subject and is no API request.
    pub(super) fn pass_read(&self, policy: &Policy, publish: &Publish<'_>, out: &mut Buffer) {
        let mut edited = Buffer::new();
        if request::edit_next(policy, publish, &mut edited) {
            self.edited(publish, &edited, out);
        } else {
            self.pass(publish, out);
        }
    }

    fn edited(&self, publish: &Publish<'_>, edited: &Buffer, out: &mut Buffer) {
        let headers = publish.headers.unwrap_or_default();
        let total = headers.len().saturating_add(edited.len());
        self.line(publish, Decimal::like(publish.size, total).digits(), out);
        out.put(headers);
        out.put(edited.filled());
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Publish)
            .add(edited.len());
    }

    /// Refuses a publish: injects an error that leaves the connection open, and answers a request with `answer`, so that it fails
    /// at once.
    pub(super) fn refuse(
        &self,
        snapshot: &Snapshot,
        (route, cause, answer): (Route, Cause, &[u8]),
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        self.refused(snapshot, route.keyring(), cause, publish);
        // Published through the server, which alone knows the client's subscriptions. A verbose client would get one `+OK` too
        // many.
        if let Some(reply) = publish.reply.filter(|_| !self.options.verbose()) {
            write::own_publish(out, reply, answer);
        }
        let refusals = &mut self.link.borrow_mut().refusals;
        refusals.refuse(publish.subject, out);
    }
}

/// On a flow control subject (`$JS.FC.`) the server ignores payloads. A payload there answers a message that named it as its
/// reply subject, with a status that looked like flow control.
fn outside_flow_control(policy: &Policy, publish: &Publish<'_>) -> Seals {
    if publish.payload.is_empty() || !policy.protects_anything() {
        Seals::Never
    } else {
        Seals::Unclear
    }
}

/// Whether the keyring has empty payloads sealed, too, and this one means nothing to NATS.
fn seals_empty(policy: &Policy, look: Look, publish: &Publish<'_>) -> bool {
    let Route::Keyring(keyring) = look.route else {
        return false;
    };
    let rule = policy.keyring(keyring);
    rule.is_some_and(|rule| rule.empty == Empty::Seal)
        && !meaning::has_meaning(publish.headers.unwrap_or_default())
}
