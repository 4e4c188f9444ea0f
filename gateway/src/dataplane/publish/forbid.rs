//! What a client may not publish or subscribe to: because of who it is not, or because no key version could seal it.

use crate::dataplane::link::Reads;
use crate::dataplane::reports::Report;
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{KeyringId, Look, Policy, Route};
use crate::wire::{Buffer, Publish, write};

use super::batch::PublishPath;

/// Whether the payload is longer than all that a key version of the keyring may seal: no rotation would help.
pub(super) fn is_beyond(policy: &Policy, keyring: KeyringId, publish: &Publish<'_>) -> bool {
    let rule = policy.keyring(keyring);
    let len = u64::try_from(publish.payload.len()).unwrap_or(u64::MAX);
    rule.is_some_and(|rule| len > rule.longest)
}

impl PublishPath<'_> {
    /// The keyring that does not admit the client, where it would publish under one. Empty messages are signals too.
    pub(super) fn barring(&self, look: Look, publish: &Publish<'_>) -> Option<KeyringId> {
        if !self.mute.any() {
            return None;
        }
        let keyring = self.keyring_of(look, publish);
        keyring.filter(|keyring| self.mute.has(*keyring))
    }

    /// R44: the client survives the error, and a request fails at once.
    pub(super) fn forbid(
        &self,
        snapshot: &Snapshot,
        (keyring, cause): (KeyringId, Cause),
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        self.refused(snapshot, Some(keyring), cause, publish);
        let reply = publish.reply;
        if let Some(reply) = reply.filter(|reply| self.may_tell(snapshot.policy(), reply)) {
            write::own_no_responders(out, reply);
        }
        let refusals = &mut self.link.borrow_mut().refusals;
        refusals.refuse(publish.subject, out);
    }

    /// Whether the answer goes to an inbox, and to a client that understands it: without headers it would be an empty answer, and a
    /// verbose client would get one `+OK` too many.
    fn may_tell(&self, policy: &Policy, reply: &[u8]) -> bool {
        let inbox = !matches!(policy.route(reply), Route::Keyring(_)) && !policy.is_system(reply);
        let reads = self.link.borrow().client == Reads::Headers;
        inbox && reads && !self.options.verbose()
    }

    /// Whether nothing could come of a subscription that the client may have: then it is refused, so that the client knows, and a queue
    /// group loses no messages to it.
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
