//! What a reply subject stands for, per connection (R40, R41).
//!
//! A reply to a sealed request is sealed under the request's keyring; a reply to a plaintext request stays plaintext. Anybody on
//! the bus can send a plaintext request with a reply subject that a sealed one has named, or flood us with others: so the two
//! are kept apart, a sealed request always wins, and what had to be forgotten is sealed too.
//!
//! Subjects are kept as keyed 64-bit hashes, so that remembering one costs no allocation.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::policy::{KeyringId, Look, Role, Route};

/// The reply subject of every delivery from a stream; the server refuses a publish that names such a one.
pub(super) const FROM_STREAM: &[u8] = b"$JS.ACK.";

/// What a hash map of 2^16 places holds: one more would double it.
const FULL: usize = 57_344;

/// How many sealed requests a connection may owe an answer, and for how long.
const SEALED: Bounds = Bounds {
    least: FULL,
    life: Duration::from_secs(15 * 60),
};
/// The same for plaintext requests, which anybody can send.
const PLAIN: Bounds = Bounds {
    least: 4096,
    life: Duration::from_secs(5 * 60),
};
/// How many answers a connection may wait for, and for how long.
const ASKED: Bounds = Bounds {
    least: FULL,
    life: Duration::from_secs(5 * 60),
};

/// Reply subjects seen on one connection.
pub(super) struct Replies {
    sealed: Table<KeyringId>,
    plain: Table<()>,
    asked: Table<Asked>,
    /// The keyring of the last sealed request.
    last: Option<KeyringId>,
    /// The keyring of the last delivery from a stream.
    stored: Option<KeyringId>,
}

/// How a publish to a reply subject is to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The request was sealed under this keyring.
    Sealed(KeyringId),
    /// The request was plaintext.
    Plain,
    /// No request with this reply subject is known.
    Unknown,
}

/// What the client asked when it named a reply subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The server itself, or every client of the account: plaintext answers.
    Server,
    /// The server, for stored messages: `$JS.API.DIRECT.GET`. Their subject, where the request names it: the answer need not
    /// (`no_hdr`, ADR-52), and may name another.
    Stored(Option<Rc<Box<[u8]>>>),
    /// The server, for a stored message in base64 in JSON: `$JS.API.STREAM.MSG.GET`. Its subject, likewise.
    Message(Option<Rc<Box<[u8]>>>),
    /// The server, for the configuration of streams.
    Config,
    /// Agents, or a stream, on a subject that this keyring protects.
    Protected(KeyringId),
    /// Agents on a subject that nobody protects.
    Open,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            sealed: Table::new(SEALED),
            plain: Table::new(PLAIN),
            asked: Table::new(ASKED),
            last: None,
            stored: None,
        }
    }
}

impl Replies {
    /// A request was delivered to the client: sealed under `keyring`, or plaintext.
    pub(super) fn request_delivered(
        &mut self,
        reply: &[u8],
        keyring: Option<KeyringId>,
        now: Instant,
    ) {
        match keyring {
            Some(keyring) => {
                self.sealed.insert(reply, keyring, now);
                self.last = Some(keyring);
            }
            None => self.plain.insert(reply, (), now),
        }
    }

    /// A message of this keyring was delivered that a stream wants acknowledged, or so its reply subject says.
    pub(super) const fn stored_delivered(&mut self, keyring: KeyringId) {
        self.stored = Some(keyring);
    }

    /// The keyring that seals what is published in the place of an acknowledgement and is none: an answer, which is nobody else's business.
    /// The server ignores the one like the other.
    pub(super) const fn no_acknowledgement(&self) -> Option<KeyringId> {
        self.stored
    }

    /// How a publish to this reply subject is to be sealed.
    pub(super) fn answer_to(&self, subject: &[u8], now: Instant) -> Answer {
        if let Some(keyring) = self.sealed_request(subject, now) {
            return Answer::Sealed(keyring);
        }
        if self.plain.get(subject, now).is_some() {
            return Answer::Plain;
        }
        // It may answer a sealed request that had to make room, or is too old.
        self.last.map_or(Answer::Unknown, Answer::Sealed)
    }

