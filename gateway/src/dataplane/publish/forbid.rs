//! Decides which publishes are forbidden: a keyring does not admit the client, no key version could seal the payload, or it is not
//! known which keyring an answer belongs to.

use crate::metrics::Cause;
use crate::policy::KeyringId;
use crate::wire::jetstream::{self, Request, SubjectUse};

use super::decision::{DecisionContext, Refusal, RefusalAnswer, Sealing};

impl DecisionContext<'_, '_> {
    /// Why a publish is not forwarded, if it is not: it is not known which request it answers; it exceeds what a key version may
    /// seal; or a keyring does not admit the client on the subject (empty messages are signals, too), or on one where it has a
    /// responder or the server publish.
    pub(super) fn forbidden(&self, sealing: Sealing) -> Option<Refusal> {
        let (policy, publish) = (self.policy, self.publish);
        let because = |cause, keyring| Refusal {
            cause,
            keyring,
            answer: RefusalAnswer::NoResponders,
        };
        if sealing == Sealing::Unclear {
            return Some(because(Cause::Reply, None));
        }
        // The gateway must read the same out of the body as the server does.
        let request = self.lookup.request(publish.subject).map(Request::of);
        if request.is_some_and(|request| !jetstream::is_unambiguous(request, publish.payload)) {
            return Some(because(Cause::Unclear, None));
        }
        let beyond = |keyring: &KeyringId| self.exceeds_key_version(*keyring);
        if let Some(keyring) = sealing.keyring().filter(beyond) {
            return Some(because(Cause::TooLarge, Some(keyring)));
        }
        let any_denied = self.any_denied()?;
        let denied = |keyring: &KeyringId| self.state.identity.publish_denied.has(*keyring);
        if let Some(keyring) = sealing.keyring().filter(denied) {
            return Some(because(Cause::Identity, Some(keyring)));
        }
        let named = |reply| policy.lookup(reply).explicit_keyring().filter(denied);
        let asks = |reply| policy.may_match_api_request(reply).then_some(any_denied);
        let refused = |reply| named(reply).or_else(|| asks(reply));
        if let Some(keyring) = publish.reply.and_then(refused) {
            return Some(Refusal {
                answer: RefusalAnswer::Nothing,
                ..because(Cause::Identity, Some(keyring))
            });
        }
        let keyring = self.denied_destination(any_denied)?;
        Some(because(Cause::Identity, Some(keyring)))
    }

    /// The keyring that does not admit the client on a subject that its request or its headers have the server publish to, store
    /// or copy.
    fn denied_destination(&self, any_denied: KeyringId) -> Option<KeyringId> {
        let (policy, identity) = (self.policy, &self.state.identity);
        let publish = self.publish;
        let mut closed = None;
        let is_publish_denied = |keyring| identity.publish_denied.has(keyring);
        let is_denied =
            |keyring| is_publish_denied(keyring) || identity.deliver_denied.has(keyring);
        let mut judge = |place: SubjectUse<'_>| {
            let found = match place {
                // What the server publishes to an API subject becomes a request that nobody checks.
                SubjectUse::PublishTo(subject) => policy
                    .find_overlapping(subject, is_publish_denied)
                    .or_else(|| policy.may_match_api_request(subject).then_some(any_denied)),
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
        if let Some(request) = self.lookup.request(publish.subject) {
            jetstream::subject_uses(Request::of(request), publish.payload, &mut judge);
        }
        closed
    }

    /// Whether the payload exceeds the whole byte budget of a key version: no rotation would help.
    fn exceeds_key_version(&self, keyring: KeyringId) -> bool {
        let rule = self.policy.keyring(keyring);
        let len = u64::try_from(self.publish.payload.len()).unwrap_or(u64::MAX);
        rule.is_some_and(|rule| len > rule.max_payload_len)
    }

    /// A keyring that does not admit the client in one direction or the other.
    fn any_denied(&self) -> Option<KeyringId> {
        let identity = &self.state.identity;
        let first = identity.publish_denied.first();
        first.or_else(|| identity.deliver_denied.first())
    }
}
