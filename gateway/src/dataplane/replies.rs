//! What a reply subject stands for, per connection (R40, R41).
//!
//! A reply to a sealed request is sealed under the request's keyring; a reply to a plaintext request stays plaintext. Anybody on
//! the bus can send a plaintext request with a reply subject that a sealed one has named, or flood us with others: so the two
//! are kept apart, a sealed request always wins, and what had to be forgotten is sealed too.
//!
//! Subjects are kept as keyed 64-bit hashes, so that remembering one costs no allocation.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use crate::policy::{KeyringId, Policy, Route};

/// How many sealed requests a connection may owe an answer, and for how long.
const SEALED: Bounds = Bounds {
    most: 65_536,
    life: Duration::from_secs(15 * 60),
};
/// The same for plaintext requests, which anybody can send.
const PLAIN: Bounds = Bounds {
    most: 4096,
    life: Duration::from_secs(5 * 60),
};
/// How many answers a connection may wait for on subjects of its own naming, and for how long.
const ASKED: Bounds = Bounds {
    most: 65_536,
    life: Duration::from_secs(5 * 60),
};

/// Reply subjects seen on one connection.
pub(super) struct Replies {
    sealed: Table<KeyringId>,
    plain: Table<()>,
    asked: Table<Asked>,
    forgotten: Option<KeyringId>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The server itself, which answers in plaintext.
    Server,
    /// The server, for a stored message: `$JS.API.DIRECT.GET`.
    Stored,
    /// A protected subject: an envelope answers, or JetStream's acknowledgement.
    Protected,
    /// A subject that nobody protects.
    Open,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            sealed: Table::new(SEALED),
            plain: Table::new(PLAIN),
            asked: Table::new(ASKED),
            forgotten: None,
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
        let dropped = match keyring {
            Some(keyring) => self.sealed.insert(reply, keyring, now),
            None => self.plain.insert(reply, (), now).and(None),
        };
        self.forgotten = dropped.or(self.forgotten);
    }

    /// How a publish to this reply subject is to be sealed.
    pub(super) fn answer_to(&self, subject: &[u8], now: Instant) -> Answer {
        if let Some(keyring) = self.sealed.get(subject, now) {
            return Answer::Sealed(keyring);
        }
        if self.plain.get(subject, now).is_some() {
            return Answer::Plain;
        }
        // It may answer a sealed request that had to make room.
        self.forgotten.map_or(Answer::Unknown, Answer::Sealed)
    }

    /// The keyring of the sealed request that named this subject.
    pub(super) fn sealed_request(&self, subject: &[u8], now: Instant) -> Option<KeyringId> {
        self.sealed.get(subject, now)
    }

    /// The client asked for an answer on `reply`.
    pub(super) fn request_published(&mut self, reply: &[u8], asked: Asked, now: Instant) {
        self.asked.insert(reply, asked, now);
    }

    /// What the client asked for on `subject`.
    pub(super) fn asked(&self, subject: &[u8], now: Instant) -> Option<Asked> {
        self.asked.get(subject, now)
    }
}

impl Asked {
    /// What a publish on `subject` asks.
    pub(super) fn on(policy: &Policy, subject: &[u8]) -> Self {
        match policy.route(subject) {
            Route::Keyring(_) => Self::Protected,
            Route::Pass if policy.is_direct_get(subject) => Self::Stored,
            Route::Pass if policy.is_system(subject) => Self::Server,
            Route::Pass | Route::Reply(_) => Self::Open,
        }
    }

    /// Whether a plaintext may be the answer.
    pub(super) fn admits_plaintext(self, payload: &[u8]) -> bool {
        match self {
            Self::Server | Self::Stored | Self::Open => true,
            Self::Protected => is_from_jetstream(payload),
        }
    }
}

/// Whether a publish to `subject` is sealed if the request that named it was: any subject that no keyring covers by itself can be
/// an inbox. What the server reads, such as JetStream's acknowledgements, is none.
pub(super) fn are_alike(policy: &Policy, subject: &[u8]) -> bool {
    match policy.route(subject) {
        Route::Reply(_) => true,
        Route::Pass => !policy.is_system(subject),
        Route::Keyring(_) => false,
    }
}

