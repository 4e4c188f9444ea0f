//! Misses, which are kids not in the snapshot: looked up in the catalogue and loaded, at a limited rate.
//!
//! Whoever writes to the bus can name any kid, in any number. A connection asks for one version at a time. One that opens on
//! demand is loaded when its turn comes: loads are limited over the whole process, and the connection that has asked for the
//! fewest lately comes first, so that no flood makes another connection's wait end without an answer. For a kid that no record
//! has, the catalogue is read again, once a second at most.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::audit::Fact;
use crate::catalogue::{LoadError, View};
use crate::envelope::Kid;
use crate::keyring::{Miss, RateLimiter, Verdict};
use crate::metrics::{self, Counter};

use super::Driver;
use super::loaded::{LoadOutcome, Loaded, MAX_ON_DEMAND};

/// The least interval of reads of the catalogue for misses: anybody on the bus can invent kids.
pub(super) const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// How often the records on disk are compared with what was read or written last.
const COMPARE_INTERVAL: Duration = Duration::from_secs(2);

/// Loads on demand: as many at once as are kept loaded, and then 32 in a second. A version that was loaded is kept for eight
/// seconds at least while a flood lasts, and loads take a hundredth of a core at most.
const LOADS: RateLimiter = RateLimiter::new(MAX_ON_DEMAND, Duration::from_micros(31_250));

/// The connections that wait for a version.
pub(super) struct Misses {
    waiting: Vec<Miss>,
    loads: RateLimiter,
    loaded: Counter,
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

    /// Serves misses, least spent first; those that exceed the rate of loads keep waiting.
    pub(super) fn serve(&mut self, loaded: &mut Loaded, view: &View, now: Instant) -> Served {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|miss| !miss.is_over());
        waiting.sort_by_key(|miss| miss.spent);
        let mut served = Served {
            newly: false,
            answers: Vec::new(),
        };
        for miss in waiting {
            let needs_load = loaded.get(miss.kid).is_none() && view.find_by_kid(miss.kid).is_some();
            if needs_load && !self.loads.take(now) {
                self.waiting.push(miss);
                continue;
            }
            if needs_load {
                self.loaded.increment(1);
            }
            let found = loaded.load(view, miss.kid);
            served.newly |= matches!(found, Ok(LoadOutcome::Newly));
            let verdict = found.map_or_else(|error| failed(miss.kid, &error), Verdict::from);
            served.answers.push((miss, verdict));
        }
        served
    }
}

fn failed(kid: Kid, error: &dyn std::error::Error) -> Verdict {
    tracing::warn!(%kid, %error, "a key version cannot be loaded");
    Verdict::Unloadable
}

impl From<LoadOutcome> for Verdict {
    fn from(found: LoadOutcome) -> Self {
        match found {
            LoadOutcome::Nothing => Self::Absent,
            LoadOutcome::Closed(closed) => Self::Closed(closed),
            LoadOutcome::Already | LoadOutcome::Newly => Self::Loaded,
        }
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

impl Driver {
    pub(super) fn serve_misses(&mut self) {
        if self.misses.has_unknown_kid(&self.catalogue) {
            self.reread_for_miss();
        }
        let now = self.clock.instant();
        let served = self.misses.serve(&mut self.loaded, &self.catalogue, now);
        if served.newly {
            self.install();
        }
        served.answer();
    }

    /// Reads the catalogue again: an operator may have copied a record into the directory.
    fn reread_for_miss(&mut self) {
        let now = self.clock.instant();
        if self
            .reread
            .is_some_and(|last| now.saturating_duration_since(last) < REREAD_INTERVAL)
        {
            return;
        }
        self.reread = Some(now);
        let read = self.catalogue.refresh();
        self.in_doubt = read.is_err();
        // What could be read counts, even if storing its epoch failed.
        self.install();
        self.sync_engines();
        self.watch_for_rollback(&read);
        if let Err(error) = read {
            tracing::error!(%error, "the catalogue cannot be read again; going on with what was read before");
        }
    }

    /// Whether the records have to be read: the last attempt has failed, or they have changed on disk. That way a rollback is
    /// noticed without any request.
    pub(super) fn must_read(&mut self) -> bool {
        let now = self.clock.instant();
        let due = |last| now.saturating_duration_since(last) >= COMPARE_INTERVAL;
        if self.in_doubt || !self.last_compared.is_none_or(due) {
            return self.in_doubt;
        }
        self.last_compared = Some(now);
        !self.catalogue.is_unchanged()
    }

    /// Raises an alarm when a record was rolled back, once for each.
    pub(super) fn watch_for_rollback(&mut self, read: &Result<(), LoadError>) {
        let failed = read.as_ref().err();
        let found = failed.filter(|error| error.is_rollback());
        let found = found.map(ToString::to_string);
        let unread = failed.filter(|error| !error.is_rollback());
        self.unread = unread.map(ToString::to_string);
        if let Some(what) = found.clone()
            && self.rolled_back != found
        {
            self.alarm(what);
        }
        // A read that fails for another reason does not clear it.
        if read.is_ok() || found.is_some() {
            self.rolled_back = found;
        }
    }

    fn alarm(&mut self, what: String) {
        let wall = self.wall();
        let fact = Fact::RollbackAlarm {
            what: what.as_str().into(),
        };
        if let Err(error) = self.journal.note_or_defer(fact, wall) {
            tracing::error!(%error, "the alarm is missing in the audit log");
        }
        tracing::error!(
            what,
            "a record on disk is not the one in force; nothing more is written to it"
        );
    }

    /// Looks a kid up as a new connection does.
    #[cfg(test)]
    pub(super) fn look_for(&mut self, kid: Kid) -> Verdict {
        let (miss, mut verdict) = Miss::new(kid, Duration::ZERO);
        let (_nobody, mut none) = mpsc::channel(1);
        self.misses.put(miss, &mut none);
        self.serve_misses();
        verdict.try_recv().unwrap_or(Verdict::Absent)
    }
}
