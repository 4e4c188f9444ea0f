//! Requests of the client: what may answer them on their reply subjects.
//!
//! What a request asks decides what its answer can be, and nothing else is taken for one: see [`Class`]. A client may use one reply
//! subject for several requests; then whatever may answer one of them may come.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::account::Account;
use crate::envelope::EnvelopeId;
use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// How long an answer is awaited at least: as long as a gateway remembers what its client owes, so that no answer comes too late that is
/// still bound to its request.
const LIFE: Duration = Duration::from_hours(1);

/// What a request asks, by what may answer it in plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Class {
    /// JetStream's API: an API response.
    Api,
    /// JetStream, for the configuration of streams: an API response, whose sizes are narrowed.
    Config,
    /// JetStream, for the configuration of consumers: the same.
    Consumer,
    /// JetStream, for a stored message in JSON: an API response, whose message is opened.
    Message,
    /// JetStream, for stored messages: with the headers that the server appends, judged by the subject that these name.
    Direct,
    /// The same, of a client that wants no headers.
    DirectBare,
    /// A consumer: statuses. The messages come on their own subjects.
    Pull,
    /// The server itself (`$SYS`): anything.
    Server,
    /// Every client of the account (`$SRV`): a JSON object.
    Services,
    /// The chunks of a backup: anything.
    Snapshot,
    /// The server's trace events.
    Trace,
    /// Agents on a subject that nobody protects: anything.
    Open,
    /// Agents, or a stream, on a subject that a keyring protects: envelopes, and what the keyring admits.
    Protected,
    /// The same, where it may be JetStream that is asked, by an import that the configuration does not name.
    Foreign,
}

/// Several classes: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Classes(u16);

impl Classes {
    const fn of(class: Class) -> Self {
        Self(match class {
            Class::Api => 1,
            Class::Config => 1 << 1,
            Class::Message => 1 << 2,
            Class::Direct => 1 << 3,
            Class::DirectBare => 1 << 4,
            Class::Pull => 1 << 5,
            Class::Server => 1 << 6,
            Class::Services => 1 << 7,
            Class::Snapshot => 1 << 8,
            Class::Trace => 1 << 9,
            Class::Open => 1 << 10,
            Class::Protected => 1 << 11,
            Class::Foreign => 1 << 12,
            Class::Consumer => 1 << 13,
        })
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What may answer on a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Asked {
    classes: Classes,
    /// The keyring that was asked.
    keyring: Option<Keyring>,
    about: About,
    /// A request without a payload was among them, whose answer says so.
    empty: bool,
}

/// Which keyrings were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyring {
    One(KeyringId),
    Several,
}

/// What else is known of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Nothing,
    /// The envelope to which an answer is bound: the first on this reply subject.
    Request(EnvelopeId),
    /// The subject of the stored message that it names.
    Named(u32),
}

/// What the client waits for.
pub(super) struct Asking {
    table: Table<Asked>,
}

impl Entry for Asked {
    fn is_pending(&self) -> bool {
        false
    }
}

impl Asked {
    /// A request of this class.
    pub(in crate::dataplane) const fn of(class: Class) -> Self {
        Self {
            classes: Classes::of(class),
            keyring: None,
            about: About::Nothing,
            empty: false,
        }
    }

    /// A request that was sealed under a keyring, or is empty and would be. With the name of its envelope, if answers are bound to it.
    pub(in crate::dataplane) fn protected(keyring: KeyringId, id: Option<EnvelopeId>) -> Self {
        let sealed = id.filter(|id| *id != EnvelopeId::EMPTY);
        Self {
            keyring: Some(Keyring::One(keyring)),
            about: sealed.map_or(About::Nothing, About::Request),
            empty: id == Some(EnvelopeId::EMPTY),
            ..Self::of(Class::Protected)
        }
    }

    /// The same, and it may be JetStream's API that was asked.
    pub(in crate::dataplane) const fn foreign(self) -> Self {
        let foreign = Classes::of(Class::Foreign);
        Self {
            classes: Classes(self.classes.0 | foreign.0),
            ..self
        }
    }

    /// A request for the stored message of that subject, if it names one.
    pub(in crate::dataplane) fn stored(class: Class, named: Option<u32>) -> Self {
        Self {
            about: named.map_or(About::Nothing, About::Named),
            ..Self::of(class)
        }
    }

    /// Whether a request of this class waits.
    pub(in crate::dataplane) const fn is(&self, class: Class) -> bool {
        self.classes.has(Classes::of(class))
    }

    /// Whether requests of this class wait, and no others. Where JetStream's API may be meant is no class of its own.
    pub(in crate::dataplane) const fn is_only(&self, class: Class) -> bool {
        self.classes.0 & !Classes::of(Class::Foreign).0 == Classes::of(class).0
    }

    /// Whether a request of any of these classes waits.
    pub(in crate::dataplane) fn is_any(&self, classes: &[Class]) -> bool {
        classes.iter().any(|class| self.is(*class))
    }

    /// The keyring that was asked; `None` too when several were.
    pub(in crate::dataplane) const fn keyring(&self) -> Option<KeyringId> {
        match self.keyring {
            Some(Keyring::One(keyring)) => Some(keyring),
            Some(Keyring::Several) | None => None,
        }
    }

    /// The requests that an answer may be bound to: one in an envelope, and those without a payload.
    pub(in crate::dataplane) fn requests(&self) -> [Option<EnvelopeId>; 2] {
        let sealed = match self.about {
            About::Request(id) => Some(id),
            About::Nothing | About::Named(_) => None,
        };
        [sealed, self.empty.then_some(EnvelopeId::EMPTY)]
    }

    /// The subject that the answer must be stored under.
    pub(in crate::dataplane) const fn named(&self) -> Option<u32> {
        match self.about {
            About::Named(hash) => Some(hash),
            About::Nothing | About::Request(_) => None,
        }
    }

    /// What may answer this one or a later one.
    fn or(self, later: Self) -> Self {
        let keyring = match (self.keyring, later.keyring) {
            (Some(one), Some(other)) if one != other => Some(Keyring::Several),
            (one, other) => one.or(other),
        };
        let about = match (self.about, later.about) {
            (About::Request(id), _) => About::Request(id),
            (About::Nothing, About::Request(id)) if !self.is(Class::Protected) => {
                About::Request(id)
            }
            (one, other) if one == other => one,
            _ => About::Nothing,
        };
        Self {
            classes: Classes(self.classes.0 | later.classes.0),
            keyring,
            about,
            empty: self.empty || later.empty,
        }
    }
}

impl Asking {
    pub(super) fn new(account: Rc<Account>) -> Self {
        Self {
            table: Table::new(LIFE, account),
        }
    }

    pub(super) fn published(&mut self, reply: Hash, asked: Asked, now: Instant) {
        let before = self.table.live(reply, now).copied();
        let asked = before.map_or(asked, |before| before.or(asked));
        self.table.insert(reply, asked, now);
    }

    pub(super) fn get(&self, subject: Hash, now: Instant) -> Option<&Asked> {
        self.table.live(subject, now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}
