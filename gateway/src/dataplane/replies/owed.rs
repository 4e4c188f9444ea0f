//! Requests that were delivered to the client: what it owes them when it publishes to their reply subjects.
//!
//! An answer to a sealed request is sealed under the request's keyring and bound to the request; an answer to a plaintext request stays
//! plaintext. Anybody on the bus can send a request that was captured once more, an empty one, or a plaintext one, with the reply subject
//! of another. So an answer is bound to one request on its reply subject, the latest that can be told from others; what would have it go to
//! somebody else is not delivered ([`Taken`]), and no reply subject ever changes its keyring while it is live.
//!
//! | waits ↓, comes → | sealed | empty | passed on | in plaintext |
//! |---|---|---|---|---|
//! | sealed, no answer yet | takes its place | taken | stays | taken |
//! | sealed, answered | takes its place | takes its place | stays | taken |
//! | empty | takes its place | stays | takes its place | taken |
//! | passed on | takes its place | stays | stays | taken |
//! | in plaintext | takes its place | takes its place | takes its place | stays |
//! | another keyring's | taken | taken | taken | taken |
//!
//! A request that comes with another reply subject than it came with before was captured by somebody, and is not delivered either. Each
//! keyring has a table of its own, so that a flood pushes out none but its own; what waits for an answer outlasts what has had one.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::account::Account;
use crate::envelope::EnvelopeId;
use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// How long a sealed request is known at least.
const SEALED: Duration = Duration::from_mins(30);
/// The same for plaintext requests, which anybody can send.
const PLAIN: Duration = Duration::from_mins(5);

/// How many different beginnings of reply subjects are told apart.
const PREFIXES: usize = 4096;
/// What one of them takes, in bytes.
const PREFIX: usize = 2 * (size_of::<Hash>() + 1);

/// A request, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Request {
    /// In plaintext.
    Plain,
    /// Without a payload, on a subject that admits no plaintext: it looks the same from behind a gateway and from elsewhere, and its
    /// answer says that it answers such a one.
    Empty(KeyringId),
    /// Sealed.
    Sealed(KeyringId, EnvelopeId),
    /// Sealed, and its reply subject stands for more than this request.
    PassedOn(KeyringId, EnvelopeId),
}

/// Another request waits on its reply subject, or it waits on another reply subject itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Taken;

/// How a publish to a reply subject is to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Answer {
    /// Under this keyring, bound to the request if that is known.
    Sealed(KeyringId, Option<EnvelopeId>),
    /// The request was plaintext.
    Plain,
    /// No request has named it.
    Unknown,
    /// It may answer a request that is not known any more, and nobody can say which.
    Unclear,
}

/// What is kept of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    /// The request, if an answer can be bound to it.
    id: Option<EnvelopeId>,
    answered: bool,
}

/// The requests of one keyring, or the plaintext ones.
struct Place {
    keyring: Option<KeyringId>,
    table: Table<Waiting>,
    /// The reply subjects with which sealed requests came.
    came: Table<Came>,
    /// How their reply subjects begin: all but the last token.
    prefixes: HashSet<Hash, foldhash::fast::RandomState>,
    /// Whether there are more than that.
    any_prefix: bool,
}

/// With which reply subject a request came.
#[derive(Clone, Copy)]
struct Came(Hash);

/// What the client owes.
pub(super) struct Owed {
    account: Rc<Account>,
    places: Vec<Place>,
}

impl Entry for Waiting {
    fn is_pending(&self) -> bool {
        !self.answered
    }
}

impl Entry for Came {
    fn is_pending(&self) -> bool {
        false
    }
}

impl Request {
    const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Plain => None,
            Self::Empty(keyring) | Self::Sealed(keyring, _) | Self::PassedOn(keyring, _) => {
                Some(keyring)
            }
        }
    }

    /// What an answer can be bound to.
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

impl Waiting {
    /// What waits on a subject once this request of the same keyring has come, too.
    fn met_by(self, request: Request) -> Result<Self, Taken> {
        let takes_its_place = Self {
            id: request.id(),
            answered: false,
        };
        let is_empty = self.id == Some(EnvelopeId::EMPTY);
        match request {
            Request::Plain => Ok(self),
            Request::PassedOn(..) if !is_empty => Ok(self),
            Request::Empty(_) if is_empty || self.id.is_none() => Ok(self),
            Request::Empty(_) if !self.answered => Err(Taken),
            Request::Sealed(_, id) if self.id == Some(id) => Ok(self),
            Request::PassedOn(..) | Request::Empty(_) | Request::Sealed(..) => Ok(takes_its_place),
        }
    }
}

impl Owed {
    pub(super) const fn new(account: Rc<Account>) -> Self {
        Self {
            account,
            places: Vec::new(),
        }
    }

