//! What a connection remembers by reply subject: the requests that were delivered to the client, which decide how its answers
//! are sealed (`owed::`), the requests that it has published, which decide what may answer them
//! (`asked::`), its subscriptions (`subscribed::`), the streams that it has asked to deliver (`sources`), and the
//! bytes of its pulls and direct gets (`pulls`, `batches::`).

mod asked;
mod batches;
mod owed;
mod pulls;
mod sources;
mod subscribed;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::time::Instant;

use crate::policy::{KeyringId, Look, Role};
use crate::wire::header::DirectGet;
use crate::wire::jetstream::{Batch, Grant, Pending};
use crate::wire::subject::tokens;

use super::account::Account;

pub(super) use asked::{Asked, Class};
pub(super) use batches::End;
pub(super) use owed::{Answer, Request, Taken};
pub(super) use sources::Delivers;
pub(super) use subscribed::Covers;

use asked::Asking;
use batches::Batches;
use owed::Owed;
use pulls::Pulls;
use sources::Sources;
use subscribed::{Kind, Subscribed, Subscription};
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
    owed: Owed,
    asked: Asking,
    subscribed: Subscribed,
    sources: Sources,
    pulls: Pulls,
    batches: Batches,
    stored: Stored,
    /// Trace destinations of delivered messages; if there are more than [`TRACES`], any subject counts as one.
    traces: HashSet<Hash, foldhash::fast::RandomState>,
}

/// The keyrings under which streams have delivered messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Nothing,
    One(KeyringId),
    Several,
}

/// A stream's message whose subject the filter of its subscription does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere<'r> {
    /// A keyring, if everything that is published where the filter matches is sealed.
    pub(super) keyring: Option<KeyringId>,
    /// The client's requests whose reply subject the subscription is.
    pub(super) asked: Option<&'r Asked>,
    /// Whether the client may have asked this stream to deliver to the subscription.
    pub(super) is_expected: bool,
}

impl Replies {
    pub(super) fn new(account: &Rc<Account>) -> Self {
        Self {
            hasher: foldhash::quality::RandomState::default(),
            owed: Owed::new(Rc::clone(account)),
            asked: Asking::new(Rc::clone(account)),
            subscribed: Subscribed::new(Rc::clone(account)),
            sources: Sources::new(Rc::clone(account)),
            pulls: Pulls::new(Rc::clone(account)),
            batches: Batches::new(Rc::clone(account)),
            stored: Stored::Nothing,
            traces: HashSet::default(),
        }
    }

    /// A request with this reply subject is about to be delivered.
    ///
    /// # Errors
    /// [`Taken`]: it must not be delivered.
    pub(super) fn request_delivered(
        &mut self,
        reply: &[u8],
        request: Request,
        now: Instant,
    ) -> Result<(), Taken> {
        let envelope = request
            .envelope()
            .map(|envelope| self.hasher.hash_one(envelope));
        let hashes = (self.hash(reply), self.hash(prefix(reply)), envelope);
        self.owed.delivered(hashes, request, now)
    }

    /// A stream has delivered a message of this keyring, to be acknowledged.
    pub(super) fn stored_delivered(&mut self, keyring: KeyringId) {
        self.stored = match self.stored {
            Stored::Nothing => Stored::One(keyring),
            Stored::One(before) if before == keyring => self.stored,
            Stored::One(_) | Stored::Several => Stored::Several,
        };
    }

    /// The keyrings under which streams have delivered: a publish on an acknowledgement subject that is no acknowledgement
    /// answers such a message.
    pub(super) const fn stored(&self) -> Stored {
        self.stored
    }

    /// How a publish to this subject is sealed, if it answers a delivered request.
    pub(super) fn answer_to(&mut self, subject: &[u8]) -> Answer {
        if self.owed.is_empty() {
            return Answer::Unknown;
        }
        let hashes = (self.hash(subject), self.hash(prefix(subject)));
        self.owed.answer(hashes)
    }

