//! Misses: envelopes whose key version is not in the snapshot. Which versions a connection waits for, and how often.
//!
//! Anybody on the bus can make up kids and replay old ones. A connection waits for a version that can be loaded while its rate
//! limit permits it; for a kid that the snapshot does not know, it must not have asked for many such within a second, either.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::Kid;
use crate::keyring::{Closed, MissRequest, RateLimiter, Snapshot, Verdict};
use crate::metrics::Cause;

/// How long a kid that could not be loaded is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// How many such kids a session remembers. While there are as many, no further unknown kid is asked for.
const MOST_ABSENT: usize = 16;

/// The rate limit for waits of a connection: 256 at once, then 16 a second.
const WAITS: RateLimiter = RateLimiter::new(256, Duration::from_micros(62_500));

pub(super) struct Misses {
    waits: RateLimiter,
    /// Versions that could not be loaded, latest first.
    absent: VecDeque<Absent>,
    /// Versions that can be loaded on demand, by the snapshot of this generation.
    on_demand: Arc<HashSet<Kid>>,
    /// Versions that are known and do not open, by the same.
    closed: Arc<HashMap<Kid, Closed>>,
    generation: u64,
}

struct Absent {
    kid: Kid,
    /// Until when nobody waits for it.
    until: Instant,
    /// Why it could not be loaded, where that is known.
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
    /// Takes over what a new snapshot says; one comparison if there is none.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot) {
        if self.generation != snapshot.generation() {
            self.generation = snapshot.generation();
            self.on_demand = Arc::clone(snapshot.on_demand());
            self.closed = Arc::clone(snapshot.closed());
        }
    }

    /// The wait for this version ended without it: for a while no message waits for it again.
    pub(super) fn give_up(&mut self, (kid, cause): (Kid, Option<Cause>), now: Instant) {
        self.absent
            .retain(|known| known.kid != kid && now < known.until);
        self.absent.truncate(MOST_ABSENT.saturating_sub(1));
        if let Some(until) = now.checked_add(ABSENT_FOR) {
            self.absent.push_front(Absent { kid, until, cause });
        }
    }

    /// Whether waiting for this version is pointless. A pre-active one may become active at any moment.
    pub(super) fn is_absent(&self, kid: Kid, now: Instant) -> bool {
        let closed = self.closed.get(&kid);
        closed.is_some_and(|closed| *closed != Closed::PreActive)
            || self.absent(now).any(|known| known.kid == kid)
    }

    /// The cause under which a message is withheld whose version is not waited for.
    pub(super) fn cause(&self, kid: Kid, now: Instant) -> Cause {
        let closed = self.closed.get(&kid).map(|closed| Cause::from(*closed));
        let found = || self.absent(now).find(|known| known.kid == kid)?.cause;
        let late = || self.on_demand.contains(&kid).then_some(Cause::LateKey);
        let cause = closed.or_else(found).or_else(late);
        cause.unwrap_or(Cause::UnknownKey)
    }

    /// Whether the connection has exceeded its limits, so that it does not wait for this version.
    pub(super) fn is_refused(&self, kid: Kid, now: Instant) -> bool {
        let may = self.on_demand.contains(&kid) || self.absent(now).count() < MOST_ABSENT;
        !may || !self.waits.has(now)
    }

    /// Versions that could not be loaded and are not asked for again yet.
    fn absent(&self, now: Instant) -> impl Iterator<Item = &Absent> {
        self.absent.iter().filter(move |known| now < known.until)
    }

    /// What is held and what the bound is, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> (usize, usize) {
        let place = size_of::<Absent>();
        let bytes = |places: usize| places.saturating_mul(place);
        (bytes(self.absent.capacity()), bytes(2 * MOST_ABSENT))
    }

    /// The connection begins to wait.
    pub(super) fn ask(&mut self, now: Instant) -> MissRequest {
        let spent = self.waits.ahead(now);
        // Whether a wait is left was checked before; if one was not, this wait is over anyway.
        let _had_one = self.waits.take(now);
        MissRequest { now, spent }
    }
}

/// The cause that a verdict gives for messages under the version; `None`: nobody has looked.
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
            assert_eq!(
                <&str>::from(misses.cause(kid(number), now)),
                word,
                "{number}"
            );
            // Only a pre-active version is worth a wait.
            assert_eq!(misses.is_absent(kid(number), now), number != 1);
        }
    }
}
