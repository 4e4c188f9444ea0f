//! How long stored messages have been withheld, for the time limit of `undecryptable`.
//!
//! A message is identified by account, stream, sequence and time of storage, so that a message of another account, or of an
//! earlier stream of the same name, is another one. Where the server does not name the client's account, each connection counts
//! for itself. Every account has entries of its own, so that a flood in one affects no other. An entry is kept until its message
//! is given up, or has not been seen for long; while all are in use, further messages are not timed and stay withheld longer. A
//! flood thus can delay the end of a message in its account, and never bring it about early.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::memory::MemoryReservation;
use crate::wire::jetstream::Delivery;

/// How many stored messages are timed at once, for an account in a worker, or for a connection.
pub(super) const MOST: usize = 1024;

pub(super) const MOST_ACCOUNTS: usize = 64;

/// The longest name of an account that is kept.
const LONGEST: usize = 256;

/// What a timer takes, in bytes, at most.
pub(super) const TIMER_BYTES: usize = 128;

/// How often timers are swept while all are in use.
const SWEEP: Duration = Duration::from_secs(1);

/// The timer of a message that has not been seen for this long, or for as long as its limit if that is longer, is dropped.
const UNSEEN: Duration = Duration::from_secs(3600);

/// The timers of a worker, by account as the server names it.
#[derive(Default)]
pub(super) struct AccountTimers(HashMap<Box<[u8]>, Timers>);

/// The account in which a client is, as the server names it.
#[derive(Default)]
pub(super) enum NatsAccount {
    /// The server has not named it.
    #[default]
    Unknown,
    /// It has always been this one.
    Known(Box<[u8]>),
    /// The server named two, or one that is too long to be kept. This is final.
    Ambiguous,
}

/// The timers of one account, or of one connection.
#[derive(Default)]
pub(super) struct Timers {
    hasher: foldhash::quality::RandomState,
    since: HashMap<u64, Timer, foldhash::fast::RandomState>,
    swept: Option<Instant>,
    /// The connection's memory account; `None` for the timers of a NATS account.
    reservation: Option<Rc<MemoryReservation>>,
}

struct Timer {
    first: Instant,
    seen: Instant,
}

impl NatsAccount {
    /// The server has named it.
    pub(super) fn set(&mut self, name: &[u8]) {
        match self {
            Self::Unknown if name.len() <= LONGEST => *self = Self::Known(name.into()),
            Self::Known(before) if **before == *name => {}
            Self::Unknown | Self::Known(_) | Self::Ambiguous => *self = Self::Ambiguous,
        }
    }
}

impl AccountTimers {
    /// The timers of an account; `None` if too many other accounts have some.
    pub(super) fn of(&mut self, account: &[u8], now: Instant) -> Option<&mut Timers> {
        if !self.0.contains_key(account) {
            if self.0.len() >= MOST_ACCOUNTS {
                self.0
                    .retain(|_account, timers| timers.sweep(now, UNSEEN) > 0);
            }
            if self.0.len() >= MOST_ACCOUNTS {
                return None;
            }
            drop(self.0.insert(account.into(), Timers::default()));
        }
        self.0.get_mut(account)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Timers::len).sum()
    }
}

impl Timers {
    /// The timers of a connection, on its memory account.
    pub(super) fn of_connection(reservation: Rc<MemoryReservation>) -> Self {
        Self {
            reservation: Some(reservation),
            ..Self::default()
        }
    }

    /// When this message was first withheld; `now` if it cannot be timed.
    pub(super) fn first_withheld(
        &mut self,
        stored: &Delivery<'_>,
        now: Instant,
        limit: Duration,
    ) -> Instant {
        let place = self.place(stored);
        if let Some(timer) = self.since.get_mut(&place) {
            timer.seen = now;
            return timer.first;
        }
        let due = |swept: Instant| now.saturating_duration_since(swept) >= SWEEP;
        if self.since.len() >= MOST && self.swept.is_none_or(due) {
            self.swept = Some(now);
            self.sweep(now, limit.max(UNSEEN));
        }
        let paid = || {
            self.reservation
                .as_ref()
                .is_none_or(|reservation| reservation.grow(TIMER_BYTES))
        };
        if self.since.len() < MOST && paid() {
            let timer = Timer {
                first: now,
                seen: now,
            };
            self.since.insert(place, timer);
        }
        now
    }