/// An acknowledgement of a publish (R29), or the flow of a batch, by its first bytes.
fn is_from_jetstream(payload: &[u8]) -> bool {
    const STARTS: [&[u8]; 3] = [b"{\"stream\":\"", b"{\"error\":{", b"{\"type\":\"io.nats."];
    payload.len() <= 4096 && STARTS.iter().any(|start| payload.starts_with(start))
}

/// How much a table keeps.
#[derive(Clone, Copy)]
struct Bounds {
    most: usize,
    life: Duration,
}

struct Table<V> {
    bounds: Bounds,
    hasher: foldhash::quality::RandomState,
    entries: HashMap<u64, Entry<V>, foldhash::fast::RandomState>,
    /// An entry that was refreshed stands here more than once; its last place counts.
    oldest_first: VecDeque<(u64, Instant)>,
}

struct Entry<V> {
    value: V,
    since: Instant,
}

impl<V: Copy> Table<V> {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: foldhash::quality::RandomState::default(),
            entries: HashMap::default(),
            oldest_first: VecDeque::new(),
        }
    }

    /// Remembers or refreshes; gives back an entry that had to be forgotten for it.
    fn insert(&mut self, subject: &[u8], value: V, now: Instant) -> Option<V> {
        let hash = self.hasher.hash_one(subject);
        // Refreshing at most four times in a life bounds the queue.
        let quarter = self.bounds.life.checked_div(4).unwrap_or_default();
        let recent = |entry: &&mut Entry<V>| now.saturating_duration_since(entry.since) < quarter;
        if let Some(entry) = self.entries.get_mut(&hash).filter(recent) {
            entry.value = value;
            return None;
        }
        self.entries.insert(hash, Entry { value, since: now });
        self.oldest_first.push_back((hash, now));
        self.forget(now)
    }

    fn get(&self, subject: &[u8], now: Instant) -> Option<V> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = self.entries.get(&self.hasher.hash_one(subject))?;
        (now.saturating_duration_since(entry.since) < self.bounds.life).then_some(entry.value)
    }

    /// Drops what is too old or too much; the last one dropped, if any.
    fn forget(&mut self, now: Instant) -> Option<V> {
        let mut dropped = None;
        while let Some((hash, since)) = self.oldest_first.front().copied() {
            let old = now.saturating_duration_since(since) >= self.bounds.life;
            if !old && self.entries.len() <= self.bounds.most {
                break;
            }
            self.oldest_first.pop_front();
            if self
                .entries
                .get(&hash)
                .is_some_and(|entry| entry.since == since)
            {
                dropped = self.entries.remove(&hash).map(|entry| entry.value);
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

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
        for number in 0..=SEALED.most {
            replies.request_delivered(format!("_INBOX.{number}").as_bytes(), None, now);
        }
        assert_eq!(
            replies.answer_to(b"_INBOX.sealed", now),
            Answer::Sealed(keyring())
        );
        assert_eq!(replies.answer_to(b"_INBOX.0", now), Answer::Unknown);
    }

    #[test]
    fn answer_to_a_forgotten_sealed_request_is_sealed() {
        let (mut replies, now) = start();
        for number in 0..=SEALED.most {
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
        replies.request_delivered(b"_INBOX.1", Some(keyring()), now);
        let later = now + SEALED.life / 2;
        replies.request_delivered(b"_INBOX.1", Some(keyring()), later);
        assert_eq!(
            replies.sealed_request(b"_INBOX.1", now + SEALED.life),
            Some(keyring())
        );
        assert_eq!(
            replies.sealed_request(b"_INBOX.1", later + SEALED.life),
            None
        );
    }

    #[test]
    fn plaintext_answers_a_protected_request_only_in_the_words_of_jetstream() {
        assert!(Asked::Protected.admits_plaintext(br#"{"stream":"S","seq":1}"#));
        assert!(!Asked::Protected.admits_plaintext(b"forged"));
        assert!(Asked::Server.admits_plaintext(b"anything"));
    }
}
