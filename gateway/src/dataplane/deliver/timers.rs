//! Since when stored messages have been withheld.
//!
//! A message is one by its account, its stream, its sequence and the time at which it was stored: what another account holds, or
//! held a stream of that name before, is another message. Where the server does not say in which account a client is, the client's
//! connection counts for itself. Each account has its own places: whoever fills them keeps nobody else's messages from being timed.
//! A place is kept until its message is given up, or has not been seen for long; as long as all are taken others are not timed, and
//! so stay withheld longer. A flood thus delays what it hides among, and ends nothing early.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::account::Account;
use crate::wire::jetstream::Delivery;

/// How many stored messages are timed at once, of one account by one worker, or of one connection.
pub(in crate::dataplane) const MOST: usize = 1024;

/// How many accounts have places.
pub(in crate::dataplane) const MOST_ACCOUNTS: usize = 64;

/// The longest name of an account that is kept.
const LONGEST: usize = 256;

/// What a place takes, in bytes, at most.
pub(in crate::dataplane) const PLACE: usize = 128;

/// How often it is looked for such.
const SWEEP: Duration = Duration::from_secs(1);

/// A message that has not been seen for this long, or for as long as its limit if that is longer, has its place taken.
const UNSEEN: Duration = Duration::from_secs(3600);

/// By account, as the server has named it.
#[derive(Default)]
pub(in crate::dataplane) struct Withheld(HashMap<Box<[u8]>, Timers>);

/// The account in which a client is, as the server names it.
#[derive(Default)]
pub(in crate::dataplane) enum Named {
    /// Not yet, or not at all.
    #[default]
    Unsaid,
    /// Always the same.
    Said(Box<[u8]>),
    /// Two different ones, or one that is too long to be kept. For good.
    Unclear,
}

/// Those of one account, or of one connection.
#[derive(Default)]
pub(in crate::dataplane) struct Timers {
    hasher: foldhash::quality::RandomState,
    since: HashMap<u64, Timer, foldhash::fast::RandomState>,
    swept: Option<Instant>,
    /// Who pays; `None` for those of an account.
    account: Option<Rc<Account>>,
}

struct Timer {
    first: Instant,
    seen: Instant,
}

impl Named {
    /// The server has named it.
    pub(in crate::dataplane) fn say(&mut self, name: &[u8]) {
        match self {
            Self::Unsaid if name.len() <= LONGEST => *self = Self::Said(name.into()),
            Self::Said(before) if **before == *name => {}
            Self::Unsaid | Self::Said(_) | Self::Unclear => *self = Self::Unclear,
        }
    }
}

impl Withheld {
    /// Those of an account; `None` if too many others have some.
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

    /// How many places are taken.
    #[cfg(test)]
    pub(in crate::dataplane) fn len(&self) -> usize {
        self.0.values().map(Timers::len).sum()
    }
}

impl Timers {
    /// Those of a connection, which pays for them.
    pub(in crate::dataplane) fn of_connection(account: Rc<Account>) -> Self {
        Self {
            account: Some(account),
            ..Self::default()
        }
    }

    /// When this message was first withheld; `now` for one that finds no place.
    pub(super) fn first(
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
            self.account
                .as_ref()
                .is_none_or(|account| account.grow(PLACE))
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

    /// This message is given up: it does not come again.
    pub(super) fn end(&mut self, stored: &Delivery<'_>) {
        if self.since.remove(&self.place(stored)).is_some() {
            self.give_back(1);
        }
    }

    /// Takes the places of those that have not been seen for so long; how many are left.
    fn sweep(&mut self, now: Instant, unseen: Duration) -> usize {
        let before = self.since.len();
        self.since
            .retain(|_place, timer| now.saturating_duration_since(timer.seen) < unseen);
        let left = self.since.len();
        self.give_back(before.saturating_sub(left));
        left
    }

    fn give_back(&self, places: usize) {
        if let Some(account) = &self.account {
            account.shrink(places.saturating_mul(PLACE));
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
    pub(in crate::dataplane) fn len(&self) -> usize {
        self.since.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::account::Memory;

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
            timers.first(&stored(sequence), start, LIMIT);
        }
        assert_eq!(timers.len(), MOST);
        let later = start + LIMIT;
        assert_eq!(timers.first(&stored(0), later, LIMIT), start);
        assert_eq!(timers.first(&stored(99_999), later, LIMIT), later);
        timers.end(&stored(0));
        timers.first(&stored(99_999), later, LIMIT);
        let latest = later + UNSEEN;
        assert_eq!(timers.first(&stored(99_999), latest - LIMIT, LIMIT), later);
        timers.first(&stored(200_000), latest, LIMIT);
        assert_eq!(timers.len(), 2);
    }

    #[test]
    fn flood_in_one_account_takes_no_place_of_another() {
        let start = Clock::system().instant();
        let mut withheld = Withheld::default();
        for account in 0..1000 {
            let Some(timers) = withheld.of(format!("A{account}").as_bytes(), start) else {
                assert!(account >= MOST_ACCOUNTS);
                break;
            };
            for sequence in 0..2000 {
                timers.first(&stored(sequence), start, LIMIT);
            }
        }
        assert_eq!(withheld.len(), MOST_ACCOUNTS * MOST);
        let timers = withheld.of(b"A1", start).unwrap();
        assert_eq!(timers.first(&stored(0), start + LIMIT, LIMIT), start);
    }

    #[test]
    fn account_that_the_server_names_otherwise_later_or_at_length_is_unclear() {
        let mut named = Named::default();
        named.say(b"A");
        named.say(b"A");
        assert!(matches!(&named, Named::Said(name) if **name == *b"A"));
        named.say(b"B");
        named.say(b"A");
        assert!(matches!(named, Named::Unclear));
        let mut named = Named::default();
        named.say(&[b'a'; LONGEST + 1]);
        assert!(matches!(named, Named::Unclear));
    }

    #[test]
    fn connection_pays_for_its_places_and_gets_them_back() {
        let start = Clock::system().instant();
        let account = Memory::new(usize::MAX).open();
        let mut timers = Timers::of_connection(Rc::clone(&account));
        for sequence in 0..10_000 {
            timers.first(&stored(sequence), start, LIMIT);
        }
        assert_eq!(account.held(), MOST * PLACE);
        timers.end(&stored(3));
        assert_eq!(account.held(), (MOST - 1) * PLACE);
        let poor = Memory::new(0).open();
        let mut timers = Timers::of_connection(Rc::clone(&poor));
        for sequence in 0..10_000 {
            timers.first(&stored(sequence), start, LIMIT);
        }
        assert_eq!(timers.len(), crate::dataplane::account::FLOOR / PLACE);
    }
}
