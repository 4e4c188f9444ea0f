//! Requests that the client has published: what may answer them on their reply subjects.
//!
//! The class of a request decides what may answer it, and nothing else is admitted: see [`Class`]. If a client uses one reply
//! subject for several requests, whatever may answer one of them is admitted.

use std::time::{Duration, Instant};

use crate::envelope::EnvelopeId;
use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// The class of a request: whom it asks, and what may answer it in plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Class {
    /// JetStream's API: an API response.
    Api,
    /// JetStream, for the configuration of streams: an API response, whose sizes are reduced.
    StreamConfig,
    /// JetStream, for the configuration of consumers: the same.
    Consumer,
    /// JetStream, for a stored message in JSON: an API response, whose message is opened.
    MsgGet,
    /// JetStream, for stored messages (direct get): a message with the headers that the server appends; the subject in them
    /// decides.
    DirectGet,
    /// The same, with `no_hdr`.
    DirectGetNoHeaders,
    /// A pull consumer: statuses. Messages come on their own subjects.
    Pull,
    /// The server itself (`$SYS`): anything.
    Server,
    /// Every client of the account (`$SRV`): a JSON object.
    Services,
    /// The chunks of a stream snapshot: anything.
    StreamSnapshot,
    /// The server's trace events.
    Trace,
    /// Clients, on an unprotected subject: anything.
    Unprotected,
    /// Clients, or a stream, on a subject that a keyring protects: envelopes, and plaintext acknowledgements if the keyring
    /// admits them.
    Protected,
    /// Besides `Protected`: it may be a request to JetStream's API under a prefix that the configuration does not name.
    UnknownApiPrefix,
}

/// A set of classes, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Classes(u16);

impl Classes {
    const fn of(class: Class) -> Self {
        Self(match class {
            Class::Api => 1,
            Class::StreamConfig => 1 << 1,
            Class::MsgGet => 1 << 2,
            Class::DirectGet => 1 << 3,
            Class::DirectGetNoHeaders => 1 << 4,
            Class::Pull => 1 << 5,
            Class::Server => 1 << 6,
            Class::Services => 1 << 7,
            Class::StreamSnapshot => 1 << 8,
            Class::Trace => 1 << 9,
            Class::Unprotected => 1 << 10,
            Class::Protected => 1 << 11,
            Class::UnknownApiPrefix => 1 << 12,
            Class::Consumer => 1 << 13,
        })
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The requests on one reply subject, merged: what may answer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct PublishedRequest {
    classes: Classes,
    /// Of protected requests.
    keyrings: Keyrings,
    about: About,
    /// Whether a request without a payload is among them.
    empty: bool,
}

/// Which keyrings there have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Keyrings {
    Nothing,
    One(KeyringId),
    Several,
}

impl Keyrings {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, Self::Nothing) => one,
            (Self::Nothing, other) => other,
            (one, other) if one == other => one,
            _ => Self::Several,
        }
    }
}

/// What else an answer must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Nothing,
    /// The envelope to which an answer must be bound: the first request on this reply subject.
    Request(EnvelopeId),
    /// The short hash of the subject that the stored message must have.
    Named(u32),
}

/// The requests of the client, by the hash of their reply subject.
pub(super) type PublishedRequests = Table<PublishedRequest>;

impl Entry for PublishedRequest {
    /// As long as the responder's gateway remembers the request, so that an answer that is still bound to it does not come too
    /// late.
    const LIFE: Duration = Duration::from_hours(1);
}

impl PublishedRequest {
    pub(in crate::dataplane) const fn of(class: Class) -> Self {
        Self {
            classes: Classes::of(class),
            keyrings: Keyrings::Nothing,
            about: About::Nothing,
            empty: false,
        }
    }

    /// A request on a protected subject, sealed or empty. `id`: the name of its envelope, if answers are bound to it.
    pub(in crate::dataplane) fn protected(keyring: KeyringId, id: Option<EnvelopeId>) -> Self {
        let sealed = id.filter(|id| *id != EnvelopeId::EMPTY);
        Self {
            keyrings: Keyrings::One(keyring),
            about: sealed.map_or(About::Nothing, About::Request),
            empty: id == Some(EnvelopeId::EMPTY),
            ..Self::of(Class::Protected)
        }
    }

    /// The same, where it may be a request to JetStream's API.
    pub(in crate::dataplane) const fn with_unknown_api_prefix(self) -> Self {
        let foreign = Classes::of(Class::UnknownApiPrefix);
        Self {
            classes: Classes(self.classes.0 | foreign.0),
            ..self
        }
    }

    /// A request for a stored message; `named`: the short hash of its subject, if the request has one.
    pub(in crate::dataplane) fn stored(class: Class, named: Option<u32>) -> Self {
        Self {
            about: named.map_or(About::Nothing, About::Named),
            ..Self::of(class)
        }
    }

    /// Whether a request of this class is among them.
    pub(in crate::dataplane) const fn is(&self, class: Class) -> bool {
        self.classes.has(Classes::of(class))
    }

    /// Whether all are of this class, not counting [`Class::UnknownApiPrefix`].
    pub(in crate::dataplane) const fn is_only(&self, class: Class) -> bool {
        self.classes.0 & !Classes::of(Class::UnknownApiPrefix).0 == Classes::of(class).0
    }

    /// Whether a request of any of these classes is among them.
    pub(in crate::dataplane) fn is_any(&self, classes: &[Class]) -> bool {
        classes.iter().any(|class| self.is(*class))
    }

    /// The keyring of the protected requests; `None` if there is none, or several.
    pub(in crate::dataplane) const fn keyring(&self) -> Option<KeyringId> {
        match self.keyrings {
            Keyrings::One(keyring) => Some(keyring),
            Keyrings::Several | Keyrings::Nothing => None,
        }
    }

    /// The requests to which an answer may be bound: the sealed one, and the empty ones.
    pub(in crate::dataplane) fn requests(&self) -> [Option<EnvelopeId>; 2] {
        let sealed = match self.about {
            About::Request(id) => Some(id),
            About::Nothing | About::Named(_) => None,
        };
        [sealed, self.empty.then_some(EnvelopeId::EMPTY)]
    }

    /// The short hash of the subject that the stored message must have.
    pub(in crate::dataplane) const fn named(&self) -> Option<u32> {
        match self.about {
            About::Named(hash) => Some(hash),
            About::Nothing | About::Request(_) => None,
        }
    }

    /// Merges a later request on the same reply subject.
    fn merge(self, later: Self) -> Self {
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
            keyrings: self.keyrings.and(later.keyrings),
            about,
            empty: self.empty || later.empty,
        }
    }
}

impl PublishedRequests {
    pub(super) fn published(&mut self, reply: Hash, asked: PublishedRequest, now: Instant) {
        let before = self.live(reply, now).copied();
        let asked = before.map_or(asked, |before| before.merge(asked));
        self.insert(reply, asked, now);
    }
}
