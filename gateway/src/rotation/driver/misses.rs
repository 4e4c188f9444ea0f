//! Misses, which are kids not in the snapshot: looked up in the catalogue and loaded, at a limited rate.
//!
//! Whoever writes to the bus can name any kid, in any number. A connection asks for one version at a time. One that opens on
//! demand is loaded when its turn comes: loads are limited over the whole process, and the connection that has asked for the
//! fewest lately comes first, so that no flood makes another connection's wait end without an answer. For a kid that no record
//! has, the catalogue is read again, once a second at most.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::catalogue::View;
use crate::envelope::Kid;
use crate::fault::Faulty;
use crate::keyring::{Miss, RateLimiter, Verdict};
use crate::metrics::{self, Counter};

use super::loaded::{LoadOutcome, Loaded, MAX_ON_DEMAND};

/// The least interval of reads of the catalogue for misses: anybody on the bus can invent kids.
pub(super) const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// Loads on demand: as many at once as are kept loaded, and then 32 in a second. A version that was loaded is kept for eight
/// seconds at least while a flood lasts, and loads take a hundredth of a core at most.
const LOADS: RateLimiter = RateLimiter::new(MAX_ON_DEMAND, Duration::from_micros(31_250));

/// The connections that wait for a version.
pub(super) struct Misses {
    waiting: Vec<Miss>,
    /// Versions that are being loaded for them.
    loading: HashSet<Kid>,
    loads: RateLimiter,
    loaded: Counter,
}

/// Whether the records are being read, so that a kid which none has may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    UnderWay,
    Done,
}

/// The answers to misses that could be served.
pub(super) struct Served {
    /// Whether a version was loaded that is not in the snapshot yet.
    pub(super) newly: bool,
    answers: Vec<(Miss, Verdict)>,
}

impl Default for Misses {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            loading: HashSet::new(),
            loads: LOADS,
            loaded: metrics::loads_on_demand(),
        }
    }
}

impl Misses {
    /// Queues misses.
    pub(super) fn put(&mut self, first: Miss, more: &mut mpsc::Receiver<Miss>) {
        self.waiting.push(first);
        while let Ok(miss) = more.try_recv() {
            self.waiting.push(miss);
        }
    }

    /// Whether one waits for a kid that no record has.
    pub(super) fn has_unknown_kid(&self, view: &View) -> bool {
        let strange = |miss: &Miss| view.find_by_kid(miss.kid).is_none();
        self.waiting.iter().any(strange)
    }

    /// Serves misses, least spent first. Those that exceed the rate of loads keep waiting, those whose version is being loaded, and,
    /// while the records are being read, those for a kid that none has.
    pub(super) fn serve(
        &mut self,
        (loaded, view): (&mut Loaded, &View),
        records: Reading,
        now: Instant,
    ) -> Served {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|miss| !miss.is_over());
        waiting.sort_by_key(|miss| miss.spent);
        let mut served = Served {
            newly: false,
            answers: Vec::new(),
        };
        for miss in waiting {
            if records == Reading::UnderWay && view.find_by_kid(miss.kid).is_none() {
                self.waiting.push(miss);
                continue;
            }
            let was_loading = self.loading.contains(&miss.kid);
            if was_loading && loaded.begins_load(miss.kid) {
                served.answers.push((miss, Verdict::Unloadable));
                continue;
            }
            let needs_load = loaded.begins_load(miss.kid) && view.find_by_kid(miss.kid).is_some();
            if needs_load && !self.loads.take(now) {
                self.waiting.push(miss);
                continue;
            }
            if needs_load {
                self.loaded.increment(1);
            }
            let verdict = match loaded.load(view, miss.kid) {
                Ok(LoadOutcome::Loading) => {
                    self.loading.insert(miss.kid);
                    self.waiting.push(miss);
                    continue;
                }
                Ok(LoadOutcome::Nothing) => Verdict::Absent,
                Ok(LoadOutcome::Closed(closed)) => Verdict::Closed(closed),
                Ok(LoadOutcome::Already) => Verdict::Loaded,
                Ok(LoadOutcome::Newly) => {
                    served.newly = true;
                    Verdict::Loaded
                }
                Err(error) => {
                    tracing::warn!(kid = %miss.kid, error = %error.with_help(), "a key version cannot be loaded");
                    Verdict::Unloadable
                }
            };
            served.answers.push((miss, verdict));
        }
        self.loading.retain(|kid| loaded.is_loading(*kid));
        served
    }
}

impl Served {
    /// Sends the answers, once the snapshot has what was loaded.
    pub(super) fn answer(self) {
        for (miss, verdict) in self.answers {
            miss.answer(verdict);
        }
    }
}
