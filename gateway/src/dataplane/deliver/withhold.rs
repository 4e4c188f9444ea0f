//! Withholds messages: counts and logs them, tells their stream, and writes a substitute where the keyring has one.

use crate::dataplane::refusal_log::RefusedMessage;
use crate::keyring::{self, Snapshot};
use crate::metrics::{Cause, Direction};
use crate::policy::KeyringId;
use crate::wire::Buffer;

use super::path::{DeliverPath, Incoming};
use super::requests::DeliveredAs;
use super::undecryptable::{self, Disposition};

impl DeliverPath<'_> {
    /// The keyring that must have sealed an envelope, or whose kid it has, if the client may not receive its messages. Touches no
    /// key.
    pub(super) fn denied_keyring(
        &self,
        snapshot: &Snapshot,
        expected: Option<KeyringId>,
        payload: &[u8],
    ) -> Option<KeyringId> {
        let state = self.state.borrow();
        let denied = &state.identity.deliver_denied;
        if !denied.any() {
            return None;
        }
        let named = || keyring::keyring_of(snapshot, payload);
        let closed = |keyring: &KeyringId| denied.has(*keyring);
        expected.filter(closed).or_else(|| named().filter(closed))
    }

    pub(super) fn withhold(
        &self,
        (keyring, cause): (Option<KeyringId>, Cause),
        incoming: Incoming<'_>,
        out: &mut Buffer,
    ) {
        let Incoming { snapshot, message } = incoming;
        self.tell_withheld((keyring, cause), incoming);
        let policy = snapshot.policy();
        let keyring = keyring.or_else(|| self.routes.route().covering_keyring());
        let Some(rule) = keyring.and_then(|id| policy.keyring(id)) else {
            return;
        };
        let mut state = self.state.borrow_mut();
        let withheld = &mut self.worker.withheld.borrow_mut();
        let why = (cause, self.now);
        let disposition =
            undecryptable::apply(rule.undecryptable, message, why, withheld, &mut state);
        match disposition {
            Disposition::Nothing => {}
            Disposition::Substitute => {
                let client = state.client_reads;
                drop(state);
                let comes = keyring.map_or(DeliveredAs::Plain(None), DeliveredAs::Empty);
                // The substitute would have the same reply subject, for which the message is withheld.
                if cause != Cause::Reply && self.admits_request(comes, incoming) {
                    undecryptable::substitute(message, cause, client, out);
                }
            }
            Disposition::Terminated => {
                let reply = String::from_utf8_lossy(message.reply.unwrap_or_default());
                tracing::error!(cause = <&str>::from(cause), %reply, "a stored message was terminated: its consumer goes on without it");
            }
        }
    }

    pub(super) fn tell_withheld(
        &self,
        (keyring, cause): (Option<KeyringId>, Cause),
        Incoming { snapshot, message }: Incoming<'_>,
    ) {
        let meters = self.worker.meters.keyring(keyring.map(KeyringId::index));
        meters.withheld(cause, message.payload.len());
        let report = RefusedMessage {
            direction: Direction::Deliver,
            keyring: snapshot.policy().name_of(keyring),
            cause,
            subject: message.subject,
            identity: (cause == Cause::Identity).then(|| self.state.borrow().identity.kinds()),
        };
        self.worker.shared.refusal_log.log(&report, self.now);
    }
}
