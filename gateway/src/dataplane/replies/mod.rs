//! What a connection remembers by reply subject: the requests that were delivered to the client, which decide how its answers
//! are sealed (`delivered_requests`), the requests that it has published, which decide what may answer them
//! (`published_requests`), its subscriptions (`subscriptions`), the streams that it has asked to deliver (`sources`), and the
//! bytes of its pulls and direct gets (`pulls`, `direct_get_batches`).

mod delivered_requests;
mod direct_get_batches;
mod published_requests;
mod pulls;
mod sources;
mod subscriptions;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::time::Instant;

use crate::policy::{KeyringId, Lookup, Role};
use crate::wire::header::DirectGetHeaders;
use crate::wire::jetstream::{BoundedPull, DirectGetBatch, Pending};
use crate::wire::subject::tokens;

use super::memory::MemoryReservation;

pub(super) use delivered_requests::{Answer, DeliveredRequest, ReplySubjectInUse};
pub(super) use direct_get_batches::BatchEnd;
pub(super) use published_requests::{Class, Keyrings, PublishedRequest};
pub(super) use sources::ConsumerKind;
pub(super) use subscriptions::WildcardScope;

use delivered_requests::DeliveredRequests;
use direct_get_batches::DirectGetBatches;
use published_requests::PublishedRequests;
use pulls::Pulls;
use sources::Sources;
use subscriptions::{FilterKind, Subscription, Subscriptions};
use table::Hash;

/// The prefix of the reply subject of every delivery from a stream. The server refuses a publish that has such a reply subject.
pub(super) const FROM_STREAM: &[u8] = b"$JS.ACK.";

/// The prefix of the subjects that the server names for flow control: as reply subjects, and in heartbeats of a stalled consumer.
pub(super) const FLOW_CONTROL: &[u8] = b"$JS.FC.";

/// How many prefixes of a subject are remembered, the subject itself included.
const DEPTH: usize = 8;

/// How many trace destinations of delivered messages are remembered.
const TRACES: usize = 64;

/// What one connection remembers by reply subject.
pub(super) struct Replies {
    hasher: foldhash::quality::RandomState,
    delivered_requests: DeliveredRequests,
    published_requests: PublishedRequests,
    subscriptions: Subscriptions,
    sources: Sources,
    pulls: Pulls,
    batches: DirectGetBatches,
    stream_keyrings: Keyrings,
    /// Trace destinations of delivered messages; if there are more than [`TRACES`], any subject counts as one.
    traces: HashSet<Hash, foldhash::fast::RandomState>,
}

/// A stream's message whose subject the filter of its subscription does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnmatchedDelivery<'r> {
    /// A keyring, if everything that is published where the filter matches is sealed.
    pub(super) keyring: Option<KeyringId>,
    /// The client's requests whose reply subject the subscription is.
    pub(super) asked: Option<&'r PublishedRequest>,
    /// Whether the client may have asked this stream to deliver to the subscription.
    pub(super) is_expected: bool,
}

impl Replies {
    pub(super) fn new(reservation: &Rc<MemoryReservation>) -> Self {
        Self {
            hasher: foldhash::quality::RandomState::default(),
            delivered_requests: DeliveredRequests::new(Rc::clone(reservation)),
            published_requests: PublishedRequests::new(Rc::clone(reservation)),
            subscriptions: Subscriptions::new(Rc::clone(reservation)),
            sources: Sources::new(Rc::clone(reservation)),
            pulls: Pulls::new(Rc::clone(reservation)),
            batches: DirectGetBatches::new(Rc::clone(reservation)),
            stream_keyrings: Keyrings::Nothing,
            traces: HashSet::default(),
        }
    }

    /// A request with this reply subject is about to be delivered.
    ///
    /// # Errors
    /// [`ReplySubjectInUse`]: it must not be delivered.
    pub(super) fn request_delivered(
        &mut self,
        reply: &[u8],
        request: DeliveredRequest,
        now: Instant,
    ) -> Result<(), ReplySubjectInUse> {
        let envelope = request
            .envelope()
            .map(|envelope| self.hasher.hash_one(envelope));
        let hashes = (self.hash(reply), self.hash(prefix(reply)), envelope);
        self.delivered_requests.delivered(hashes, request, now)
    }

