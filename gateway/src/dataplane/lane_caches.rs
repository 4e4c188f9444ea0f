//! The lane caches of a worker's connections, so that lanes of a version that is gone are dropped from idle connections, too.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::keyring::{LaneCache, Snapshot, WorkerId};

/// A connection's cache, owned by the connection.
pub(super) type Cache = Rc<RefCell<LaneCache>>;

/// The caches of all connections.
#[derive(Default)]
pub(super) struct Caches(RefCell<Vec<Weak<RefCell<LaneCache>>>>);

impl Caches {
    /// A new connection's cache.
    pub(super) fn open(&self, worker: WorkerId) -> Cache {
        let cache = Rc::new(RefCell::new(LaneCache::new(worker)));
        let mut caches = self.0.borrow_mut();
        // Prunes those of ended connections before the vector grows.
        if caches.len() == caches.capacity() {
            caches.retain(|cache| cache.strong_count() > 0);
        }
        caches.push(Rc::downgrade(&cache));
        cache
    }

    /// Drops lanes of versions that are no longer in the snapshot from all caches.
    pub(super) fn refresh(&self, snapshot: &Snapshot) {
        for cache in self.0.borrow().iter().filter_map(Weak::upgrade) {
            cache.borrow_mut().refresh(snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::envelope::{Binding, OVERHEAD, Suite, VersionKey};
    use crate::keyring::{self, Budget, LaneMap, Lanes, Usage, Version};
    use crate::metrics::LaneSource;
    use crate::policy::{Policy, Rule};
    use crate::secret::Secret;

    #[test]
    fn idle_connection_forgets_the_lanes_of_a_version_that_is_gone() {
        let policy = Arc::new(Policy::new(vec![Rule::everything()], &[]).unwrap());
        let keyring = policy.by_name("default").unwrap();
        let version = Arc::new(Version {
            keyring,
            number: 1,
            label: String::new(),
            suite: Suite::Aes256Gcm,
            key: VersionKey::derive("default", 1, &Secret::random().unwrap()),
            lanes: LaneMap::default(),
            usage: Usage::new(1),
            budget: Arc::new(Budget::unlimited(1)),
        });
        let snapshot =
            |active, generation| Snapshot::new(Arc::clone(&policy), active, Vec::new(), generation);
        let with = snapshot(vec![Arc::clone(&version)], 1);
        let (worker, caches) = (WorkerId(0), Caches::default());
        let mut envelope = [0; 5 + OVERHEAD];
        let mut lanes = Lanes::new(worker, Clock::system().instant());
        let message = (&b"hello"[..], &mut envelope[..]);
        lanes
            .seal(&with, keyring, Binding::default(), message)
            .unwrap();
        let cache = caches.open(worker);
        let opened = || {
            let mut out = [0; 5];
            let message = (&envelope[..], &mut out[..]);
            let opened = keyring::open(
                &with,
                &mut cache.borrow_mut(),
                None,
                Binding::default(),
                message,
            );
            opened.unwrap().source
        };
        opened();
        assert_eq!(opened(), LaneSource::Connection);
        caches.refresh(&snapshot(Vec::new(), 2));
        assert_eq!(opened(), LaneSource::Shared);
        drop(cache);
        let _next = caches.open(worker);
        assert!(caches.0.borrow().len() <= 2);
    }
}