    /// A request comes. `prefix` is the hash of all but the last token of its reply subject, `envelope` that of its envelope's name.
    pub(super) fn delivered(
        &mut self,
        (reply, prefix, envelope): (Hash, Hash, Option<Hash>),
        request: Request,
        now: Instant,
    ) -> Result<(), Taken> {
        let keyring = request.keyring();
        let others = self.places.iter().filter(|place| place.keyring != keyring);
        for other in others {
            let in_the_way = keyring.is_none() || other.keyring.is_some();
            if in_the_way && other.table.live(reply, now).is_some() {
                return Err(Taken);
            }
        }
        let account = Rc::clone(&self.account);
        let place = self.place(keyring);
        let came = envelope.and_then(|envelope| place.came.live(envelope, now));
        if came.is_some_and(|came| came.0 != reply) {
            return Err(Taken);
        }
        let waiting = match place.table.live(reply, now) {
            Some(waiting) => waiting.met_by(request)?,
            None => Waiting {
                id: request.id(),
                answered: false,
            },
        };
        place.begins(prefix, &account);
        place.table.insert(reply, waiting, now);
        if let Some(envelope) = envelope {
            place.came.insert(envelope, Came(reply), now);
        }
        // What it takes the place of.
        let plain = self.places.iter_mut().find(|place| place.keyring.is_none());
        if let Some(plain) = plain.filter(|_| keyring.is_some()) {
            plain.table.remove(reply);
        }
        Ok(())
    }

    /// What the client owes whoever waits on a subject to which it publishes.
    pub(super) fn answer(&mut self, (subject, prefix): (Hash, Hash)) -> Answer {
        let mut found = self.places.iter_mut().filter_map(|place| {
            let waiting = place.table.get_mut(subject)?;
            waiting.answered = true;
            Some((place.keyring, waiting.id))
        });
        match (found.next(), found.next()) {
            // One has come after the other was too old to be in its way.
            (Some(_), Some(_)) => Answer::Unclear,
            (Some((Some(keyring), id)), None) => Answer::Sealed(keyring, id),
            // It has come after another that is not known any more, perhaps.
            (Some((None, _)), None) => self.forgotten(prefix).unwrap_or(Answer::Plain),
            (None, _) => self.forgotten(prefix).unwrap_or(Answer::Unknown),
        }
    }

    /// Whether a sealed request that is not known any more can have named a subject that begins like this.
    fn forgotten(&self, prefix: Hash) -> Option<Answer> {
        let mut keyrings = self
            .places
            .iter()
            .filter(|place| place.has_forgotten(prefix))
            .filter_map(|place| place.keyring);
        match (keyrings.next(), keyrings.next()) {
            (None, _) => None,
            (Some(keyring), None) => Some(Answer::Sealed(keyring, None)),
            (Some(_), Some(_)) => Some(Answer::Unclear),
        }
    }

    /// Whether a reply subject is known here: whoever publishes a request with it passes on what it was given.
    pub(super) fn knows(&self, reply: Hash, now: Instant) -> bool {
        self.places
            .iter()
            .any(|place| place.table.live(reply, now).is_some())
    }

    /// Whether nothing has been delivered that wants an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let of = |place: &Place| {
            let prefixes = place.prefixes.len().saturating_mul(PREFIX);
            let tables = place.table.bytes().saturating_add(place.came.bytes());
            tables.saturating_add(prefixes)
        };
        self.places.iter().map(of).sum()
    }

    fn place(&mut self, keyring: Option<KeyringId>) -> &mut Place {
        let known = self
            .places
            .iter()
            .position(|place| place.keyring == keyring);
        let at = known.unwrap_or(self.places.len());
        if known.is_none() {
            let life = if keyring.is_some() { SEALED } else { PLAIN };
            self.places.push(Place {
                keyring,
                table: Table::new(life, Rc::clone(&self.account)),
                came: Table::new(life, Rc::clone(&self.account)),
                prefixes: HashSet::default(),
                any_prefix: false,
            });
        }
        #[expect(clippy::indexing_slicing, reason = "present: found or just pushed")]
        &mut self.places[at]
    }
}

impl Place {
    /// A reply subject begins like this.
    fn begins(&mut self, prefix: Hash, account: &Account) {
        if self.keyring.is_none() || self.any_prefix || self.prefixes.contains(&prefix) {
            return;
        }
        if self.prefixes.len() < PREFIXES && account.grow(PREFIX) {
            self.prefixes.insert(prefix);
        } else {
            self.any_prefix = true;
        }
    }

    fn has_forgotten(&self, prefix: Hash) -> bool {
        self.table.has_forgotten() && (self.any_prefix || self.prefixes.contains(&prefix))
    }
}