    /// A stream has delivered a message of this keyring, to be acknowledged.
    pub(super) fn stream_message_delivered(&mut self, keyring: KeyringId) {
        self.stream_keyrings = self.stream_keyrings.and(Keyrings::One(keyring));
    }

    /// The keyrings under which streams have delivered: a publish on an acknowledgement subject that is no acknowledgement
    /// answers such a message.
    pub(super) const fn stream_keyrings(&self) -> Keyrings {
        self.stream_keyrings
    }

    /// How a publish to this subject is sealed, if it answers a delivered request.
    pub(super) fn answer_to(&mut self, subject: &[u8]) -> Answer {
        if self.delivered_requests.is_empty() {
            return Answer::Unknown;
        }
        let hashes = (self.hash(subject), self.hash(prefix(subject)));
        self.delivered_requests.answer(hashes)
    }

    /// Whether the client has published requests lately, so that answers may be on their way.
    pub(super) fn awaits_answers(&self) -> bool {
        !self.published_requests.is_empty()
    }

    /// Whether a request with this reply subject would be one of several: the client forwards a request that it received, or has
    /// published another one with it.
    pub(super) fn is_shared(&self, reply: &[u8], now: Instant) -> bool {
        if self.delivered_requests.is_empty() && self.published_requests.is_empty() {
            return false;
        }
        let hash = self.hash(fast_batch_subject(reply));
        let asked = self.published_requests.live(hash, now);
        asked.is_some_and(|asked| asked.is(Class::Protected))
            || self.delivered_requests.knows(hash, now)
    }

    /// The client has published a request with this reply subject. If it forwards a request that it received, nothing more may
    /// answer there than before: the reply subject may be one of its own.
    pub(super) fn request_published(
        &mut self,
        reply: &[u8],
        asked: PublishedRequest,
        now: Instant,
    ) {
        let hash = self.hash(fast_batch_subject(reply));
        let widens = !asked.is_only(Class::Protected) && !asked.is_only(Class::Pull);
        if widens && self.delivered_requests.knows(hash, now) {
            return;
        }
        if asked.is(Class::Protected) {
            let places = prefixes(prefix(reply)).take(DEPTH);
            let places = places.map(|start| self.hasher.hash_one(start));
            self.sources.awaits_answers(places, now);
        }
        self.published_requests.published(hash, asked, now);
    }

    /// The client has asked a stream to deliver on `subject`.
    pub(super) fn stream_asked(
        &mut self,
        (stream, subject): (&[u8], &[u8]),
        delivers: ConsumerKind,
        now: Instant,
    ) {
        let hasher = &self.hasher;
        let places = prefixes(subject).take(DEPTH).map(|start| {
            let place = hasher.hash_one(start);
            [place, hasher.hash_one((place, stream))]
        });
        self.sources.delivers(places, delivers, now);
    }

    /// The client has published a pull that is bounded by bytes. `grant`: its bounds as widened, where its statuses do not have
    /// them.
    pub(super) fn pulled(&mut self, reply: &[u8], grant: Option<BoundedPull>, now: Instant) {
        self.pulls
            .pulled(self.hash(fast_batch_subject(reply)), grant, now);
    }

    /// A stream has delivered a message without an envelope to this subscription.
    pub(super) fn delivered_unsealed(&mut self, sid: &[u8], now: Instant) {
        if self.pulls.is_empty() {
            return;
        }
        let subscription = self.subscriptions.live(self.hash(sid), now);
        if let Some(&Subscription {
            start,
            kind: FilterKind::Subject,
            ..
        }) = subscription
        {
            self.pulls.count_unsealed(start);
        }
    }

    /// The bytes that are left of a pull with this status, in plaintext.
    pub(super) fn pull_bytes_left(&mut self, reply: &[u8], told: Pending) -> Option<u64> {
        self.pulls.left(self.hash(fast_batch_subject(reply)), told)
    }

    /// The client has published a direct get for several messages.
    pub(super) fn batch_asked(&mut self, reply: &[u8], batch: DirectGetBatch, now: Instant) {
        self.batches.asked(self.hash(reply), batch, now);
    }

