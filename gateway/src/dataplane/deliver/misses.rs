//! Which key versions a connection waits for, and how often.
//!
//! Kids are the bus's to make up, and old ones to repeat. A connection waits for a version that can be loaded, as often as it has
//! waits left; for one that the snapshot has never heard of, unless it has asked for many such within a second.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::Kid;
use crate::keyring::{Allowance, Asking, Closed, Snapshot, Verdict};
use crate::metrics::Cause;

/// How long a kid that could not be loaded is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// How many such kids a session remembers. As long as these are as many, no other is asked for that the snapshot does not know.
const MOST_ABSENT: usize = 16;

/// How often a connection waits: a replay of as many versions at once, and then of sixteen in a second.
const WAITS: Allowance = Allowance::new(256, Duration::from_micros(62_500));

/// Of one connection.
pub(super) struct Misses {
    waits: Allowance,
    /// What could not be loaded.
    absent: VecDeque<Absent>,
    /// What can be loaded, as the snapshot of this generation says.
    on_demand: Arc<HashSet<Kid>>,
    /// What is known and does not open, as it says.
    closed: Arc<HashMap<Kid, Closed>>,
    generation: u64,
}

/// A version that could not be loaded.
struct Absent {
    kid: Kid,
    /// Until when nobody waits for it.
    until: Instant,
    /// Why not, where that was found out.
    cause: Option<Cause>,
}

impl Default for Misses {
    fn default() -> Self {
        Self {
            waits: WAITS,
            absent: VecDeque::new(),
            on_demand: Arc::default(),
            closed: Arc::default(),
            generation: 0,
        }
    }
}

impl Misses {
    /// Costs one comparison when nothing has changed.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot) {
        if self.generation != snapshot.generation() {
            self.generation = snapshot.generation();
            self.on_demand = Arc::clone(snapshot.on_demand());
            self.closed = Arc::clone(snapshot.closed());
        }
    }

    /// The wait for this version ended without it: messages under it are not worth another wait for a while.
    pub(super) fn give_up(&mut self, (kid, cause): (Kid, Option<Cause>), now: Instant) {
        self.absent
            .retain(|known| known.kid != kid && now < known.until);
        self.absent.truncate(MOST_ABSENT.saturating_sub(1));
        if let Some(until) = now.checked_add(ABSENT_FOR) {
            self.absent.push_front(Absent { kid, until, cause });
        }
    }

    /// Whether this version is not worth a wait. One that is about to be active is.
    pub(super) fn is_absent(&self, kid: Kid, now: Instant) -> bool {
        let closed = self.closed.get(&kid);
        closed.is_some_and(|closed| *closed != Closed::PreActive)
            || self.absent(now).any(|known| known.kid == kid)
    }

    /// Why messages under a version that is not worth a wait do not open.
    pub(super) fn cause(&self, kid: Kid, now: Instant) -> Cause {
        let closed = self.closed.get(&kid).map(|closed| Cause::from(*closed));
        let found = || self.absent(now).find(|known| known.kid == kid)?.cause;
        let late = || self.on_demand.contains(&kid).then_some(Cause::LateKey);
        let cause = closed.or_else(found).or_else(late);
        cause.unwrap_or(Cause::UnknownKey)
    }

    /// Whether it may be, but the connection has asked for too much.
    pub(super) fn is_refused(&self, kid: Kid, now: Instant) -> bool {
        let may = self.on_demand.contains(&kid) || self.absent(now).count() < MOST_ABSENT;
        !may || !self.waits.has(now)
    }

    /// What could not be loaded, and is not asked for yet.
    fn absent(&self, now: Instant) -> impl Iterator<Item = &Absent> {
        self.absent.iter().filter(move |known| now < known.until)
    }

    /// What is remembered, and what may be, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> (usize, usize) {
        let place = size_of::<Absent>();
        let bytes = |places: usize| places.saturating_mul(place);
        (bytes(self.absent.capacity()), bytes(2 * MOST_ABSENT))
    }

    /// The connection begins to wait.
    pub(super) fn ask(&mut self, now: Instant) -> Asking {
        let spent = self.waits.ahead(now);
        // Whether there was one left has been looked at; one that was not is no reason to wait for nothing.
        let _had_one = self.waits.take(now);
        Asking { now, spent }
    }
}

/// What a verdict says of messages under the version; `None`: nobody has looked.
pub(super) fn cause_of(verdict: Verdict) -> Option<Cause> {
    match verdict {
        Verdict::Loaded | Verdict::Refused => None,
        Verdict::Absent => Some(Cause::UnknownKey),
        Verdict::Closed(closed) => Some(closed.into()),
        Verdict::Unloadable => Some(Cause::UnloadableKey),
    }
}

impl From<Closed> for Cause {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::PreActive => Self::PreActiveKey,
            Closed::Suspended => Self::SuspendedKey,
            Closed::Compromised => Self::CompromisedKey,
            Closed::Destroyed => Self::DestroyedKey,
            Closed::Unserved => Self::WrongKeyring,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn kid(number: u8) -> Kid {
        Kid([number; 8])
    }

    #[test]
    fn what_an_operator_does_something_else_about_has_another_cause() {
        let now = crate::clock::Clock::system().instant();
        let closed = [
            (1, Closed::PreActive, "pre-active-key"),
            (2, Closed::Suspended, "suspended-key"),
            (3, Closed::Compromised, "compromised-key"),
            (4, Closed::Destroyed, "destroyed-key"),
            (5, Closed::Unserved, "wrong-keyring"),
        ];
        let mut misses = Misses {
            on_demand: Arc::new(HashSet::from([kid(6), kid(7)])),
            closed: Arc::new(
                closed
                    .map(|(number, closed, _)| (kid(number), closed))
                    .into(),
            ),
            ..Misses::default()
        };
        let verdicts = [
            (6, Verdict::Unloadable, "unloadable-key"),
            (7, Verdict::Refused, "late-key"),
            (8, Verdict::Absent, "unknown-key"),
            (9, Verdict::Closed(Closed::Destroyed), "destroyed-key"),
            (10, Verdict::Refused, "unknown-key"),
        ];
        for (number, verdict, _) in verdicts {
            misses.give_up((kid(number), cause_of(verdict)), now);
        }
        let expected = closed.map(|(number, _, word)| (number, word)).into_iter();
        let expected = expected.chain(verdicts.map(|(number, _, word)| (number, word)));
        for (number, word) in expected {
            assert_eq!(misses.cause(kid(number), now).word(), word, "{number}");
            // Only what is about to be active is worth a wait.
            assert_eq!(misses.is_absent(kid(number), now), number != 1);
        }
    }
}
