//! Requests that were delivered to the client: how its publishes to their reply subjects are sealed.
//!
//! An answer to a sealed request is sealed under the request's keyring and bound to the request; an answer to a plaintext request
//! stays plaintext. Anybody on the bus can replay a captured request, or send an empty or a plaintext one, with the reply subject
//! of another. So an answer is bound to one request on its reply subject, the latest that can be told from others; a request that
//! would divert it is not delivered ([`ReplySubjectInUse`]), and no reply subject changes its keyring while it is live.
//!
//! | known ↓, delivered → | sealed | empty | forwarded | plaintext |
//! |---|---|---|---|---|
//! | sealed, no answer yet | replaces | refused | keeps | refused |
//! | sealed, answered | replaces | replaces | keeps | refused |
//! | empty | replaces | keeps | replaces | refused |
//! | forwarded | replaces | keeps | keeps | refused |
//! | plaintext | replaces | replaces | replaces | keeps |
//! | of another keyring | refused | refused | refused | refused |
//!
//! A request that is delivered with another reply subject than before was captured and replayed, and is refused, too. Each
//! keyring has a table of its own, so that a flood pushes out requests of its own keyring only; unanswered requests are kept
//! longer than answered ones.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::memory::MemoryReservation;
use crate::envelope::EnvelopeId;
use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// How long a sealed request is remembered at least.
const SEALED_LIFE: Duration = Duration::from_mins(30);
/// The same for plaintext requests, which anybody can send.
const PLAIN_LIFE: Duration = Duration::from_mins(5);

/// How many prefixes of reply subjects are remembered for each keyring.
const PREFIXES: usize = 4096;
/// What a prefix takes, in bytes.
const PREFIX: usize = 2 * (size_of::<Hash>() + 1);

/// A request, as it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum DeliveredRequest {
    /// In plaintext.
    Plain,
    /// Without a payload, on a subject that accepts no plaintext. Nothing tells whether it comes from behind a gateway; its
    /// answer is bound to [`EnvelopeId::EMPTY`].
    Empty(KeyringId),
    /// Sealed.
    Sealed(KeyringId, EnvelopeId),
    /// Sealed, and its reply subject is shared with other requests (it was forwarded).
    PassedOn(KeyringId, EnvelopeId),
}

/// A request is refused: its reply subject is in use by another request, or it was delivered before with another reply subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct ReplySubjectInUse;

/// How a publish to a reply subject is to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Answer {
    /// Under this keyring, bound to the request if that is known.
    Sealed(KeyringId, Option<EnvelopeId>),
    /// The request was plaintext.
    Plain,
    /// No request had this reply subject.
    Unknown,
    /// It may answer a request that was forgotten, and it is not known which.
    Unclear,
}

/// What is remembered of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownRequest {
    /// The request, if an answer can be bound to it.
    id: Option<EnvelopeId>,
    answered: bool,
}

/// The requests of one keyring, or the plaintext ones.
struct KeyringRequests {
    keyring: Option<KeyringId>,
    table: Table<KnownRequest>,
    /// The reply subject of each sealed request, by the hash of its envelope's name.
    first_reply: Table<FirstReply>,
    /// The prefixes of the reply subjects of sealed requests: all tokens but the last.
    prefixes: HashSet<Hash, foldhash::fast::RandomState>,
    /// Whether there are more prefixes than are remembered: then any counts as one.
    any_prefix: bool,
}

/// The hash of the reply subject with which a request was first delivered.
#[derive(Clone, Copy)]
struct FirstReply(Hash);

/// The requests that were delivered to the client, by keyring.
pub(super) struct DeliveredRequests {
    reservation: Rc<MemoryReservation>,
    by_keyring: Vec<KeyringRequests>,
}

impl Entry for KnownRequest {
    const LIFE: Duration = SEALED_LIFE;

    fn is_pending(&self) -> bool {
        !self.answered
    }
}

impl Entry for FirstReply {
    const LIFE: Duration = SEALED_LIFE;
}

impl DeliveredRequest {
    const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Plain => None,
            Self::Empty(keyring) | Self::Sealed(keyring, _) | Self::PassedOn(keyring, _) => {
                Some(keyring)
            }
        }
    }

    /// The name to which an answer can be bound.
    const fn id(self) -> Option<EnvelopeId> {
        match self {
            Self::Sealed(_, id) => Some(id),
            Self::Empty(_) => Some(EnvelopeId::EMPTY),
            Self::Plain | Self::PassedOn(..) => None,
        }
    }

    /// The name of its envelope.
    pub(super) const fn envelope(self) -> Option<EnvelopeId> {
        match self {
            Self::Sealed(_, id) | Self::PassedOn(_, id) => Some(id),
            Self::Plain | Self::Empty(_) => None,
        }
    }
}

impl KnownRequest {
    /// What is remembered of a reply subject once another request of the same keyring was delivered with it: see the table above.
    fn merged_with(self, request: DeliveredRequest) -> Result<Self, ReplySubjectInUse> {
        let takes_its_place = Self {
            id: request.id(),
            answered: false,
        };
        let is_empty = self.id == Some(EnvelopeId::EMPTY);
        match request {
            DeliveredRequest::Plain => Ok(self),
            DeliveredRequest::PassedOn(..) if !is_empty => Ok(self),
            DeliveredRequest::Empty(_) if is_empty || self.id.is_none() => Ok(self),
            DeliveredRequest::Empty(_) if !self.answered => Err(ReplySubjectInUse),
            DeliveredRequest::Sealed(_, id) if self.id == Some(id) => Ok(self),
            DeliveredRequest::PassedOn(..)
            | DeliveredRequest::Empty(_)
            | DeliveredRequest::Sealed(..) => Ok(takes_its_place),
        }
    }
}