    /// Whether the client has published requests lately, so that answers may be on their way.
    pub(super) fn awaits_answers(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether a request with this reply subject would be one of several: the client forwards a request that it received, or has
    /// published another one with it.
    pub(super) fn is_shared(&self, reply: &[u8], now: Instant) -> bool {
        if self.owed.is_empty() && self.asked.is_empty() {
            return false;
        }
        let hash = self.hash(batch(reply));
        let asked = self.asked.get(hash, now);
        asked.is_some_and(|asked| asked.is(Class::Protected)) || self.owed.knows(hash, now)
    }

    /// The client has published a request with this reply subject. If it forwards a request that it received, nothing more may
    /// answer there than before: the reply subject may be one of its own.
    pub(super) fn request_published(&mut self, reply: &[u8], asked: Asked, now: Instant) {
        let hash = self.hash(batch(reply));
        let widens = !asked.is_only(Class::Protected) && !asked.is_only(Class::Pull);
        if widens && self.owed.knows(hash, now) {
            return;
        }
        if asked.is(Class::Protected) {
            let places = starts(prefix(reply)).take(DEPTH);
            let places = places.map(|start| self.hasher.hash_one(start));
            self.sources.awaits_answers(places, now);
        }
        self.asked.published(hash, asked, now);
    }

    /// The client has asked a stream to deliver on `subject`.
    pub(super) fn stream_asked(
        &mut self,
        (stream, subject): (&[u8], &[u8]),
        delivers: Delivers,
        now: Instant,
    ) {
        let hasher = &self.hasher;
        let places = starts(subject).take(DEPTH).map(|start| {
            let place = hasher.hash_one(start);
            [place, hasher.hash_one((place, stream))]
        });
        self.sources.delivers(places, delivers, now);
    }

    /// The client has published a pull that is bounded by bytes. `grant`: its bounds as widened, where its statuses do not have
    /// them.
    pub(super) fn pulled(&mut self, reply: &[u8], grant: Option<Grant>, now: Instant) {
        self.pulls.pulled(self.hash(batch(reply)), grant, now);
    }

    /// A stream has delivered a message without an envelope to this subscription.
    pub(super) fn delivered_unsealed(&mut self, sid: &[u8], now: Instant) {
        if self.pulls.is_empty() {
            return;
        }
        let subscription = self.subscribed.get(self.hash(sid), now);
        if let Some(&Subscription {
            start,
            kind: Kind::Subject,
            ..
        }) = subscription
        {
            self.pulls.unsealed(start);
        }
    }

    /// The bytes that are left of a pull with this status, in plaintext.
    pub(super) fn left(&mut self, reply: &[u8], told: Pending) -> Option<u64> {
        self.pulls.left(self.hash(batch(reply)), told)
    }

    /// The client has published a direct get for several messages.
    pub(super) fn batch_asked(&mut self, reply: &[u8], batch: Batch, now: Instant) {
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
    pub(super) fn batch_came(&mut self, reply: &[u8], stored: &DirectGet<'_>, bytes: usize) {
        self.batches.came(self.hash(reply), stored, bytes);
    }

    /// Whether a status on this subject ends a direct get.
    pub(super) fn ends_batch(&self, reply: &[u8], now: Instant) -> bool {
        self.awaits_batches() && self.batches.knows(self.hash(reply), now)
    }

    /// A direct get ends, this message being the last: the numbers to be put in the status, if they differ from the server's.
    pub(super) fn batch_ended(&mut self, reply: &[u8], sequence: Option<u64>) -> Option<End> {
        self.batches.ended(self.hash(reply), sequence)
    }

    /// The client subscribes. `keyring`: everything that is published where `filter` matches is sealed under it, or another.
    pub(super) fn subscribed(
        &mut self,
        sid: &[u8],
        (filter, keyring, covers): (&[u8], Option<KeyringId>, Covers),
        now: Instant,
    ) {
        let start = literal(filter);
        let kind = if start.len() == filter.len() {
            Kind::Subject
        } else {
            Kind::Wildcards(covers)
        };
        // A filter that begins with a wildcard may match any subject.
        if start.is_empty() && keyring.is_none() {
            return;
        }
        let subscription = Subscription {
            start: self.hash(batch(start)),
            tokens: tokens(start).count(),
            kind,
            keyring,
        };
        self.subscribed
            .subscribed(self.hash(sid), subscription, now);
    }

    /// The client unsubscribes, at once or after `max` messages.
    pub(super) fn unsubscribed(&mut self, sid: &[u8], max: Option<&[u8]>) {
        if self.subscribed.is_empty() {
            return;
        }
        let sid = self.hash(sid);
        match max {
            None => self.subscribed.unsubscribed(sid),
            Some(_) => self.subscribed.limited(sid),
        }
    }

    /// The subscription of a stream's message, if its filter does not match the message's subject.
    pub(super) fn comes_elsewhere(
        &self,
        sid: &[u8],
        (stream, subject): (&[u8], &[u8]),
        now: Instant,
    ) -> Option<Elsewhere<'_>> {
        let subscription = *self.subscribed.get(self.hash(sid), now)?;
        let start = subscription.start;
        let is_subject = subscription.kind == Kind::Subject;
        if is_subject && start == self.hash(batch(subject)) {
            return None;
        }
        let comes_from_asked = || {
            let of_stream = self.hasher.hash_one((start, stream));
            self.sources.at(of_stream, now).streams.is_some()
        };
        let expected = self.sources.at(start, now);
        let judged = match subscription.kind {
            // A consumer that existed before, or was created by others, may deliver where this client has asked no stream to.
            Kind::Subject => expected.streams.is_some(),
            // It may match: then it may be an ordinary publish.
            Kind::Wildcards(_) if start == self.hash(first(subject, subscription.tokens)) => false,
            Kind::Wildcards(Covers::Inboxes) => true,
            // While nothing is awaited on this connection, deliveries that were asked for on an earlier one may come.
            Kind::Wildcards(Covers::Other) => expected.streams.is_some() || expected.answers,
        };
        Some(Elsewhere {
            keyring: subscription.keyring,
            // Clients with a wildcard subscription tell answers apart by their subjects.
            asked: is_subject.then(|| self.asked.get(start, now)).flatten(),
            is_expected: !judged || comes_from_asked(),
        })
    }

    /// The client's requests with this reply subject.
    pub(super) fn asked(&self, subject: &[u8], now: Instant) -> Option<&Asked> {
        if self.asked.is_empty() {
            return None;
        }
        self.asked.get(self.hash(batch(subject)), now)
    }

    /// Whether it is the deliver subject of a push consumer that the client has created on this connection.
    pub(super) fn is_pushed_to(&self, subject: &[u8], now: Instant) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        let expected = self.sources.at(self.hash(subject), now);
        expected.streams == Some(Delivers::FromNowOn)
    }

