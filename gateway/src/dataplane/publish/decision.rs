//! Decides about a publish, before any key is touched: whether it is sealed, under which keyring and bound to what; what is edited in
//! it; what is refused.

use std::time::Instant;

use crate::dataplane::context::Shared;
use crate::dataplane::headers::{self, Schedule};
use crate::dataplane::replies::{self, Answer, FLOW_CONTROL, FROM_STREAM, Keyrings};
use crate::dataplane::session_state::SessionState;
use crate::envelope::{Binding, EnvelopeId};
use crate::metrics::Cause;
use crate::policy::{Bind, Empty, KeyringId, Lookup, Policy, Role, SubjectTransform};
use crate::wire::subject::is_literal;
use crate::wire::{Buffer, Publish, jetstream};

use super::request;

/// What is done with a publish.
pub(super) enum Decision<'p> {
    Pass,
    /// It is forwarded with this payload, whose sizes have room for envelopes.
    Edit(Buffer),
    /// It is sealed under this keyring, bound to this.
    Seal(KeyringId, Binding<'p>),
    /// It is to be sealed, and waits until the server has accepted the client.
    Await,
    /// It is not forwarded.
    Refuse(Refusal),
}

/// Why a publish is not forwarded, and what its client gets besides an error that leaves the connection open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) keyring: Option<KeyringId>,
    pub(super) answer: RefusalAnswer,
}

