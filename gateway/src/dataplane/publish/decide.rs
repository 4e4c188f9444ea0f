//! What becomes of a publish: the keyring it is sealed under, what it is bound to, what its answer will be, and what is refused.

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

/// Under what a publish is sealed, as if an empty payload were any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seals {
    /// Nothing.
    Never,
    /// This keyring; the request that it answers, if it is known.
    Under(KeyringId, Option<EnvelopeId>),
    /// It answers somebody, and nobody can say under which keyring.
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
    /// What the subject says, and the requests that were delivered with it as their reply subject.
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
            // A subject that a keyring covers by itself is never in plaintext, whoever has asked.
            Answer::Plain if look.route.keyring().is_none() => Seals::Never,
            Answer::Plain | Answer::Unknown => of_route,
        }
    }

    /// What is published where the server reads acknowledgements and is none is an answer to a message from a stream. The server
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

    /// The keyring to seal under, if any.
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

    /// What an envelope is bound to.
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
                // Whoever answers would publish under another keyring: only what was sealed for just this may have them do it.
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

    /// Answers have to be known when they come. `id` names the envelope that was sealed, if answers are to be bound to it.
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
                // Also with an empty payload, which is not sealed.
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
        // The server, unasked by name, writes there in plaintext: trace events, chunks of a backup. A client that copies the headers of
        // what it got has not asked for them.
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
            // `+NXT`
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

    /// Whether this is an increment of a counter on a subject whose plaintext, such as the counter's value, would be withheld.
    pub(super) fn is_counted(&self, policy: &Policy, look: Look, publish: &Publish<'_>) -> bool {
        let Route::Keyring(keyring) = look.route else {
            return false;
        };
        publish.headers.is_some_and(meaning::is_increment)
            && !self.worker.shared.accepts_plaintext(policy, keyring)
    }

    /// Whether this is a schedule that would have the server publish what opens for nobody.
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
        // The server takes no other.
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
            // The payload of such a schedule is mostly empty; it is published where the source has nothing.
            Some(source) if publish.payload.is_empty() => is_lost(source, &strict),
            Some(source) => is_lost(source, &strict) && own_is_lost(),
            None => own_is_lost(),
        }
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

    /// What the server reads that is no request to its API.
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

    /// The client survives the error, and a request fails at once.
    pub(super) fn refuse(
        &self,
        snapshot: &Snapshot,
        (route, cause, answer): (Route, Cause, &[u8]),
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        self.refused(snapshot, route.keyring(), cause, publish);
        // To the client's own inbox, through the server: only the server knows its subscriptions. A verbose client would get one `+OK` too many.
        if let Some(reply) = publish.reply.filter(|_| !self.options.verbose()) {
            write::own_publish(out, reply, answer);
        }
        let refusals = &mut self.link.borrow_mut().refusals;
        refusals.refuse(publish.subject, out);
    }
}

/// The server reads nothing there but the subject. What a client publishes there beyond that answers somebody who has named it for an
/// answer, with a status that looked like flow control.
fn outside_flow_control(policy: &Policy, publish: &Publish<'_>) -> Seals {
    if publish.payload.is_empty() || !policy.protects_anything() {
        Seals::Never
    } else {
        Seals::Unclear
    }
}

/// Whether the keyring of a subject seals empties too, and NATS gives this one no meaning.
fn seals_empty(policy: &Policy, look: Look, publish: &Publish<'_>) -> bool {
    let Route::Keyring(keyring) = look.route else {
        return false;
    };
    let rule = policy.keyring(keyring);
    rule.is_some_and(|rule| rule.empty == Empty::Seal)
        && !meaning::has_meaning(publish.headers.unwrap_or_default())
}