    /// The short hash of a stored message's subject, for [`Asked::stored`].
    pub(super) fn name(&self, subject: &[u8]) -> u32 {
        // Half of a keyed hash is enough to tell two subjects apart.
        let [a, b, c, d, ..] = self.hash(subject).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// What each table holds, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> [(&'static str, usize); 6] {
        [
            ("what it owes", self.owed.bytes()),
            ("what it has asked", self.asked.bytes()),
            ("its subscriptions", self.subscribed.bytes()),
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
    pub(super) fn has_come_in(&self, destination: &[u8]) -> bool {
        self.traces.len() > TRACES
            || !self.traces.is_empty() && self.traces.contains(&self.hash(destination))
    }
}

/// Whether publishes on this subject may be answers to requests that had it as their reply subject. Subjects that a keyring names
/// explicitly are not, nor those that the server reads, such as JetStream's acknowledgements.
pub(super) fn are_answers(look: Look) -> bool {
    matches!(look.role, Role::User | Role::Reply) && look.work().is_none()
}

/// All tokens but the last: what the reply subjects of one requester have in common.
fn prefix(reply: &[u8]) -> &[u8] {
    let dot = memchr::memrchr(b'.', reply);
    dot.and_then(|dot| reply.get(..dot)).unwrap_or_default()
}

/// The tokens of a filter before its first wildcard.
fn literal(filter: &[u8]) -> &[u8] {
    let is_wildcard = |token: &[u8]| token == b"*" || token == b">";
    first(
        filter,
        tokens(filter)
            .take_while(|token| !is_wildcard(token))
            .count(),
    )
}

/// The first `count` tokens of a subject; all if it has fewer.
fn first(subject: &[u8], count: usize) -> &[u8] {
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
fn starts(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(subject), |subject| Some(prefix(subject)))
        .take_while(|start| !start.is_empty())
}

/// The part of a reply subject that identifies a fast-ingest batch. Each message of a batch has a reply subject of its own,
/// `<inbox>.<id>.<flow>.<gap>.<sequence>.<operation>.$FI`: the part before the flow is that of the batch. Other reply subjects
/// stay whole.
fn batch(reply: &[u8]) -> &[u8] {
    if !reply.ends_with(b".$FI") {
        return reply;
    }
    let mut batch = reply;
    for _ in 0..5 {
        batch = prefix(batch);
    }
    if batch.is_empty() { reply } else { batch }
}
