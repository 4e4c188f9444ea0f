//! Requests that were delivered to the client: what it owes them when it publishes to their reply subjects.
//!
//! An answer to a sealed request is sealed under the request's keyring and bound to the request; an answer to a plaintext request stays
//! plaintext. Anybody on the bus can send a request that was captured once more, an empty one, or a plaintext one, with the reply subject
//! of another. So one request at a time waits on a reply subject: what would make it unclear which one an answer is for is not delivered
//! ([`Taken`]), and no reply subject ever changes its keyring while it is live.
//!
//! | waits ↓, comes → | itself again | sealed | empty | passed on |
//! |---|---|---|---|---|
//! | sealed, no answer yet | stays | taken | taken | stays |
//! | sealed, answered | stays | takes its place | takes its place | stays |
//! | empty or passed on, no answer yet | | taken | stays | stays |
//! | empty or passed on, answered | | takes its place | stays | stays |
//! | another keyring's, or plaintext | | taken | taken | taken |
//!
//! Each keyring has a table of its own, so that a flood pushes out none but its own; what waits for an answer outlasts what has had one.

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
    /// Without a payload, on a subject that admits no plaintext: it looks the same from behind a gateway and from elsewhere.
    Empty(KeyringId),
    /// Sealed.
    Sealed(KeyringId, EnvelopeId),
    /// Sealed, and its reply subject stands for more than this request.
    PassedOn(KeyringId),
}

/// Another request waits on its reply subject.
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
    /// How their reply subjects begin: all but the last token.
    prefixes: HashSet<Hash, foldhash::fast::RandomState>,
    /// Whether there are more than that.
    any_prefix: bool,
}

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

impl Request {
    const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Plain => None,
            Self::Empty(keyring) | Self::Sealed(keyring, _) | Self::PassedOn(keyring) => {
                Some(keyring)
            }
        }
    }

    const fn id(self) -> Option<EnvelopeId> {
        match self {
            Self::Sealed(_, id) => Some(id),
            Self::Plain | Self::Empty(_) | Self::PassedOn(_) => None,
        }
    }
}

impl Waiting {
    /// What waits on a subject once this request of the same keyring has come, too.
    fn met_by(self, request: Request) -> Result<Self, Taken> {
        match request {
            Request::Plain | Request::PassedOn(_) => Ok(self),
            Request::Empty(_) if self.id.is_none() => Ok(self),
            Request::Sealed(_, id) if self.id == Some(id) => Ok(self),
            Request::Empty(_) | Request::Sealed(..) if self.answered => Ok(Self {
                id: request.id(),
                answered: false,
            }),
            Request::Empty(_) | Request::Sealed(..) => Err(Taken),
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

    /// A request comes. `prefix` is the hash of all but the last token of its reply subject.
    pub(super) fn delivered(
        &mut self,
        (reply, prefix): (Hash, Hash),
        request: Request,
        now: Instant,
    ) -> Result<(), Taken> {
        let keyring = request.keyring();
        let waits = self
            .places
            .iter()
            .find_map(|place| Some((place.keyring, *place.table.live(reply, now)?)));
        let waiting = match waits {
            Some((owner, _)) if owner != keyring => return Err(Taken),
            Some((_, waiting)) => waiting.met_by(request)?,
            None => Waiting {
                id: request.id(),
                answered: false,
            },
        };
        let account = Rc::clone(&self.account);
        let place = self.place(keyring);
        place.begins(prefix, &account);
        place.table.insert(reply, waiting, now);
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
            place.table.bytes().saturating_add(prefixes)
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