    /// Whether it has done so lately.
    pub(super) fn awaits_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// A message of a direct get comes: whether it exceeds the client's bound.
    pub(super) fn is_surplus(&mut self, reply: &[u8], (sequence, pending): (u64, u64)) -> bool {
        let reply = self.hash(reply);
        self.batches.is_surplus(reply, (sequence, pending))
    }

    /// A message of a direct get was forwarded: subject, headers and plaintext have so many bytes.
    pub(super) fn batch_forwarded(
        &mut self,
        reply: &[u8],
        stored: &DirectGetHeaders<'_>,
        bytes: usize,
    ) {
        self.batches.forwarded(self.hash(reply), stored, bytes);
    }

    /// Whether a status on this subject ends a direct get.
    pub(super) fn ends_batch(&self, reply: &[u8], now: Instant) -> bool {
        self.awaits_batches() && self.batches.live(self.hash(reply), now).is_some()
    }

    /// A direct get ends, this message being the last: the numbers to be put in the status, if they differ from the server's.
    pub(super) fn batch_ended(&mut self, reply: &[u8], sequence: Option<u64>) -> Option<BatchEnd> {
        self.batches.ended(self.hash(reply), sequence)
    }

    /// The client subscribes. `keyring`: everything that is published where `filter` matches is sealed under it, or another.
    pub(super) fn subscribed(
        &mut self,
        sid: &[u8],
        (filter, keyring, covers): (&[u8], Option<KeyringId>, WildcardScope),
        now: Instant,
    ) {
        let start = literal_prefix(filter);
        let kind = if start.len() == filter.len() {
            FilterKind::Subject
        } else {
            FilterKind::Wildcards(covers)
        };
        // A filter that begins with a wildcard may match any subject.
        if start.is_empty() && keyring.is_none() {
            return;
        }
        let subscription = Subscription {
            start: self.hash(fast_batch_subject(start)),
            tokens: tokens(start).count(),
            kind,
            keyring,
            lasts: true,
        };
        self.subscriptions
            .subscribed(self.hash(sid), subscription, now);
    }

    /// The client unsubscribes, at once or after `max` messages.
    pub(super) fn unsubscribed(&mut self, sid: &[u8], max: Option<&[u8]>) {
        if self.subscriptions.is_empty() {
            return;
        }
        let sid = self.hash(sid);
        match max {
            None => self.subscriptions.remove(sid),
            Some(_) => {
                if let Some(subscription) = self.subscriptions.get_mut(sid) {
                    subscription.lasts = false;
                }
            }
        }
    }

