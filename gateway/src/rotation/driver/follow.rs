//! What goes on once another process is the writer: this one's connections drain under the keys that they have.
//!
//! Nothing is reserved and nothing is written down any more. What seals goes on sealing out of what was reserved for it, until the
//! catalogue says that it must not; what the other process makes is read, so that it opens here too.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::audit::Fact;
use crate::catalogue::{State, View};
use crate::clock::Clock;
use crate::envelope::Kid;
use crate::keyring::{Keys, Miss};
use crate::metrics::Throttle;

use super::Driver;
use super::loaded::Loaded;
use super::misses::{Misses, REREAD};
use super::run::{Request, TICK};

/// Keeps the snapshot in step with a catalogue that another process writes.
pub(super) struct Follower {
    view: View,
    loaded: Loaded,
    misses: Misses,
    /// When a miss last had the catalogue read.
    reread: Option<Instant>,
    keys: Arc<Keys>,
    clock: Clock,
    doubts: Throttle,
}

impl Driver {
    /// Lets go of the catalogue and of the audit log. What is reserved stays reserved, for the lanes that live on it.
    pub(super) fn hand_over(mut self) -> Follower {
        self.provide_for_the_drain();
        self.keep_time();
        self.say(Fact::GatewayHandedOver);
        let view = self.catalogue.release();
        let mut loaded = self.loaded;
        loaded.keep_active(&view);
        Follower {
            view,
            loaded,
            misses: self.misses,
            reread: None,
            keys: self.keys,
            clock: self.clock,
            doubts: self.doubts,
        }
    }
}

impl Follower {
    /// Follows until it is asked to stop; whatever else is asked for is not done.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => {
                    if matches!(request, None | Some(Request::Stop)) {
                        return misses;
                    }
                }
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, &mut misses);
                    self.serve_misses();
                }
                _now = ticks.tick() => {
                    self.look();
                    self.serve_misses();
                }
            }
        }
    }

    /// Reads what the other process has written.
    fn look(&mut self) {
        let before = states(&self.view);
        if let Err(error) = self.view.refresh() {
            if let Some(left_out) = self.doubts.admit(self.clock.instant()) {
                tracing::warn!(%error, left_out, "the catalogue of the gateway that took over cannot be read; going on with what was read before");
            }
        } else if states(&self.view) != before {
            self.install();
        }
    }

    /// A version that may not open yet, as far as was read, may do so by now; that is looked at once a second.
    fn serve_misses(&mut self) {
        let now = self.clock.instant();
        let due = |last: Instant| now.saturating_duration_since(last) >= REREAD;
        if self.reread.is_none_or(due) && self.misses.asks_for_a_stranger(&self.view) {
            self.reread = Some(now);
            self.look();
        }
        let served = self.misses.serve(&mut self.loaded, &self.view, now);
        if served.newly {
            self.install();
        }
        served.answer();
    }

    fn install(&mut self) {
        if let Err(error) = self.loaded.load_all(&self.view) {
            tracing::error!(%error, "a key version that should open cannot be loaded");
        }
        let snapshot = self.loaded.snapshot(&self.view);
        self.keys.install(snapshot);
    }
}

fn states(view: &View) -> Vec<(Kid, State)> {
    let versions = view.versions();
    versions
        .map(|(_keyring, version)| (version.kid, version.state))
        .collect()
}