impl DeliveredRequests {
    pub(super) const fn new(reservation: Rc<MemoryReservation>) -> Self {
        Self {
            reservation,
            by_keyring: Vec::new(),
        }
    }

    /// A request is about to be delivered. `prefix`: the hash of its reply subject's prefix; `envelope`: that of its envelope's
    /// name.
    pub(super) fn delivered(
        &mut self,
        (reply, prefix, envelope): (Hash, Hash, Option<Hash>),
        request: DeliveredRequest,
        now: Instant,
    ) -> Result<(), ReplySubjectInUse> {
        let keyring = request.keyring();
        let others = self
            .by_keyring
            .iter()
            .filter(|requests| requests.keyring != keyring);
        for other in others {
            let conflicts = keyring.is_none() || other.keyring.is_some();
            if conflicts && other.table.live(reply, now).is_some() {
                return Err(ReplySubjectInUse);
            }
        }
        let reservation = Rc::clone(&self.reservation);
        let requests = self.requests(keyring);
        let first_reply = envelope.and_then(|envelope| requests.first_reply.live(envelope, now));
        if first_reply.is_some_and(|first_reply| first_reply.0 != reply) {
            return Err(ReplySubjectInUse);
        }
        let waiting = match requests.table.live(reply, now) {
            Some(waiting) => waiting.merged_with(request)?,
            None => KnownRequest {
                id: request.id(),
                answered: false,
            },
        };
        requests.add_prefix(prefix, &reservation);
        requests.table.insert(reply, waiting, now);
        if let Some(envelope) = envelope {
            requests
                .first_reply
                .insert(envelope, FirstReply(reply), now);
        }
        // It replaces a plaintext request.
        let plain = self
            .by_keyring
            .iter_mut()
            .find(|requests| requests.keyring.is_none());
        if let Some(plain) = plain.filter(|_| keyring.is_some()) {
            plain.table.remove(reply);
        }
        Ok(())
    }

    /// How a publish to this subject is sealed; marks the request as answered.
    pub(super) fn answer(&mut self, (subject, prefix): (Hash, Hash)) -> Answer {
        let mut found = self.by_keyring.iter_mut().filter_map(|requests| {
            let waiting = requests.table.get_mut(subject)?;
            waiting.answered = true;
            Some((requests.keyring, waiting.id))
        });
        match (found.next(), found.next()) {
            // The older one had expired when the other was delivered.
            (Some(_), Some(_)) => Answer::Unclear,
            (Some((Some(keyring), id)), None) => Answer::Sealed(keyring, id),
            // A sealed request with this reply subject may have been forgotten before it.
            (Some((None, _)), None) => self.forgotten(prefix).unwrap_or(Answer::Plain),
            (None, _) => self.forgotten(prefix).unwrap_or(Answer::Unknown),
        }
    }

    /// The answer to a sealed request that was forgotten, if one with this prefix may have been.
    fn forgotten(&self, prefix: Hash) -> Option<Answer> {
        let mut keyrings = self
            .by_keyring
            .iter()
            .filter(|requests| requests.has_forgotten(prefix))
            .filter_map(|requests| requests.keyring);
        match (keyrings.next(), keyrings.next()) {
            (None, _) => None,
            (Some(keyring), None) => Some(Answer::Sealed(keyring, None)),
            (Some(_), Some(_)) => Some(Answer::Unclear),
        }
    }

    /// Whether a delivered request had this reply subject: a request that the client publishes with it is forwarded.
    pub(super) fn knows(&self, reply: Hash, now: Instant) -> bool {
        self.by_keyring
            .iter()
            .any(|requests| requests.table.live(reply, now).is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_keyring.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let of = |requests: &KeyringRequests| {
            let prefixes = requests.prefixes.len().saturating_mul(PREFIX);
            let tables = requests
                .table
                .bytes()
                .saturating_add(requests.first_reply.bytes());
            tables.saturating_add(prefixes)
        };
        self.by_keyring.iter().map(of).sum()
    }

    fn requests(&mut self, keyring: Option<KeyringId>) -> &mut KeyringRequests {
        let known = self
            .by_keyring
            .iter()
            .position(|requests| requests.keyring == keyring);
        let at = known.unwrap_or(self.by_keyring.len());
        if known.is_none() {
            let life = if keyring.is_some() {
                SEALED_LIFE
            } else {
                PLAIN_LIFE
            };
            self.by_keyring.push(KeyringRequests {
                keyring,
                table: Table::with_life(life, Rc::clone(&self.reservation)),
                first_reply: Table::with_life(life, Rc::clone(&self.reservation)),
                prefixes: HashSet::default(),
                any_prefix: false,
            });
        }
        #[expect(clippy::indexing_slicing, reason = "present: found or just pushed")]
        &mut self.by_keyring[at]
    }
}

impl KeyringRequests {
    fn add_prefix(&mut self, prefix: Hash, reservation: &MemoryReservation) {
        if self.keyring.is_none() || self.any_prefix || self.prefixes.contains(&prefix) {
            return;
        }
        if self.prefixes.len() < PREFIXES && reservation.grow(PREFIX) {
            self.prefixes.insert(prefix);
        } else {
            self.any_prefix = true;
        }
    }

    fn has_forgotten(&self, prefix: Hash) -> bool {
        self.table.has_forgotten() && (self.any_prefix || self.prefixes.contains(&prefix))
    }
}
