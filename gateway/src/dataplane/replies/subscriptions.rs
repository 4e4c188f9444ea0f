//! The client's subscriptions.
//!
//! The server delivers to a subscription what is published where its filter matches, under that subject, and what a consumer
//! sends there, under the subject that the message is stored under. Anybody who may create consumers or pull can have messages
//! sent to a subject to which another client has subscribed. A filter with wildcards gets them, too, once anybody has subscribed
//! to the subject itself (measured with nats-server 2.15.1). At least the newest 14,336 are remembered; one that ends by itself
//! (`UNSUB` with a maximum) is forgotten before others.

use std::time::{Duration, Instant};

use crate::policy::KeyringId;

use super::table::{Entry, Hash, Table};

/// A subscription of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The hash of the filter's tokens before its first wildcard.
    pub(super) start: Hash,
    /// How many those are.
    pub(super) tokens: usize,
    pub(super) kind: FilterKind,
    /// A keyring, if everything that is published where the filter matches is sealed.
    pub(super) keyring: Option<KeyringId>,
    /// Whether it lasts until the client unsubscribes; if not, the server will end it by itself (`UNSUB` with a maximum).
    pub(super) lasts: bool,
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
pub(super) type Subscriptions = Table<Subscription>;

impl Entry for Subscription {
    /// Subscriptions do not expire.
    const LIFE: Duration = Duration::MAX;

    fn is_pending(&self) -> bool {
        self.lasts
    }
}

impl Subscriptions {
    /// Ignores a `SUB` whose sid is in use, as the server does.
    pub(super) fn subscribed(&mut self, sid: Hash, subscription: Subscription, now: Instant) {
        if !self.live(sid, now).is_some_and(|before| before.lasts) {
            self.insert(sid, subscription, now);
        }
    }
}
