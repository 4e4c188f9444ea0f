//! A bounded number of connections, where a new one evicts the oldest.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on connections. A new one never waits: it evicts the oldest.
pub(crate) struct Places {
    most: usize,
    /// Oldest first.
    taken: Mutex<VecDeque<Sender<Infallible>>>,
}

/// One of [`Places`]; released on drop.
pub(crate) struct Place(Receiver<Infallible>);

impl Places {
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::new(VecDeque::new()),
        }
    }

    /// Never waits; evicts the oldest holder where all are in use.
    pub(crate) fn take(&self) -> Place {
        let (holder, place) = oneshot::channel();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|holder| !holder.is_closed());
        taken.push_back(holder);
        while taken.len() > self.most {
            drop(taken.pop_front());
        }
        Place(place)
    }
}

impl Place {
    /// Waits until a newer connection has evicted this one.
    pub(crate) async fn lost(self) {
        match self.0.await {
            Ok(never) => match never {},
            Err(_dropped) => {}
        }
    }
}

/// Exempts a connection from eviction once its request is authenticated.
#[derive(Clone)]
pub(super) struct Tenure {
    most: Arc<Semaphore>,
    kept: Arc<OnceLock<OwnedSemaphorePermit>>,
}

impl Tenure {
    /// The semaphore bounds how many connections are exempt at a time.
    pub(super) fn of(most: &Arc<Semaphore>) -> Self {
        Self {
            most: Arc::clone(most),
            kept: Arc::default(),
        }
    }

    /// Exempts the connection from now on; `false` where too many are exempt.
    pub(super) fn keep(&self) -> bool {
        let permit = Arc::clone(&self.most).try_acquire_owned();
        permit.is_ok_and(|permit| self.kept.set(permit).is_ok())
    }

    /// Waits until the connection is evicted; for ever where it is exempt.
    pub(super) async fn lost(&self, place: Place) {
        place.lost().await;
        if self.kept.get().is_some() {
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
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        drop(second);
        let third = places.take();
        let mut first = Box::pin(first.lost());
        assert!(first.as_mut().now_or_never().is_none());
        let _fourth = places.take();
        first.await;
        assert!(third.lost().now_or_never().is_none());
    }

    #[tokio::test]
    async fn kept_place_is_not_lost_and_only_so_many_are_kept() {
        let (places, most) = (Places::new(1), Arc::new(Semaphore::new(1)));
        let (trusted, other) = (Tenure::of(&most), Tenure::of(&most));
        let place = places.take();
        assert!(trusted.keep() && !other.keep());
        let passing = places.take();
        assert!(trusted.lost(place).now_or_never().is_none());
        let _newcomer = places.take();
        other.lost(passing).await;
        drop(trusted);
        assert!(other.keep());
    }
}