    /// The keyring of the sealed request that named this subject.
    pub(super) fn sealed_request(&self, subject: &[u8], now: Instant) -> Option<KeyringId> {
        self.sealed.get(subject, now).copied()
    }

    /// The client asked for an answer on `reply`.
    pub(super) fn request_published(&mut self, reply: &[u8], asked: Asked, now: Instant) {
        self.asked.insert(batch(reply), asked, now);
    }

    /// What the client asked for on `subject`.
    pub(super) fn asked(&self, subject: &[u8], now: Instant) -> Option<&Asked> {
        self.asked.get(batch(subject), now)
    }
}

/// Whether a publish to a subject is sealed if the request that named it was: any subject that no keyring covers by itself can be
/// an inbox. What the server reads, such as JetStream's acknowledgements, is none.
pub(super) const fn are_alike(look: Look) -> bool {
    match look.route {
        Route::Reply(_) => true,
        Route::Pass => matches!(look.role, Role::User | Role::Reply),
        Route::Keyring(_) => false,
    }
}

/// Fast ingest names a new reply subject with each message, `<inbox>.<id>.<flow>.<gap>.<sequence>.<operation>.$FI`: what comes before
/// the flow is the batch's own.
fn batch(reply: &[u8]) -> &[u8] {
    if !reply.ends_with(b".$FI") {
        return reply;
    }
    let mut batch = reply;
    for _ in 0..5 {
        let dot = memchr::memrchr(b'.', batch);
        batch = dot.and_then(|dot| batch.get(..dot)).unwrap_or_default();
    }
    if batch.is_empty() { reply } else { batch }
}

/// How much a table keeps.
#[derive(Clone, Copy)]
struct Bounds {
    /// At least so many of the latest entries; at most twice as many.
    least: usize,
    /// For at least so long, unless there are too many; at most twice as long.
    life: Duration,
}

/// Two generations: when the young one is full or old enough it takes the place of the old one, which is forgotten. An entry costs
/// its hash and its value, and no more.
struct Table<V> {
    bounds: Bounds,
    hasher: foldhash::quality::RandomState,
    young: Generation<V>,
    old: Generation<V>,
}

struct Generation<V> {
    entries: HashMap<u64, V, foldhash::fast::RandomState>,
    since: Option<Instant>,
}

impl<V> Default for Generation<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            since: None,
        }
    }
}

impl<V> Generation<V> {
    /// Whether it has been taking entries for as long as `life`.
    fn is_older_than(&self, life: Duration, now: Instant) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= life)
    }
}

