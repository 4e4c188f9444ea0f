//! Decides about a publish: the keyring it is sealed under, what the envelope is bound to, which answers to expect, what is
//! refused.

use crate::dataplane::headers::{self, Schedule};
use crate::dataplane::replies::{
    self, Answer, Class, ConsumerKind, FLOW_CONTROL, FROM_STREAM, PublishedRequest, StreamKeyrings,
};
use crate::envelope::{Binding, EnvelopeId};
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{Empty, KeyringId, Lookup, Policy, Role, Route, SubjectTransform};
use crate::wire::subject::is_literal;
use crate::wire::write::{self, Decimal};
use crate::wire::{Buffer, Publish, jetstream};

use super::batch::binds;
use super::path::PublishPath;
use super::request;

/// Under which keyring a publish is sealed, leaving aside that its payload may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealing {
    Never,
    /// Under this keyring; with the request that it answers, if that is known.
    Under(KeyringId, Option<EnvelopeId>),
    /// It is an answer, and it is not known under which keyring.
    Unclear,
}

impl Sealing {
    pub(super) const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Under(keyring, _) => Some(keyring),
            Self::Never | Self::Unclear => None,
        }
    }
}

impl PublishPath<'_> {
    /// Decides by the subject, and by the requests that were delivered with it as their reply subject.
    pub(super) fn sealing(
        &self,
        policy: &Policy,
        lookup: Lookup,
        publish: &Publish<'_>,
    ) -> Sealing {
        let of_route = match lookup.route.covering_keyring() {
            Some(keyring) => Sealing::Under(keyring, None),
            None => Sealing::Never,
        };
        if lookup.role == Role::System && publish.subject.starts_with(FROM_STREAM) {
            return self.sealing_on_ack_subject(policy, publish);
        }
        if lookup.role == Role::System && publish.subject.starts_with(FLOW_CONTROL) {
            return sealing_on_flow_control_subject(policy, publish);
        }
        if !replies::is_answer_subject(lookup) {
            return of_route;
        }
        match self.state.borrow_mut().replies.answer_to(publish.subject) {
            Answer::Sealed(keyring, request) => Sealing::Under(keyring, request),
            Answer::Unclear => Sealing::Unclear,
            // A subject that a keyring names explicitly is never published in plaintext, whatever the request was.
            Answer::Plain if lookup.route.keyring().is_none() => Sealing::Never,
            Answer::Plain | Answer::Unknown => of_route,
        }
    }

    /// On an acknowledgement subject (`$JS.ACK.`), a payload that is no acknowledgement answers a message of a stream; the server
    /// ignores it.
    fn sealing_on_ack_subject(&self, policy: &Policy, publish: &Publish<'_>) -> Sealing {
        if jetstream::is_consumer_ack(publish.payload) {
            return Sealing::Never;
        }
        match self.state.borrow().replies.stream_keyrings() {
            StreamKeyrings::One(keyring) => Sealing::Under(keyring, None),
            StreamKeyrings::Nothing if !policy.protects_anything() => Sealing::Never,
            StreamKeyrings::Nothing | StreamKeyrings::Several => Sealing::Unclear,
        }
    }

    /// The keyring to seal under, if any; empty payloads mostly pass.
    pub(super) fn keyring_for(
        &self,
        policy: &Policy,
        lookup: Lookup,
        sealing: Sealing,
        publish: &Publish<'_>,
    ) -> Option<KeyringId> {
        if publish.payload.is_empty() && !seals_empty(policy, lookup, publish) {
            return None;
        }
        sealing.keyring()
    }

    /// What the envelope is bound to: subject, request, reply subject.
    pub(super) fn binding<'p>(
        &self,
        snapshot: &Snapshot,
        (lookup, sealing): (Lookup, Sealing),
        publish: &'p Publish<'_>,
    ) -> Binding<'p> {
        let policy = snapshot.policy();
        let Sealing::Under(keyring, request) = sealing else {
            return Binding::default();
        };
        let binds_answers = policy
            .keyring(keyring)
            .is_some_and(|rule| rule.binds_answers);
        let mut binding = Binding {
            answers: request.filter(|_| binds_answers),
            ..Binding::to(binds(snapshot, keyring).then(|| lookup.normalise(publish.subject)))
        };
        if let Some(reply) = publish.reply {
            let named = policy.lookup(reply);
            if let Some(work) = named.explicit_user_keyring() {
                // The responder would publish under another keyring: it does so only for an envelope that is bound to this reply
                // subject.
                binding.reply = (work != keyring).then_some(reply);
            } else if binds_answers && replies::is_answer_subject(named) {
                let replies = &self.state.borrow().replies;
                binding.passes_on = replies.is_shared(reply, self.now);
            }
        }
        if let Some(reply) = binding.reply {
            let refusal_log = &self.worker.shared.refusal_log;
            let named = (publish.subject, reply);
            refusal_log.log_reply(policy.name_of(Some(keyring)), named, self.now);
        }
        binding
    }

    /// Records which answers the client may receive. `id` names the envelope that was sealed, if answers are to be bound to it.
    pub(super) fn expect_answers(
        &self,
        policy: &Policy,
        (lookup, sealing): (Lookup, Sealing),
        id: Option<EnvelopeId>,
        publish: &Publish<'_>,
    ) {
        let replies = &mut self.state.borrow_mut().replies;
        let request = lookup.request(publish.subject);
        if let Some(reply) = publish.reply {
            let asked = match (request, sealing) {
                (Some(request), _) => {
                    let name = |subject: &[u8]| replies.short_hash(subject);
                    request::classify_jetstream(request, publish.payload, name)
                }
                // Also with an empty payload, which is not sealed itself.
                (None, Sealing::Under(keyring, _))
                    if lookup.role == Role::User
                        && jetstream::may_be_api_request(publish.subject) =>
                {
                    PublishedRequest::protected(keyring, id).with_unknown_api_prefix()
                }
                (None, Sealing::Under(keyring, _)) => PublishedRequest::protected(keyring, id),
                (None, _) if lookup.role == Role::System => {
                    request::classify_system(publish.subject)
                }
                (None, Sealing::Never | Sealing::Unclear) => {
                    PublishedRequest::of(Class::Unprotected)
                }
            };
            replies.request_published(reply, asked, self.now);
        }
        // The server publishes trace events and the chunks of a snapshot in plaintext. A client that copies the headers of a
        // message that it received has not asked for a trace.
        let traced = publish.headers.and_then(headers::trace_destination);
        if let Some(to) =
            traced.filter(|to| !policy.is_system(to) && !replies.was_trace_delivered(to))
        {
            replies.request_published(to, PublishedRequest::of(Class::Trace), self.now);
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
            replies.stream_asked((delivery.stream, reply), ConsumerKind::Pull, self.now);
        }
        let pull = request::pull(request, publish).filter(|_| policy.protects_anything());
        if let Some(reply) = publish.reply
            && let Some(grant) = pull.and_then(jetstream::bounded_pull)
        {
            replies.pulled(reply, grant, self.now);
        }
        let batch = request.filter(|_| policy.protects_anything());
        if let Some(reply) = publish.reply
            && let Some(batch) =
                batch.and_then(|request| request::direct_get_batch(request, publish.payload))
        {
            replies.batch_asked(reply, batch, self.now);
        }
        let chunks = request.and_then(|request| request::deliver_subject(request, publish.payload));
        if let Some(to) = chunks.filter(|to| !policy.is_system(to)) {
            replies.request_published(&to, PublishedRequest::of(Class::StreamSnapshot), self.now);
        }
    }

    /// Whether this increments a counter (ADR-49) on a subject where plaintext, such as the counter's value, would be withheld.
    pub(super) fn is_counter_increment(
        &self,
        policy: &Policy,
        lookup: Lookup,
        publish: &Publish<'_>,
    ) -> bool {
        let Route::Keyring(keyring) = lookup.route else {
            return false;
        };
        publish.headers.is_some_and(headers::is_increment)
            && !self.worker.shared.accepts_plaintext(policy, keyring)
    }

    /// Whether this is a schedule (ADR-51) that has the server publish on a subject under which the message opens for nobody.
    pub(super) fn is_misdirected(
        &self,
        policy: &Policy,
        (lookup, keyring): (Lookup, Option<KeyringId>),
        publish: &Publish<'_>,
    ) -> bool {
        let schedule = publish.headers.and_then(headers::schedule);
        let Some(Schedule { source, target: to }) = schedule.filter(|_| lookup.role == Role::User)
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
            policy.is_unreadable_after(
                SubjectTransform {
                    published,
                    from,
                    to,
                },
                is_strict,
            )
        };
        let own = lookup.normalise(publish.subject);
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
        let lost = |moved: SubjectTransform<'_>| policy.is_unreadable_after(moved, strict);
        if request::is_misdirected(request, publish.payload, lost) {
            let why = (Route::Pass, Cause::Destination, request::RENAMING_REFUSED);
            return self.refuse(snapshot, why, publish, out);
        }
        let mut edited = Buffer::new();
        if request::widen(policy, request, publish.payload, &mut edited) {
            self.write_edited(publish, &edited, out);
        } else {
            self.pass(publish, out);
        }
    }

    /// Forwards what is published on a system subject and is no API request.
    pub(super) fn pass_system(&self, policy: &Policy, publish: &Publish<'_>, out: &mut Buffer) {
        let mut edited = Buffer::new();
        if request::widen_pull_in_ack(policy, publish, &mut edited) {
            self.write_edited(publish, &edited, out);
        } else {
            self.pass(publish, out);
        }
    }

    fn write_edited(&self, publish: &Publish<'_>, edited: &Buffer, out: &mut Buffer) {
        let headers = publish.headers.unwrap_or_default();
        let total = headers.len().saturating_add(edited.len());
        self.control_line(publish, Decimal::like(publish.size, total).digits(), out);
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
        self.report_refused(snapshot, route.keyring(), cause, publish);
        // Published through the server, which alone knows the client's subscriptions. A verbose client would get one `+OK` too
        // many.
        if let Some(reply) = publish.reply.filter(|_| !self.options.verbose()) {
            write::own_publish(out, reply, answer);
        }
        let injected_errors = &mut self.state.borrow_mut().injected_errors;
        injected_errors.refuse(publish.subject, out);
    }
}

/// On a flow control subject (`$JS.FC.`) the server ignores payloads. A payload there answers a message that named it as its
/// reply subject, with a status that looked like flow control.
fn sealing_on_flow_control_subject(policy: &Policy, publish: &Publish<'_>) -> Sealing {
    if publish.payload.is_empty() || !policy.protects_anything() {
        Sealing::Never
    } else {
        Sealing::Unclear
    }
}

/// Whether the keyring has empty payloads sealed, too, and this one means nothing to NATS.
fn seals_empty(policy: &Policy, lookup: Lookup, publish: &Publish<'_>) -> bool {
    let Route::Keyring(keyring) = lookup.route else {
        return false;
    };
    let rule = policy.keyring(keyring);
    rule.is_some_and(|rule| rule.empty == Empty::Seal)
        && !headers::has_meaning(publish.headers.unwrap_or_default())
}