    /// Drops the timer of a message that is given up.
    pub(super) fn remove(&mut self, stored: &Delivery<'_>) {
        if self.since.remove(&self.place(stored)).is_some() {
            self.give_back(1);
        }
    }

    /// Drops the timers of messages that have not been seen for so long; how many are left.
    fn sweep(&mut self, now: Instant, unseen: Duration) -> usize {
        let before = self.since.len();
        self.since
            .retain(|_place, timer| now.saturating_duration_since(timer.seen) < unseen);
        let left = self.since.len();
        self.give_back(before.saturating_sub(left));
        left
    }

    fn give_back(&self, places: usize) {
        if let Some(reservation) = &self.reservation {
            reservation.shrink(places.saturating_mul(TIMER_BYTES));
        }
    }

    fn place(&self, stored: &Delivery<'_>) -> u64 {
        let Delivery {
            origin,
            stream,
            consumer: _,
            delivered: _,
            sequence,
            time,
        } = stored;
        self.hasher.hash_one((origin, stream, sequence, time))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.since.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::memory::MemoryPool;

    const LIMIT: Duration = Duration::from_secs(60);

    fn stored(sequence: u64) -> Delivery<'static> {
        Delivery {
            origin: None,
            stream: b"S",
            consumer: b"c",
            delivered: 1,
            sequence,
            time: 7,
        }
    }

    #[test]
    fn full_places_are_kept_for_those_that_have_them_until_they_are_not_seen_for_long() {
        let start = Clock::system().instant();
        let mut timers = Timers::default();
        for sequence in 0..100_000 {
            timers.first_withheld(&stored(sequence), start, LIMIT);
        }
        assert_eq!(timers.len(), MOST);
        let later = start + LIMIT;
        assert_eq!(timers.first_withheld(&stored(0), later, LIMIT), start);
        assert_eq!(timers.first_withheld(&stored(99_999), later, LIMIT), later);
        timers.remove(&stored(0));
        timers.first_withheld(&stored(99_999), later, LIMIT);
        let latest = later + UNSEEN;
        assert_eq!(
            timers.first_withheld(&stored(99_999), latest - LIMIT, LIMIT),
            later
        );
        timers.first_withheld(&stored(200_000), latest, LIMIT);
        assert_eq!(timers.len(), 2);
    }

    #[test]
    fn flood_in_one_account_takes_no_place_of_another() {
        let start = Clock::system().instant();
        let mut withheld = AccountTimers::default();
        for account in 0..1000 {
            let Some(timers) = withheld.of(format!("A{account}").as_bytes(), start) else {
                assert!(account >= MOST_ACCOUNTS);
                break;
            };
            for sequence in 0..2000 {
                timers.first_withheld(&stored(sequence), start, LIMIT);
            }
        }
        assert_eq!(withheld.len(), MOST_ACCOUNTS * MOST);
        let timers = withheld.of(b"A1", start).unwrap();
        assert_eq!(
            timers.first_withheld(&stored(0), start + LIMIT, LIMIT),
            start
        );
    }

    #[test]
    fn account_that_the_server_names_otherwise_later_or_at_length_is_unclear() {
        let mut named = NatsAccount::default();
        named.set(b"A");
        named.set(b"A");
        assert!(matches!(&named, NatsAccount::Known(name) if **name == *b"A"));
        named.set(b"B");
        named.set(b"A");
        assert!(matches!(named, NatsAccount::Ambiguous));
        let mut named = NatsAccount::default();
        named.set(&[b'a'; LONGEST + 1]);
        assert!(matches!(named, NatsAccount::Ambiguous));
    }

    #[test]
    fn connection_pays_for_its_places_and_gets_them_back() {
        let start = Clock::system().instant();
        let reservation = MemoryPool::new(usize::MAX).open();
        let mut timers = Timers::of_connection(Rc::clone(&reservation));
        for sequence in 0..10_000 {
            timers.first_withheld(&stored(sequence), start, LIMIT);
        }
        assert_eq!(reservation.held(), MOST * TIMER_BYTES);
        timers.remove(&stored(3));
        assert_eq!(reservation.held(), (MOST - 1) * TIMER_BYTES);
        let poor = MemoryPool::new(0).open();
        let mut timers = Timers::of_connection(Rc::clone(&poor));
        for sequence in 0..10_000 {
            timers.first_withheld(&stored(sequence), start, LIMIT);
        }
        assert_eq!(timers.len(), crate::dataplane::memory::FLOOR / TIMER_BYTES);
    }
}
