//! Which streams the client has asked to deliver where, and where it waits for answers.
//!
//! A place is a subject that the client has named, or the tokens that it begins with: filters with wildcards match more than one.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::account::Account;

use super::table::{Entry, Hash, Table};

/// What the client expects where.
pub(super) struct Sources {
    table: Table<Expected>,
}

/// What is expected at a place; of a place and a stream together, that this stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// The answers of agents.
    pub(super) answers: bool,
    /// What some stream holds.
    pub(super) streams: Option<Delivers>,
}

/// For how long a stream is to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dataplane) enum Delivers {
    /// It answers a pull.
    Once,
    /// A push consumer does.
    FromNowOn,
}

impl Entry for Expected {
    fn is_pending(&self) -> bool {
        self.streams == Some(Delivers::FromNowOn)
    }
}

impl Sources {
    pub(super) fn new(account: Rc<Account>) -> Self {
        Self {
            // A consumer delivers until it is deleted.
            table: Table::new(Duration::MAX, account),
        }
    }

    /// Agents are to answer at these places, of which the first is the most exact: most requests of a client share it.
    pub(super) fn awaits_answers(&mut self, places: impl Iterator<Item = Hash>, now: Instant) {
        for place in places {
            if self.at(place, now).answers {
                return;
            }
            self.expect(place, now, |expected| expected.answers = true);
        }
    }

    /// A stream is to deliver at these places, each with the same of this stream alone.
    pub(super) fn delivers(
        &mut self,
        places: impl Iterator<Item = [Hash; 2]>,
        delivers: Delivers,
        now: Instant,
    ) {
        for key in places.flatten() {
            self.expect(key, now, |expected| {
                expected.streams = expected.streams.max(Some(delivers));
            });
        }
    }

    fn expect(&mut self, key: Hash, now: Instant, change: impl FnOnce(&mut Expected)) {
        let mut expected = self.at(key, now);
        change(&mut expected);
        self.table.insert(key, expected, now);
    }

    /// What is expected at a place, or of a stream at a place.
    pub(super) fn at(&self, key: Hash, now: Instant) -> Expected {
        self.table.live(key, now).copied().unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}
