//! What reply subjects stand for, on one connection: what the client owes requests that were delivered to it (`owed`), what may
//! answer those that it has published (`asked`), where it listens (`subscribed`), what streams it has asked to deliver there
//! (`sources`), and how many bytes (`pulls`, `batches`).

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

/// The reply subject of every delivery from a stream; the server refuses a publish that names such a one.
pub(super) const FROM_STREAM: &[u8] = b"$JS.ACK.";

/// How the only subjects begin that the server names as the reply subjects of flow control, and in heartbeats of a consumer that has stalled.
pub(super) const FLOW_CONTROL: &[u8] = b"$JS.FC.";

/// How many of a subject's first tokens are told apart, besides all of them.
const DEPTH: usize = 8;

/// How many destinations of traces are told apart that came in with messages.
const TRACES: usize = 64;

/// Reply subjects seen on one connection.
pub(super) struct Replies {
    hasher: foldhash::quality::RandomState,
    owed: Owed,
    asked: Asking,
    subscribed: Subscribed,
    sources: Sources,
    pulls: Pulls,
    batches: Batches,
    stored: Stored,
    /// Where messages that came in want to be traced, unless there are too many.
    traces: HashSet<Hash, foldhash::fast::RandomState>,
}

/// Under which keyrings streams have delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// None.
    Nothing,
    /// One alone.
    One(KeyringId),
    /// Several.
    Several,
}

/// A message of a stream that comes under another subject than was subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere<'r> {
    /// A keyring, if all that is published on the subscription is sealed.
    pub(super) keyring: Option<KeyringId>,
    /// What the client has asked for there.
    pub(super) asked: Option<&'r Asked>,
    /// Whether the client may have asked this stream to deliver there.
    pub(super) is_expected: bool,
}

impl Replies {
    /// Nothing has been seen.
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

    /// A request comes that wants its answer on `reply`.
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

    /// A message of this keyring was delivered that a stream wants acknowledged.
    pub(super) fn stored_delivered(&mut self, keyring: KeyringId) {
        self.stored = match self.stored {
            Stored::Nothing => Stored::One(keyring),
            Stored::One(before) if before == keyring => self.stored,
            Stored::One(_) | Stored::Several => Stored::Several,
        };
    }

    /// Under which keyrings streams have delivered: what is published in the place of an acknowledgement and is none answers one of them.
    pub(super) const fn stored(&self) -> Stored {
        self.stored
    }

    /// What the client owes whoever waits on a subject to which it publishes.
    pub(super) fn answer_to(&mut self, subject: &[u8]) -> Answer {
        if self.owed.is_empty() {
            return Answer::Unknown;
        }
        let hashes = (self.hash(subject), self.hash(prefix(subject)));
        self.owed.answer(hashes)
    }

