//! Publishes and subscriptions that are refused: the keyring does not admit the client, no key version could seal the payload, or
//! it is not known which keyring an answer belongs to.

use crate::dataplane::link::Reads;
use crate::dataplane::reports::Report;
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{KeyringId, Look, Policy, Route};
use crate::wire::jetstream::{self, Place, Request};
use crate::wire::{Buffer, Publish, write};

use super::batch::PublishPath;
use super::decide::Seals;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    cause: Cause,
    keyring: Option<KeyringId>,
    /// Whether it is for its reply subject.
    is_reply: bool,
}

/// Whether the payload exceeds the whole byte budget of a key version: no rotation would help.
fn is_beyond(policy: &Policy, keyring: KeyringId, publish: &Publish<'_>) -> bool {
    let rule = policy.keyring(keyring);
    let len = u64::try_from(publish.payload.len()).unwrap_or(u64::MAX);
    rule.is_some_and(|rule| len > rule.longest)
}

impl PublishPath<'_> {
    /// Why a publish is not forwarded, if it is not: it is not known which request it answers; it exceeds what a key version may
    /// seal; or a keyring does not admit the client on the subject (empty messages are signals, too), or on one where it has a
    /// responder or the server publish.
    pub(super) fn forbidden(
        &self,
        policy: &Policy,
        (look, seals): (Look, Seals),
        publish: &Publish<'_>,
    ) -> Option<Forbidden> {
        let because = |cause, keyring, is_reply| Forbidden {
            cause,
            keyring,
            is_reply,
        };
        if seals == Seals::Unclear {
            return Some(because(Cause::Reply, None, false));
        }
        // The gateway must read the same out of the body as the server does.
        let request = look.request(publish.subject).map(Request::of);
        if request.is_some_and(|request| !jetstream::is_clear(request, publish.payload)) {
            return Some(because(Cause::Unclear, None, false));
        }
        let beyond = |keyring: &KeyringId| is_beyond(policy, *keyring, publish);
        if let Some(keyring) = seals.keyring().filter(beyond) {
            return Some(because(Cause::TooLarge, Some(keyring), false));
        }
        if !self.mute.any() && !self.deaf.any() {
            return None;
        }
        let mute = |keyring: &KeyringId| self.mute.has(*keyring);
        if let Some(keyring) = seals.keyring().filter(mute) {
            return Some(because(Cause::Identity, Some(keyring), false));
        }
        let named = |reply| policy.look(reply).claimed().filter(mute);
        let asks = |reply| self.barred().filter(|_| policy.may_request(reply));
        let refused = |reply| named(reply).or_else(|| asks(reply));
        if let Some(keyring) = publish.reply.and_then(refused) {
            return Some(because(Cause::Identity, Some(keyring), true));
        }
        let keyring = self.destination(policy, look, publish)?;
        Some(because(Cause::Identity, Some(keyring), false))
    }

    /// The keyring that does not admit the client on a subject that its request or its headers have the server publish to, store
    /// or copy.
    fn destination(&self, policy: &Policy, look: Look, publish: &Publish<'_>) -> Option<KeyringId> {
        let mut closed = None;
        let is_mute = |keyring| self.mute.has(keyring);
        let is_barred = |keyring| self.mute.has(keyring) || self.deaf.has(keyring);
        let mut judge = |place: Place<'_>| {
            let found = match place {
                // What the server publishes to an API subject becomes a request that nobody checks.
                Place::To(subject) => policy
                    .reaches(subject, is_mute)
                    .or_else(|| self.barred().filter(|_| policy.may_request(subject))),
                Place::Asked(subject) => policy.reaches(subject, is_mute),
                Place::From(subject) => policy.reaches(subject, is_barred),
                Place::FromStream(_) => None,
            };
            closed = closed.or(found);
        };
        if let Some(headers) = publish.headers {
            jetstream::header_destinations(headers, &mut judge);
        }
        if let Some(request) = look.request(publish.subject) {
            jetstream::destinations(Request::of(request), publish.payload, &mut judge);
        }
        closed
    }

    /// A keyring that does not admit the client in one direction or the other.
    fn barred(&self) -> Option<KeyringId> {
        self.mute.first().or_else(|| self.deaf.first())
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
        self.refused(snapshot, keyring, cause, publish);
        let tell = |reply: &&[u8]| !is_reply && self.may_tell(snapshot.policy(), reply);
        if let Some(reply) = publish.reply.filter(tell) {
            write::own_no_responders(out, reply);
        }
        let refusals = &mut self.link.borrow_mut().refusals;
        match publish.reply.filter(|_| is_reply) {
            Some(reply) => refusals.refuse_reply(reply, out),
            None => refusals.refuse(publish.subject, out),
        }
    }

    /// Whether a 503 may be published to the reply subject: only to an inbox, and not to a client without headers, for which it
    /// would be an empty answer, nor to a verbose client, which would get one `+OK` too many.
    fn may_tell(&self, policy: &Policy, reply: &[u8]) -> bool {
        let inbox = !matches!(policy.route(reply), Route::Keyring(_)) && !policy.is_system(reply);
        let reads = self.link.borrow().client == Reads::Headers;
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
        if !self.deaf.any() || self.worker.shared.config.relay_only {
            return false;
        }
        let policy = snapshot.policy();
        let closed = policy.closes(subject, |keyring| self.deaf.has(keyring));
        let Some(keyring) = closed else {
            return false;
        };
        let mut link = self.link.borrow_mut();
        let report = Report {
            direction: Direction::Deliver,
            keyring: policy.name_of(Some(keyring)),
            cause: Cause::Identity,
            subject,
            identity: Some(link.identity.kinds()),
        };
        let reports = &self.worker.shared.reports;
        reports.tell_unsubscribed(&report, self.now);
        link.refusals.refuse_subscription(subject, queue, out);
        true
    }
}
