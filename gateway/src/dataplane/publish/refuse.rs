//! Refuses publishes and subscriptions.

use crate::dataplane::refusal_log::RefusedMessage;
use crate::dataplane::session_state::ClientReads;
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::{Policy, Route};
use crate::wire::{Buffer, Publish, write};

use super::decision::{Refusal, RefusalAnswer};
use super::path::PublishPath;

impl PublishPath<'_> {
    /// Refuses a publish: injects an error that leaves the connection open, and answers a request, so that it fails at once.
    pub(super) fn refuse(
        &self,
        snapshot: &Snapshot,
        refusal: Refusal,
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) {
        self.report_refused(snapshot, refusal.keyring, refusal.cause, publish);
        // Published through the server, which alone knows the client's subscriptions. A verbose client would get one `+OK` too
        // many.
        if let Some(reply) = publish.reply.filter(|_| !self.options.verbose) {
            match refusal.answer {
                RefusalAnswer::NoResponders if self.takes_status(snapshot.policy(), reply) => {
                    write::own_no_responders(out, reply);
                }
                RefusalAnswer::NoResponders | RefusalAnswer::Nothing => {}
                RefusalAnswer::Error(answer) | RefusalAnswer::Unexpected(answer) => {
                    write::own_publish(out, reply, answer);
                }
            }
        }
        let injected_errors = &mut self.state.borrow_mut().injected_errors;
        match publish.reply {
            Some(reply) if refusal.answer == RefusalAnswer::Nothing => {
                injected_errors.refuse_reply(reply, out);
            }
            Some(_) | None => injected_errors.refuse(publish.subject, out),
        }
    }

    /// Whether a 503 may be published to the reply subject: only to an inbox, and not to a client without headers, for which it
    /// would be an empty answer.
    fn takes_status(&self, policy: &Policy, reply: &[u8]) -> bool {
        let inbox = !matches!(policy.route(reply), Route::Keyring(_)) && !policy.is_system(reply);
        inbox && self.state.borrow().client_reads == ClientReads::Headers
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
        let mut state = self.state.borrow_mut();
        let denied = &state.identity.deliver_denied;
        if !denied.any() || self.worker.shared.config.relay_only {
            return false;
        }
        let policy = snapshot.policy();
        let closed = policy.find_covering(subject, |keyring| denied.has(keyring));
        let Some(keyring) = closed else {
            return false;
        };
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