    /// Whether the client has asked anything of late, so that answers may be on their way.
    pub(super) fn awaits_answers(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether a request with this reply subject would be one of several: the client passes on what it was given, or has asked on it
    /// before.
    pub(super) fn is_shared(&self, reply: &[u8], now: Instant) -> bool {
        if self.owed.is_empty() && self.asked.is_empty() {
            return false;
        }
        let hash = self.hash(batch(reply));
        let asked = self.asked.get(hash, now);
        asked.is_some_and(|asked| asked.is(Class::Protected)) || self.owed.knows(hash, now)
    }

    /// The client asked for an answer on `reply`. What it passes on with a reply subject that it was given, which may be one on which it
    /// waits itself, lets nothing more come there than before.
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

    /// The client asked a stream to deliver on `subject`.
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

    /// The client pulls so many bytes at most; with what was granted, where its statuses do not tell.
    pub(super) fn pulled(&mut self, reply: &[u8], grant: Option<Grant>, now: Instant) {
        self.pulls.pulled(self.hash(batch(reply)), grant, now);
    }

    /// A stream has delivered on this subscription what is no envelope.
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

    /// The bytes that are left of a pull whose status says this, as the client counts.
    pub(super) fn left(&mut self, reply: &[u8], told: Pending) -> Option<u64> {
        self.pulls.left(self.hash(batch(reply)), told)
    }

    /// The client asks for several stored messages.
    pub(super) fn batch_asked(&mut self, reply: &[u8], batch: Batch, now: Instant) {
        self.batches.asked(self.hash(reply), batch, now);
    }

    /// Whether it has of late.
    pub(super) fn awaits_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// A message of a batch comes. Whether it is beyond what the client has asked for.
    pub(super) fn is_surplus(&mut self, reply: &[u8], (sequence, pending): (u64, u64)) -> bool {
        let reply = self.hash(reply);
        self.batches.is_surplus(reply, (sequence, pending))
    }

    /// A message of a batch has gone on: its subject, its headers and what was published are so many bytes.
    pub(super) fn batch_came(&mut self, reply: &[u8], stored: &DirectGet<'_>, bytes: usize) {
        self.batches.came(self.hash(reply), stored, bytes);
    }

    /// Whether a status there is the end of a batch.
    pub(super) fn ends_batch(&self, reply: &[u8], now: Instant) -> bool {
        self.awaits_batches() && self.batches.knows(self.hash(reply), now)
    }

    /// A batch ends, with this message as the last; what the bare server would say, if that is something else.
    pub(super) fn batch_ended(&mut self, reply: &[u8], sequence: Option<u64>) -> Option<End> {
        self.batches.ended(self.hash(reply), sequence)
    }

    /// The client subscribes; with a keyring, if all that is published where `filter` matches is sealed.
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
        // What begins with a wildcard may match anything.
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

    /// The client ends a subscription, at once or after so many messages in all.
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

    /// The subscription on which a message comes from a stream whose subject is not what was subscribed to, and what the client has
    /// asked for there.
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
            // A consumer that was made before, or by somebody else, may deliver where nothing was asked.
            Kind::Subject => expected.streams.is_some(),
            // It may match, and is published there then.
            Kind::Wildcards(_) if start == self.hash(first(subject, subscription.tokens)) => false,
            Kind::Wildcards(Covers::Inboxes) => true,
            // What was asked on an earlier connection may still come while nothing is awaited on this one.
            Kind::Wildcards(Covers::Other) => expected.streams.is_some() || expected.answers,
        };
        Some(Elsewhere {
            keyring: subscription.keyring,
            // Who asks under wildcards tells answers apart by their subjects.
            asked: is_subject.then(|| self.asked.get(start, now)).flatten(),
            is_expected: !judged || comes_from_asked(),
        })
    }

    /// What the client asked for on `subject`.
    pub(super) fn asked(&self, subject: &[u8], now: Instant) -> Option<&Asked> {
        if self.asked.is_empty() {
            return None;
        }
        self.asked.get(self.hash(batch(subject)), now)
    }

    /// Whether a stream pushes there, as far as the client has asked it to on this connection.
    pub(super) fn is_pushed_to(&self, subject: &[u8], now: Instant) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        let expected = self.sources.at(self.hash(subject), now);
        expected.streams == Some(Delivers::FromNowOn)
    }

    /// What stands for the subject of a stored message in [`Asked::stored`].
    pub(super) fn name(&self, subject: &[u8]) -> u32 {
        // Half of a keyed hash tells two subjects apart.
        let [a, b, c, d, ..] = self.hash(subject).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// What is remembered of each, in bytes.
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

    /// A message came in that is to be traced to this subject.
    pub(super) fn trace_delivered(&mut self, destination: &[u8]) {
        if self.traces.len() <= TRACES {
            self.traces.insert(self.hash(destination));
        }
    }

    /// Whether a message that came in may have been the one that is to be traced to this subject.
    pub(super) fn has_come_in(&self, destination: &[u8]) -> bool {
        self.traces.len() > TRACES
            || !self.traces.is_empty() && self.traces.contains(&self.hash(destination))
    }
}

/// Whether a subject, when it is named for an answer, stands for the request that named it. What a keyring names is work of its own,
/// and what the server reads, such as JetStream's acknowledgements, is no answer to anybody.
pub(super) fn are_answers(look: Look) -> bool {
    matches!(look.role, Role::User | Role::Reply) && look.work().is_none()
}

/// All but the last token: what the reply subjects of one requester have in common.
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

/// The first so many tokens of a subject; all if it has fewer.
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

/// A subject, and what it begins with: a token less each time.
fn starts(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(subject), |subject| Some(prefix(subject)))
        .take_while(|start| !start.is_empty())
}

/// Fast ingest names a new reply subject with each message, `<inbox>.<id>.<flow>.<gap>.<sequence>.<operation>.$FI`: what comes before
/// the flow is the batch's own.
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
