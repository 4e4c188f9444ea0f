//! What the deliver direction of a session keeps from batch to batch.

use std::cell::RefCell;
use std::time::Instant;

use crate::envelope::Kid;
use crate::keyring::Snapshot;
use crate::metrics::{BatchStage, Cause, Direction, Stopwatch};
use crate::wire::{Limits, Message, ServerParser};

use crate::dataplane::context::Worker;
use crate::dataplane::fast_path::FastPath;
use crate::dataplane::lane_caches::Cache;
use crate::dataplane::route_cache::RouteCache;
use crate::dataplane::session_state::SessionState;

use super::misses::Misses;

/// The deliver path of one session, from bytes to bytes: no sockets, no waiting.
pub struct DeliverPath<'s> {
    pub(super) worker: &'s Worker,
    pub(super) state: &'s RefCell<SessionState>,
    pub(super) parser: ServerParser,
    pub(super) routes: RouteCache,
    pub(super) fast_path: FastPath,
    pub(super) lanes: Cache,
    pub(super) misses: Misses,
    pub(super) watch: Stopwatch,
    pub(super) now: Instant,
}

/// A message in hand, and the snapshot of its batch.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'m> {
    pub(super) snapshot: &'m Snapshot,
    pub(super) message: &'m Message<'m>,
}

impl<'s> DeliverPath<'s> {
    /// The path of a new session.
    #[must_use]
    pub fn new(worker: &'s Worker, state: &'s RefCell<SessionState>) -> Self {
        Self {
            worker,
            state,
            parser: ServerParser::new(Limits {
                max_message: worker.shared.config.max_message,
                ..Limits::default()
            }),
            routes: RouteCache::default(),
            fast_path: FastPath::default(),
            lanes: worker.caches.open(worker.id),
            misses: Misses::default(),
            watch: Stopwatch::default(),
            now: worker.shared.clock.instant(),
        }
    }

    /// To be called when the output of the last batch has been written.
    pub fn written(&mut self) {
        self.watch.lap(BatchStage::Write, &self.worker.shared.clock);
        self.watch
            .stop(self.worker.meters.batch_seconds(Direction::Deliver));
    }

    /// The wait for this version ended without it: for a while no message waits for it again. `cause` is what was found out about
    /// it.
    pub fn give_up(&mut self, kid: Kid, cause: Option<Cause>) {
        let now = self.worker.shared.clock.instant();
        self.misses.give_up((kid, cause), now);
    }
}
