//! What may answer a publish, and what a stream may deliver for it.

use crate::dataplane::headers;
use crate::dataplane::replies::{Class, ConsumerKind, PublishedRequest};
use crate::envelope::EnvelopeId;
use crate::policy::{Lookup, Policy, Role};
use crate::wire::{Publish, jetstream};

use super::decision::Sealing;
use super::path::PublishPath;
use super::request;

impl PublishPath<'_> {
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
}