/// What answers a request that is refused, so that it fails at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalAnswer {
    /// The status 503 (no responders).
    NoResponders,
    /// Nothing: it is refused for its reply subject, which the error names.
    Nothing,
    /// An error of JetStream.
    Error(&'static [u8]),
    /// The same, published to a reply subject on which no answer is expected.
    Unexpected(&'static [u8]),
}

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

/// What a decision depends on.
pub(super) struct DecisionContext<'a, 'p> {
    pub(super) publish: &'p Publish<'p>,
    /// Of its subject.
    pub(super) lookup: Lookup,
    pub(super) shared: &'a Shared,
    pub(super) policy: &'a Policy,
    pub(super) state: &'a mut SessionState,
    pub(super) now: Instant,
}

impl<'p> DecisionContext<'_, 'p> {
    /// Empty payloads and system subjects pass; a protected subject is sealed; an answer is sealed as its request was.
    pub(super) fn decide(&mut self) -> (Sealing, Decision<'p>) {
        let sealing = self.sealing();
        let decision = match self.forbidden(sealing) {
            Some(refusal) => Decision::Refuse(refusal),
            None => self.decide_admitted(sealing),
        };
        (sealing, decision)
    }

    fn decide_admitted(&self, sealing: Sealing) -> Decision<'p> {
        let sealed = match sealing {
            Sealing::Under(keyring, request) if self.seals() => Some((keyring, request)),
            Sealing::Under(..) | Sealing::Never | Sealing::Unclear => None,
        };
        if sealed.is_some() && !self.state.injected_errors.has_accepted() {
            return Decision::Await;
        }
        let keyring = self.lookup.route.keyring();
        if self.is_counter_increment(keyring) {
            let answer = RefusalAnswer::Unexpected(request::COUNTER_REFUSED);
            return refuse(Cause::Counter, keyring, answer);
        }
        if self.is_misdirected(sealed.map(|(keyring, _)| keyring)) {
            let answer = RefusalAnswer::Error(request::SCHEDULE_REFUSED);
            return refuse(Cause::Destination, keyring, answer);
        }
        if let Some((keyring, request)) = sealed {
            return Decision::Seal(keyring, self.binding(keyring, request));
        }
        match self.lookup.request(self.publish.subject) {
            Some(request) => self.decide_request(request),
            None if self.lookup.role == Role::System => {
                edit(|out| request::widen_pull_in_ack(self.policy, self.publish, out))
            }
            None => Decision::Pass,
        }
    }

    /// Decides by the subject, and by the requests that were delivered with it as their reply subject.
    fn sealing(&mut self) -> Sealing {
        let (lookup, subject) = (self.lookup, self.publish.subject);
        let of_route = match lookup.route.covering_keyring() {
            Some(keyring) => Sealing::Under(keyring, None),
            None => Sealing::Never,
        };
        if lookup.role == Role::System && subject.starts_with(FROM_STREAM) {
            return self.sealing_on_ack_subject();
        }
        if lookup.role == Role::System && subject.starts_with(FLOW_CONTROL) {
            return self.sealing_on_flow_control_subject();
        }
        if !replies::is_answer_subject(lookup) {
            return of_route;
        }
        match self.state.replies.answer_to(subject) {
            Answer::Sealed(keyring, request) => Sealing::Under(keyring, request),
            Answer::Unclear => Sealing::Unclear,
            // A subject that a keyring names explicitly is never published in plaintext, whatever the request was.
            Answer::Plain if lookup.route.keyring().is_none() => Sealing::Never,
            Answer::Plain | Answer::Unknown => of_route,
        }
    }

    /// On an acknowledgement subject (`$JS.ACK.`), a payload that is no acknowledgement answers a message of a stream; the server
    /// ignores it.
    fn sealing_on_ack_subject(&self) -> Sealing {
        if jetstream::is_consumer_ack(self.publish.payload) {
            return Sealing::Never;
        }
        match self.state.replies.stream_keyrings() {
            Keyrings::One(keyring) => Sealing::Under(keyring, None),
            Keyrings::Nothing if !self.policy.protects_anything() => Sealing::Never,
            Keyrings::Nothing | Keyrings::Several => Sealing::Unclear,
        }
    }

    /// On a flow control subject (`$JS.FC.`) the server ignores payloads. A payload there answers a message that named it as its
    /// reply subject, with a status that looked like flow control.
    fn sealing_on_flow_control_subject(&self) -> Sealing {
        if self.publish.payload.is_empty() || !self.policy.protects_anything() {
            Sealing::Never
        } else {
            Sealing::Unclear
        }
    }

    /// Whether the payload is sealed; empty ones mostly pass.
    fn seals(&self) -> bool {
        let rule = || self.policy.keyring(self.lookup.route.keyring()?);
        !self.publish.payload.is_empty()
            || rule().is_some_and(|rule| rule.empty == Empty::Seal)
                && !headers::has_meaning(self.publish.headers.unwrap_or_default())
    }

    /// What the envelope is bound to: subject, request, reply subject.
    fn binding(&self, keyring: KeyringId, request: Option<EnvelopeId>) -> Binding<'p> {
        let (policy, publish) = (self.policy, self.publish);
        let rule = policy.keyring(keyring);
        let binds_answers = rule.is_some_and(|rule| rule.binds_answers);
        let subject = || self.lookup.normalise(publish.subject);
        let mut binding = Binding {
            answers: request.filter(|_| binds_answers),
            ..Binding::to(binds(policy, keyring).then(subject))
        };
        if let Some(reply) = publish.reply {
            let named = policy.lookup(reply);
            if let Some(work) = named.explicit_user_keyring() {
                // The responder would publish under another keyring: it does so only for an envelope that is bound to this reply
                // subject.
                binding.reply = (work != keyring).then_some(reply);
            } else if binds_answers && replies::is_answer_subject(named) {
                binding.passes_on = self.state.replies.is_shared(reply, self.now);
            }
        }
        binding
    }

    /// Whether this increments a counter (ADR-49) on a subject where plaintext, such as the counter's value, would be withheld.
    fn is_counter_increment(&self, keyring: Option<KeyringId>) -> bool {
        self.publish.payload.is_empty()
            && self.publish.headers.is_some_and(headers::is_increment)
            && keyring.is_some_and(|keyring| self.is_strict(keyring))
    }

    /// Whether this is a schedule (ADR-51) that has the server publish on a subject under which the message opens for nobody.
    fn is_misdirected(&self, sealed_under: Option<KeyringId>) -> bool {
        let is_sealed = sealed_under.is_some();
        let (lookup, publish) = (self.lookup, self.publish);
        let schedule = publish.headers.and_then(headers::schedule);
        let schedule = schedule.filter(|_| lookup.role == Role::User);
        let Some(Schedule { source, target: to }) = schedule else {
            return false;
        };
        // The server takes no wildcards.
        if !is_literal(to) {
            return false;
        }
        let strict = |id| self.is_strict(id);
        let is_lost = |from: &[u8], is_strict: &dyn Fn(KeyringId) -> bool| {
            let moved = SubjectTransform {
                published: &[from.to_vec()],
                from,
                to,
            };
            self.policy.is_unreadable_after(moved, is_strict)
        };
        let own = lookup.normalise(publish.subject);
        let own_is_lost = || {
            is_sealed && is_lost(own, &|_| true)
                || !is_sealed && !publish.payload.is_empty() && is_lost(own, &strict)
        };
        match source {
            // The schedule's own payload, mostly empty, is published only while the source subject has no message.
            Some(source) if publish.payload.is_empty() => is_lost(source, &strict),
            Some(source) => is_lost(source, &strict) && own_is_lost(),
            None => own_is_lost(),
        }
    }

    /// A request to JetStream's API is forwarded with its sizes widened by the envelopes' overhead.
    fn decide_request(&self, request: &[u8]) -> Decision<'p> {
        let (policy, body) = (self.policy, self.publish.payload);
        let strict = |id| self.is_strict(id);
        let strict_subject = |subject: &[u8]| policy.route(subject).keyring().is_some_and(strict);
        if let Some(subject) = request::counter_subject(request, body, strict_subject) {
            let keyring = policy.route(&subject).keyring();
            let answer = RefusalAnswer::Error(request::COUNTERS_REFUSED);
            return refuse(Cause::Counter, keyring, answer);
        }
        let lost = |moved: SubjectTransform<'_>| policy.is_unreadable_after(moved, strict);
        if request::is_misdirected(request, body, lost) {
            let answer = RefusalAnswer::Error(request::RENAMING_REFUSED);
            return refuse(Cause::Destination, None, answer);
        }
        edit(|out| request::widen(policy, request, body, out))
    }

    /// Whether plaintext on the keyring's subjects is withheld.
    fn is_strict(&self, keyring: KeyringId) -> bool {
        !self.shared.accepts_plaintext(self.policy, keyring)
    }
}

/// Whether envelopes of this keyring are bound to the subjects of their publishes.
pub(super) fn binds(policy: &Policy, keyring: KeyringId) -> bool {
    let rule = policy.keyring(keyring);
    !rule.is_some_and(|rule| rule.bind == Bind::Keyring)
}

const fn refuse<'p>(
    cause: Cause,
    keyring: Option<KeyringId>,
    answer: RefusalAnswer,
) -> Decision<'p> {
    Decision::Refuse(Refusal {
        cause,
        keyring,
        answer,
    })
}

/// What `rewrite` has written is forwarded; if it returns `false`, the payload as it is.
fn edit<'p>(rewrite: impl FnOnce(&mut Buffer) -> bool) -> Decision<'p> {
    let mut edited = Buffer::new();
    if rewrite(&mut edited) {
        Decision::Edit(edited)
    } else {
        Decision::Pass
    }
}
