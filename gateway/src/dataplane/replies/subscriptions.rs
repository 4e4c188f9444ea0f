//! The client's subscriptions.
//!
//! The server delivers to a subscription what is published where its filter matches, under that subject, and what a consumer
//! sends there, under the subject that the message is stored under. Anybody who may create consumers or pull can have messages
//! sent to a subject to which another client has subscribed. A filter with wildcards gets them, too, once anybody has subscribed
//! to the subject itself (measured with nats-server 2.15.1). At least the newest 14,336 are remembered; one that ends by itself
//! (`UNSUB` with a maximum) is forgotten before others.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::memory::MemoryReservation;
use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// A subscription of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Subscription {
    /// The hash of the filter's tokens before its first wildcard.
    pub(super) start: Hash,
    /// How many those are.
    pub(super) tokens: usize,
    pub(super) kind: FilterKind,
    /// A keyring, if everything that is published where the filter matches is sealed.
    pub(in crate::dataplane) keyring: Option<KeyringId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterKind {
    /// A literal subject.
    Subject,
    Wildcards(WildcardScope),
}

/// What a filter with wildcards matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum WildcardScope {
    /// Inboxes that a keyring names.
    Inboxes,
    /// Anything else.
    Other,
}

/// The subscriptions, by the hash of their sid.
pub(super) struct Subscriptions {
    table: Table<Live>,
}

struct Live {
    subscription: Subscription,
    /// Whether it lasts until the client unsubscribes.
    lasts: bool,
}

impl Entry for Live {
    fn is_pending(&self) -> bool {
        self.lasts
    }
}

impl Subscriptions {
    pub(super) fn new(reservation: Rc<MemoryReservation>) -> Self {
        Self {
            // Subscriptions do not expire.
            table: Table::new(Duration::MAX, reservation),
        }
    }

    /// Ignores a `SUB` whose sid is in use, as the server does.
    pub(super) fn subscribed(&mut self, sid: Hash, subscription: Subscription, now: Instant) {
        let before = self.table.live(sid, now);
        if !before.is_some_and(|live| live.lasts) {
            let live = Live {
                subscription,
                lasts: true,
            };
            self.table.insert(sid, live, now);
        }
    }

    pub(super) fn unsubscribed(&mut self, sid: Hash) {
        self.table.remove(sid);
    }

    /// The server will end it by itself (`UNSUB` with a maximum).
    pub(super) fn limited(&mut self, sid: Hash) {
        if let Some(live) = self.table.get_mut(sid) {
            live.lasts = false;
        }
    }

    pub(super) fn get(&self, sid: Hash, now: Instant) -> Option<&Subscription> {
        self.table.live(sid, now).map(|live| &live.subscription)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}