impl<V> Table<V> {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: foldhash::quality::RandomState::default(),
            young: Generation::default(),
            old: Generation::default(),
        }
    }

    /// Remembers or refreshes.
    fn insert(&mut self, subject: &[u8], value: V, now: Instant) {
        let hash = self.hasher.hash_one(subject);
        self.old.entries.remove(&hash);
        let full = self.young.entries.len() >= self.bounds.least;
        if full || self.young.is_older_than(self.bounds.life, now) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.since.get_or_insert(now);
        self.young.entries.insert(hash, value);
    }

    fn get(&self, subject: &[u8], now: Instant) -> Option<&V> {
        let generations = [&self.young, &self.old];
        if generations
            .iter()
            .all(|generation| generation.entries.is_empty())
        {
            return None;
        }
        let hash = self.hasher.hash_one(subject);
        let twice = self.bounds.life.saturating_mul(2);
        generations
            .into_iter()
            .filter(|generation| !generation.is_older_than(twice, now))
            .find_map(|generation| generation.entries.get(&hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::policy::Policy;

    fn keyring() -> KeyringId {
        Policy::everything().by_name("default").unwrap()
    }

    fn start() -> (Replies, Instant) {
        (Replies::default(), Clock::system().instant())
    }

    #[test]
    fn plaintext_request_never_replaces_a_sealed_one() {
        let (mut replies, now) = start();
        replies.request_delivered(b"_INBOX.1", Some(keyring()), now);
        replies.request_delivered(b"_INBOX.1", None, now);
        assert_eq!(
            replies.answer_to(b"_INBOX.1", now),
            Answer::Sealed(keyring())
        );
    }

    #[test]
    fn flood_of_plaintext_requests_forgets_no_sealed_one() {
        let (mut replies, now) = start();
        replies.request_delivered(b"_INBOX.sealed", Some(keyring()), now);
        for number in 0..=SEALED.least {
            replies.request_delivered(format!("_INBOX.{number}").as_bytes(), None, now);
        }
        assert_eq!(
            replies.answer_to(b"_INBOX.sealed", now),
            Answer::Sealed(keyring())
        );
        // A plaintext one that was forgotten may as well have been sealed.
        assert_eq!(
            replies.answer_to(b"_INBOX.0", now),
            Answer::Sealed(keyring())
        );
    }

    #[test]
    fn answer_to_a_forgotten_sealed_request_is_sealed() {
        let (mut replies, now) = start();
        for number in 0..=2 * SEALED.least {
            replies.request_delivered(format!("_INBOX.{number}").as_bytes(), Some(keyring()), now);
        }
        assert_eq!(replies.sealed_request(b"_INBOX.0", now), None);
        assert_eq!(
            replies.answer_to(b"_INBOX.0", now),
            Answer::Sealed(keyring())
        );
    }

    #[test]
    fn request_named_again_lives_longer() {
        let (mut replies, now) = start();
        let life = SEALED.life;
        replies.request_delivered(b"_INBOX.1", Some(keyring()), now);
        replies.request_delivered(b"_INBOX.2", Some(keyring()), now);
        for later in 1..4 {
            replies.request_delivered(b"_INBOX.1", Some(keyring()), now + life * later);
        }
        let sealed = |subject, now| replies.sealed_request(subject, now);
        assert_eq!(sealed(b"_INBOX.1", now + life * 4), Some(keyring()));
        assert_eq!(sealed(b"_INBOX.2", now + life * 3), None);
        assert_eq!(sealed(b"_INBOX.1", now + life * 5), None);
        let late = replies.answer_to(b"_INBOX.1", now + life * 5);
        assert_eq!(late, Answer::Sealed(keyring()));
    }

    #[test]
    fn request_is_known_for_its_life_however_many_follow_within_bounds() {
        let (mut replies, now) = start();
        for number in 0..SEALED.least {
            replies.request_delivered(format!("_INBOX.{number}").as_bytes(), Some(keyring()), now);
        }
        let last = now + SEALED.life.checked_sub(Duration::from_nanos(1)).unwrap();
        for subject in ["_INBOX.0", "_INBOX.57343"] {
            assert_eq!(
                replies.sealed_request(subject.as_bytes(), last),
                Some(keyring())
            );
        }
    }

    #[test]
    fn full_generation_does_not_grow_its_table() {
        let full = HashMap::<u64, Asked>::with_capacity(FULL).capacity();
        assert_eq!(full, FULL);
        assert!(size_of::<Asked>() <= 16);
    }

    #[test]
    fn all_messages_of_a_fast_batch_are_one_entry() {
        let (mut replies, now) = start();
        let reply = |number: u32| format!("_INBOX.abc.uuid.10.ok.{number}.1.$FI");
        for number in 0..1000 {
            replies.request_published(reply(number).as_bytes(), Asked::Open, now);
        }
        assert_eq!(replies.asked.young.entries.len(), 1);
        assert_eq!(
            replies.asked(reply(7000).as_bytes(), now),
            Some(&Asked::Open)
        );
        assert_eq!(batch(b"a.$FI"), b"a.$FI");
        assert_eq!(batch(b".$FI"), b".$FI");
    }
}
