//! What all keyrings share, as work that is under way holds it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::catalogue::KeyError;
use crate::envelope::Kid;
use crate::fault::{Failure, Faulty};
use crate::policy::KeyringName;
use crate::rotation::message_path::SETTLE_POLL;

use super::loaded::KeyLoad;
use super::misses::Reading;
use super::shared::Shared;
use super::tasks::Spawner;

/// How long a draining process has to confirm that it has stopped sealing under a version. One that does not is killed: if it woke
/// up later it would seal under a version that does not seal by its record.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The shared state. It is borrowed in [`Context::with`] alone, and so never across a wait.
#[derive(Clone)]
pub(super) struct Context {
    shared: Rc<RefCell<Shared>>,
    spawner: Spawner,
}

impl Context {
    pub(super) fn new(shared: Shared, spawner: Spawner) -> Self {
        Self {
            shared: Rc::new(RefCell::new(shared)),
            spawner,
        }
    }

    /// Works on the shared state, at once.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Shared) -> T) -> T {
        let mut shared = self.shared.borrow_mut();
        let value = work(&mut shared);
        let loads = shared.loaded.take_begun();
        let keeps_time = std::mem::take(&mut shared.time_owed);
        drop(shared);
        if keeps_time {
            let context = self.clone();
            self.spawn(async move { context.keep_time().await });
        }
        for load in loads {
            self.spawn(self.clone().load(load));
        }
        value
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawner.spawn(task);
    }

    /// The shared state by itself, once nothing is under way.
    pub(super) fn into_shared(self) -> Option<Shared> {
        Rc::into_inner(self.shared).map(RefCell::into_inner)
    }

    async fn load(self, load: KeyLoad) {
        let (kid, key) = load.await;
        self.with(|shared| shared.loaded_key(kid, key));
    }

    /// Loads every version that always opens.
    pub(super) async fn load_all(&self) -> Result<(), KeyError> {
        for load in self.with(|shared| shared.loaded.missing(&shared.view)) {
            let (kid, key) = load.await;
            self.with(|shared| shared.loaded.take_key(&shared.view, kid, key))?;
        }
        Ok(())
    }

    /// Reads the records after a failure: a write may have taken effect all the same, and then counts for the message path, too.
    /// Repeated at every tick until it succeeds.
    pub(super) async fn refresh(&self) {
        let read = self.with(|shared| shared.records.read(None)).await;
        drop(self.with(|shared| shared.take_read(read)));
        // Outcomes in doubt are resolved for each keyring by itself: an unreadable record must not block the others.
        for keyring in self.with(|shared| shared.keyring_names()) {
            if let Err(error) = self.resolve_outcome(&keyring).await {
                tracing::debug!(error = %error.with_help(), "what came of a key event is not known yet");
            }
        }
    }

    /// Resolves an unknown outcome before anything more is done to a keyring.
    pub(super) async fn resolve_outcome(&self, keyring: &KeyringName) -> Result<(), Failure> {
        if !self.with(|shared| shared.journal.has_unknown_outcome(keyring)) {
            return Ok(());
        }
        let which = Some(keyring.clone());
        let read = self.with(|shared| shared.records.read(which)).await;
        self.with(|shared| {
            let read = shared.view.adopt(read);
            // The record may have been read although something after that failed.
            shared.install();
            read.map_err(|error| Failure::of(&error))?;
            let wall = shared.wall();
            let Shared { journal, view, .. } = shared;
            journal.settle_from_record(view, keyring, wall);
            Ok(())
        })
    }

    /// Reads the records, of which engines are then to be told. One such read is under way at a time.
    pub(super) async fn read_all(self) {
        self.refresh().await;
        self.with(|shared| {
            shared.reading = Reading::Done;
            shared.engines_stale = true;
        });
    }

    /// Compares the records with those on disk, and reads them where they differ.
    pub(super) async fn compare(self) {
        let unchanged = self.with(|shared| shared.records.is_unchanged()).await;
        if unchanged {
            self.with(|shared| shared.reading = Reading::Done);
        } else {
            self.read_all().await;
        }
    }

    /// Stops draining processes from sealing under a version, before its record says so.
    pub(super) async fn stop_drainers(&self, kid: Kid) {
        let now = || self.with(|shared| shared.clock.instant());
        self.with(|shared| shared.drainers.stop(kid));
        let mut since = now();
        loop {
            self.with(Shared::hear_drainers);
            if self.with(|shared| !shared.drainers.awaits_confirmation(kid)) {
                return;
            }
            if now().saturating_duration_since(since) >= STOP_TIMEOUT {
                self.with(|shared| shared.drainers.kill(kid));
                since = now();
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }
}
