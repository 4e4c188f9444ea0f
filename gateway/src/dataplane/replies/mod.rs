//! What reply subjects stand for, on one connection: what the client owes requests that were delivered to it (`owed`), what may
//! answer those that it has published (`asked`), and where it listens (`subscribed`).

mod asked;
mod owed;
mod subscribed;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::time::Instant;

use crate::policy::{KeyringId, Look, Role};
use crate::wire::subject::is_literal;

use super::account::Account;

pub(super) use asked::{Asked, Class};
pub(super) use owed::{Answer, Request, Taken};

use asked::Asking;
use owed::Owed;
use subscribed::{Subscribed, Subscription};
use table::Hash;

/// The reply subject of every delivery from a stream; the server refuses a publish that names such a one.
pub(super) const FROM_STREAM: &[u8] = b"$JS.ACK.";

/// How many destinations of traces are told apart that came in with messages.
const TRACES: usize = 64;

/// Reply subjects seen on one connection.
pub(super) struct Replies {
    hasher: foldhash::quality::RandomState,
    owed: Owed,
    asked: Asking,
    subscribed: Subscribed,
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

impl Replies {
    /// Nothing has been seen.
    pub(super) fn new(account: &Rc<Account>) -> Self {
        Self {
            hasher: foldhash::quality::RandomState::default(),
            owed: Owed::new(Rc::clone(account)),
            asked: Asking::new(Rc::clone(account)),
            subscribed: Subscribed::new(Rc::clone(account)),
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

    /// The client asked for an answer on `reply`.
    pub(super) fn request_published(&mut self, reply: &[u8], asked: Asked, now: Instant) {
        let hash = self.hash(batch(reply));
        self.asked.published(hash, asked, now);
    }

    /// The client subscribes; with a keyring, if all that is published where `filter` matches is sealed.
    pub(super) fn subscribed(
        &mut self,
        sid: &[u8],
        (filter, keyring): (&[u8], Option<KeyringId>),
        now: Instant,
    ) {
        let subject = is_literal(filter).then(|| self.hash(batch(filter)));
        let sid = self.hash(sid);
        // It may stand for another filter already.
        self.subscribed.unsubscribed(sid);
        if subject.is_some() || keyring.is_some() {
            self.subscribed.subscribed(sid, (subject, keyring), now);
        }
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

    /// The subscription on which a message comes whose subject is not what was subscribed to, and what the client has asked for there.
    pub(super) fn comes_elsewhere(
        &self,
        sid: &[u8],
        subject: &[u8],
        now: Instant,
    ) -> Option<(Subscription, Option<&Asked>)> {
        let subscription = *self.subscribed.get(self.hash(sid), now)?;
        let asked = match subscription.subject {
            Some(filter) if filter == self.hash(batch(subject)) => return None,
            Some(filter) => self.asked.get(filter, now),
            // Who asks under wildcards tells answers apart by their subjects.
            None => None,
        };
        Some((subscription, asked))
    }

    /// What the client asked for on `subject`.
    pub(super) fn asked(&self, subject: &[u8], now: Instant) -> Option<&Asked> {
        if self.asked.is_empty() {
            return None;
        }
        self.asked.get(self.hash(batch(subject)), now)
    }

    /// What stands for the subject of a stored message in [`Asked::stored`].
    pub(super) fn name(&self, subject: &[u8]) -> u32 {
        // Half of a keyed hash tells two subjects apart.
        let [a, b, c, d, ..] = self.hash(subject).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// What is remembered of each, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> [(&'static str, usize); 3] {
        [
            ("what it owes", self.owed.bytes()),
            ("what it has asked", self.asked.bytes()),
            ("its subscriptions", self.subscribed.bytes()),
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
