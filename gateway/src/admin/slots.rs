//! A bounded number of connections, where a new one evicts the oldest.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on connections. A new one never waits: it evicts the oldest.
pub(crate) struct ConnectionSlots {
    limit: usize,
    /// Oldest first.
    taken: Mutex<VecDeque<Sender<Infallible>>>,
}

/// One of [`ConnectionSlots`]; released on drop.
pub(crate) struct ConnectionSlot(Receiver<Infallible>);

impl ConnectionSlots {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Mutex::new(VecDeque::new()),
        }
    }

    /// Never waits; evicts the oldest holder where all are in use.
    pub(crate) fn acquire(&self) -> ConnectionSlot {
        let (holder, slot) = oneshot::channel();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|holder| !holder.is_closed());
        taken.push_back(holder);
        while taken.len() > self.limit {
            drop(taken.pop_front());
        }
        ConnectionSlot(slot)
    }
}

impl ConnectionSlot {
    /// Waits until a newer connection has evicted this one.
    pub(crate) async fn evicted(self) {
        match self.0.await {
            Ok(never) => match never {},
            Err(_dropped) => {}
        }
    }
}

/// Exempts a connection from eviction once its request is authenticated.
#[derive(Clone)]
pub(super) struct EvictionGuard {
    limit: Arc<Semaphore>,
    protection: Arc<OnceLock<OwnedSemaphorePermit>>,
}

impl EvictionGuard {
    /// The semaphore bounds how many connections are exempt at a time.
    pub(super) fn of(limit: &Arc<Semaphore>) -> Self {
        Self {
            limit: Arc::clone(limit),
            protection: Arc::default(),
        }
    }

    /// Exempts the connection from now on; `false` where too many are exempt.
    pub(super) fn protect(&self) -> bool {
        let permit = Arc::clone(&self.limit).try_acquire_owned();
        permit.is_ok_and(|permit| self.protection.set(permit).is_ok())
    }

    /// Waits until the connection is evicted; for ever where it is exempt.
    pub(super) async fn evicted(&self, slot: ConnectionSlot) {
        slot.evicted().await;
        if self.protection.get().is_some() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn oldest_place_is_lost_when_all_are_taken_and_none_while_one_is_free() {
        let slots = ConnectionSlots::new(2);
        let (first, second) = (slots.acquire(), slots.acquire());
        drop(second);
        let third = slots.acquire();
        let mut first = Box::pin(first.evicted());
        assert!(first.as_mut().now_or_never().is_none());
        let _fourth = slots.acquire();
        first.await;
        assert!(third.evicted().now_or_never().is_none());
    }

    #[tokio::test]
    async fn kept_place_is_not_lost_and_only_so_many_are_kept() {
        let (slots, limit) = (ConnectionSlots::new(1), Arc::new(Semaphore::new(1)));
        let (trusted, other) = (EvictionGuard::of(&limit), EvictionGuard::of(&limit));
        let slot = slots.acquire();
        assert!(trusted.protect() && !other.protect());
        let passing = slots.acquire();
        assert!(trusted.evicted(slot).now_or_never().is_none());
        let _newcomer = slots.acquire();
        other.evicted(passing).await;
        drop(trusted);
        assert!(other.protect());
    }
}
