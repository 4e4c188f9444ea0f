//! Publishes and subscriptions that are refused: the keyring does not admit the client, no key version could seal the payload, or
//! it is not known which keyring an answer belongs to.

use crate::dataplane::refusal_log::RefusedMessage;
use crate::dataplane::session_state::ClientReads;
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{KeyringId, Lookup, Policy, Route};
use crate::wire::jetstream::{self, Request, SubjectUse};
use crate::wire::{Buffer, Publish, write};

use super::decision::Sealing;
use super::path::PublishPath;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    cause: Cause,
    keyring: Option<KeyringId>,
    /// Whether it is for its reply subject.
    is_reply: bool,
}

/// Whether the payload exceeds the whole byte budget of a key version: no rotation would help.
fn exceeds_key_version(policy: &Policy, keyring: KeyringId, publish: &Publish<'_>) -> bool {
    let rule = policy.keyring(keyring);
    let len = u64::try_from(publish.payload.len()).unwrap_or(u64::MAX);
    rule.is_some_and(|rule| len > rule.max_payload_len)
}

impl PublishPath<'_> {
    /// Why a publish is not forwarded, if it is not: it is not known which request it answers; it exceeds what a key version may
    /// seal; or a keyring does not admit the client on the subject (empty messages are signals, too), or on one where it has a
    /// responder or the server publish.
    pub(super) fn forbidden(
        &self,
        policy: &Policy,
        (lookup, sealing): (Lookup, Sealing),
        publish: &Publish<'_>,
    ) -> Option<Forbidden> {
        let because = |cause, keyring, is_reply| Forbidden {
            cause,
            keyring,
            is_reply,
        };
        if sealing == Sealing::Unclear {
            return Some(because(Cause::Reply, None, false));
        }
        // The gateway must read the same out of the body as the server does.
        let request = lookup.request(publish.subject).map(Request::of);
        if request.is_some_and(|request| !jetstream::is_unambiguous(request, publish.payload)) {
            return Some(because(Cause::Unclear, None, false));
        }
        let beyond = |keyring: &KeyringId| exceeds_key_version(policy, *keyring, publish);
        if let Some(keyring) = sealing.keyring().filter(beyond) {
            return Some(because(Cause::TooLarge, Some(keyring), false));
        }
        if !self.publish_denied.any() && !self.deliver_denied.any() {
            return None;
        }
        let publish_denied = |keyring: &KeyringId| self.publish_denied.has(*keyring);
        if let Some(keyring) = sealing.keyring().filter(publish_denied) {
            return Some(because(Cause::Identity, Some(keyring), false));
        }
        let named = |reply| {
            policy
                .lookup(reply)
                .explicit_keyring()
                .filter(publish_denied)
        };
        let asks = |reply| {
            self.any_denied()
                .filter(|_| policy.may_match_api_request(reply))
        };
        let refused = |reply| named(reply).or_else(|| asks(reply));
        if let Some(keyring) = publish.reply.and_then(refused) {
            return Some(because(Cause::Identity, Some(keyring), true));
        }
        let keyring = self.denied_destination(policy, lookup, publish)?;
        Some(because(Cause::Identity, Some(keyring), false))
    }

    /// The keyring that does not admit the client on a subject that its request or its headers have the server publish to, store
    /// or copy.
    fn denied_destination(
        &self,
        policy: &Policy,
        lookup: Lookup,
        publish: &Publish<'_>,
    ) -> Option<KeyringId> {
        let mut closed = None;
        let is_publish_denied = |keyring| self.publish_denied.has(keyring);
        let is_denied =
            |keyring| self.publish_denied.has(keyring) || self.deliver_denied.has(keyring);
        let mut judge = |place: SubjectUse<'_>| {
            let found = match place {
                // What the server publishes to an API subject becomes a request that nobody checks.
                SubjectUse::PublishTo(subject) => policy
                    .find_overlapping(subject, is_publish_denied)
                    .or_else(|| {
                        self.any_denied()
                            .filter(|_| policy.may_match_api_request(subject))
                    }),
                SubjectUse::RequestTo(subject) => {
                    policy.find_overlapping(subject, is_publish_denied)
                }
                SubjectUse::CopyFrom(subject) => policy.find_overlapping(subject, is_denied),
                SubjectUse::CopyStream(_) => None,
            };
            closed = closed.or(found);
        };
        if let Some(headers) = publish.headers {
            jetstream::header_subject_uses(headers, &mut judge);
        }
        if let Some(request) = lookup.request(publish.subject) {
            jetstream::subject_uses(Request::of(request), publish.payload, &mut judge);
        }
        closed
    }

    /// A keyring that does not admit the client in one direction or the other.
    fn any_denied(&self) -> Option<KeyringId> {
        self.publish_denied
            .first()
            .or_else(|| self.deliver_denied.first())
    }

    /// Refuses a publish: injects an error that leaves the connection open, and answers a request with 503 (no responders).
    pub(super) fn forbid(
        &self,
        snapshot: &Snapshot,
        why: Forbidden,
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        let Forbidden {
            cause,
            keyring,
            is_reply,
        } = why;
        self.report_refused(snapshot, keyring, cause, publish);
        let tell =
            |reply: &&[u8]| !is_reply && self.may_send_no_responders(snapshot.policy(), reply);
        if let Some(reply) = publish.reply.filter(tell) {
            write::own_no_responders(out, reply);
        }
        let injected_errors = &mut self.state.borrow_mut().injected_errors;
        match publish.reply.filter(|_| is_reply) {
            Some(reply) => injected_errors.refuse_reply(reply, out),
            None => injected_errors.refuse(publish.subject, out),
        }
    }

    /// Whether a 503 may be published to the reply subject: only to an inbox, and not to a client without headers, for which it
    /// would be an empty answer, nor to a verbose client, which would get one `+OK` too many.
    fn may_send_no_responders(&self, policy: &Policy, reply: &[u8]) -> bool {
        let inbox = !matches!(policy.route(reply), Route::Keyring(_)) && !policy.is_system(reply);
        let reads = self.state.borrow().client_reads == ClientReads::Headers;
        inbox && reads && !self.options.verbose()
    }

    /// Refuses a subscription that matches nothing that the client may receive, so that the client learns of it, and a queue
    /// group loses no messages to it. `false`: it goes on.
    pub(super) fn refuses_subscription(
        &self,
        snapshot: &Snapshot,
        subject: &[u8],
        queue: Option<&[u8]>,
        out: &mut Buffer,
    ) -> bool {
        if !self.deliver_denied.any() || self.worker.shared.config.relay_only {
            return false;
        }
        let policy = snapshot.policy();
        let closed = policy.find_covering(subject, |keyring| self.deliver_denied.has(keyring));
        let Some(keyring) = closed else {
            return false;
        };
        let mut state = self.state.borrow_mut();
        let report = RefusedMessage {
            direction: Direction::Deliver,
            keyring: policy.name_of(Some(keyring)),
            cause: Cause::Identity,
            subject,
            identity: Some(state.identity.kinds()),
        };
        let refusal_log = &self.worker.shared.refusal_log;
        refusal_log.log_subscription(&report, self.now);
        state
            .injected_errors
            .refuse_subscription(subject, queue, out);
        true
    }
}
