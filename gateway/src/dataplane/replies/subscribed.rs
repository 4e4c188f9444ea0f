//! The client's subscriptions, as far as what comes on one is judged by its filter.
//!
//! The server delivers to a subscription what is published where it matches, under that subject, and what a consumer sends there,
//! under the subject that it is stored under. Whoever may create consumers or pull on the bus can name what somebody else has
//! subscribed to. A filter with wildcards gets it too, once anybody has subscribed to the subject itself (measured with 2.15.1).
//! The newest 14,336 are known at least; one that ends by itself (`UNSUB` with a maximum) is forgotten before others.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::dataplane::account::Account;
use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// A subscription of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Subscription {
    /// The tokens of the filter before its first wildcard.
    pub(super) start: Hash,
    /// How many those are.
    pub(super) tokens: usize,
    pub(super) kind: Kind,
    /// A keyring, if all that is published where it matches is sealed.
    pub(in crate::dataplane) keyring: Option<KeyringId>,
}

/// What a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A subject.
    Subject,
    /// It has wildcards.
    Wildcards(Covers),
}

/// What a filter with wildcards matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Covers {
    /// Inboxes that a keyring names.
    Inboxes,
    /// Anything else.
    Other,
}

/// What the client has subscribed to.
pub(super) struct Subscribed {
    table: Table<Live>,
}

struct Live {
    subscription: Subscription,
    /// Whether it lasts until the client ends it.
    lasts: bool,
}

impl Entry for Live {
    fn is_pending(&self) -> bool {
        self.lasts
    }
}

impl Subscribed {
    pub(super) fn new(account: Rc<Account>) -> Self {
        Self {
            // No age makes a subscription end.
            table: Table::new(Duration::MAX, account),
        }
    }

    /// The server takes no notice of a `SUB` whose sid stands for another subscription.
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

    /// The client ends it.
    pub(super) fn unsubscribed(&mut self, sid: Hash) {
        self.table.remove(sid);
    }

    /// The server will end it.
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