    /// The subscription of a stream's message, if its filter does not match the message's subject.
    pub(super) fn unmatched_delivery(
        &self,
        sid: &[u8],
        (stream, subject): (&[u8], &[u8]),
        now: Instant,
    ) -> Option<UnmatchedDelivery<'_>> {
        let subscription = *self.subscriptions.live(self.hash(sid), now)?;
        let start = subscription.start;
        let is_subject = subscription.kind == FilterKind::Subject;
        if is_subject && start == self.hash(fast_batch_subject(subject)) {
            return None;
        }
        let comes_from_asked = || {
            let of_stream = self.hasher.hash_one((start, stream));
            self.sources.at(of_stream, now).streams.is_some()
        };
        let expected = self.sources.at(start, now);
        let judged = match subscription.kind {
            // A consumer that existed before, or was created by others, may deliver where this client has asked no stream to.
            FilterKind::Subject => expected.streams.is_some(),
            // It may match: then it may be an ordinary publish.
            FilterKind::Wildcards(_)
                if start == self.hash(first_tokens(subject, subscription.tokens)) =>
            {
                false
            }
            FilterKind::Wildcards(WildcardScope::Inboxes) => true,
            // While nothing is awaited on this connection, deliveries that were asked for on an earlier one may come.
            FilterKind::Wildcards(WildcardScope::Other) => {
                expected.streams.is_some() || expected.answers
            }
        };
        Some(UnmatchedDelivery {
            keyring: subscription.keyring,
            // Clients with a wildcard subscription tell answers apart by their subjects.
            asked: is_subject
                .then(|| self.published_requests.live(start, now))
                .flatten(),
            is_expected: !judged || comes_from_asked(),
        })
    }

    /// The client's requests with this reply subject.
    pub(super) fn request_on(&self, subject: &[u8], now: Instant) -> Option<&PublishedRequest> {
        if self.published_requests.is_empty() {
            return None;
        }
        self.published_requests
            .live(self.hash(fast_batch_subject(subject)), now)
    }

    /// Whether it is the deliver subject of a push consumer that the client has created on this connection.
    pub(super) fn is_pushed_to(&self, subject: &[u8], now: Instant) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        let expected = self.sources.at(self.hash(subject), now);
        expected.streams == Some(ConsumerKind::Push)
    }

    /// The short hash of a stored message's subject, for [`PublishedRequest::stored`].
    pub(super) fn short_hash(&self, subject: &[u8]) -> u32 {
        // Half of a keyed hash is enough to tell two subjects apart.
        let [a, b, c, d, ..] = self.hash(subject).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// What each table holds, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> [(&'static str, usize); 6] {
        [
            ("what it owes", self.delivered_requests.bytes()),
            ("what it has asked", self.published_requests.bytes()),
            ("its subscriptions", self.subscriptions.bytes()),
            ("the streams it has asked", self.sources.bytes()),
            ("its pulls", self.pulls.bytes()),
            ("its batches", self.batches.bytes()),
        ]
    }

    fn hash(&self, subject: &[u8]) -> Hash {
        self.hasher.hash_one(subject)
    }

    /// A message with this trace destination was delivered.
    pub(super) fn trace_delivered(&mut self, destination: &[u8]) {
        if self.traces.len() <= TRACES {
            self.traces.insert(self.hash(destination));
        }
    }

    /// Whether a message with this trace destination may have been delivered.
    pub(super) fn was_trace_delivered(&self, destination: &[u8]) -> bool {
        self.traces.len() > TRACES
            || !self.traces.is_empty() && self.traces.contains(&self.hash(destination))
    }
}

/// Whether publishes on this subject may be answers to requests that had it as their reply subject. Subjects that a keyring names
/// explicitly are not, nor those that the server reads, such as JetStream's acknowledgements.
pub(super) fn is_answer_subject(lookup: Lookup) -> bool {
    matches!(lookup.role, Role::User | Role::Reply) && lookup.explicit_user_keyring().is_none()
}

/// All tokens but the last: what the reply subjects of one requester have in common.
fn prefix(reply: &[u8]) -> &[u8] {
    let dot = memchr::memrchr(b'.', reply);
    dot.and_then(|dot| reply.get(..dot)).unwrap_or_default()
}

/// The tokens of a filter before its first wildcard.
fn literal_prefix(filter: &[u8]) -> &[u8] {
    let is_wildcard = |token: &[u8]| token == b"*" || token == b">";
    first_tokens(
        filter,
        tokens(filter)
            .take_while(|token| !is_wildcard(token))
            .count(),
    )
}

/// The first `count` tokens of a subject; all if it has fewer.
fn first_tokens(subject: &[u8], count: usize) -> &[u8] {
    let mut dots = memchr::memchr_iter(b'.', subject);
    match count.checked_sub(1) {
        None => b"",
        Some(skipped) => dots
            .nth(skipped)
            .and_then(|dot| subject.get(..dot))
            .unwrap_or(subject),
    }
}

/// A subject and its prefixes, one token less each time.
fn prefixes(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(subject), |subject| Some(prefix(subject)))
        .take_while(|start| !start.is_empty())
}

/// The part of a reply subject that identifies a fast-ingest batch. Each message of a batch has a reply subject of its own,
/// `<inbox>.<id>.<flow>.<gap>.<sequence>.<operation>.$FI`: the part before the flow is that of the batch. Other reply subjects
/// stay whole.
fn fast_batch_subject(reply: &[u8]) -> &[u8] {
    if !reply.ends_with(b".$FI") {
        return reply;
    }
    let mut batch = reply;
    for _ in 0..5 {
        batch = prefix(batch);
    }
    if batch.is_empty() { reply } else { batch }
}
