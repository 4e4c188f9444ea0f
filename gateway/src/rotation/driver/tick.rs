//! The driver, and its periodic work.

use std::time::{Duration, Instant};

use crate::fault::Faulty;
use crate::metrics::Throttle;
use crate::rotation::engine::Event;
use crate::rotation::error::OrderError;

use super::keyring::ManagedKeyring;
use super::loaded::OpenCounts;
use super::misses::{Misses, REREAD_INTERVAL};
use super::shared::Shared;

/// The interval of [`Driver::tick`].
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A rotation that is held back for longer than this is logged.
const PACE_WARNING: Duration = Duration::from_secs(1);

/// Owns the catalogue, the audit log and the snapshot.
pub(in crate::rotation) struct Driver {
    pub(super) keyrings: Vec<ManagedKeyring>,
    pub(super) shared: Shared,
    pub(super) misses: Misses,
    /// When the catalogue was last read for a miss.
    pub(super) reread: Option<Instant>,
    pub(super) pace_warning: Throttle,
}

impl Driver {
    /// The periodic work, every [`TICK`].
    pub(super) fn tick(&mut self) {
        let now = self.shared.clock.instant();
        let seen = self.shared.loaded.count_opens(now);
        self.shared.pass_time();
        self.shared.journal.retry_deferred(now);
        let head = self.shared.journal.head();
        self.shared.catalogue.set_audit_head(head);
        if self.shared.must_read() {
            self.shared.refresh_catalogue();
            self.sync_engines();
        }
        let due = |last: Instant| now.saturating_duration_since(last) >= REREAD_INTERVAL;
        let failed = &self.shared.load_failure;
        if failed.as_ref().is_some_and(|(last, _why)| due(*last)) {
            self.shared.install();
        }
        for event in self.shared.fleet.events() {
            for keyring in &mut self.keyrings {
                keyring.handle_fleet_event(&mut self.shared, &event);
            }
        }
        self.handle_drainers();
        for keyring in &mut self.keyrings {
            let event = keyring.usage(&self.shared).unwrap_or(Event::Tick);
            keyring.feed(&mut self.shared, event);
            keyring.reserve(&mut self.shared);
            keyring.write_served_subjects(&mut self.shared);
        }
        self.sync_if_stale();
        self.answer_pending_rotations();
        self.drop_marks();
        for keyring in &mut self.keyrings {
            keyring.report_stall(&self.shared);
        }
        self.measure(&seen);
    }

    /// Lanes want more of a budget: reserves it. The use of the version may make a successor due, too.
    pub(super) fn refill(&mut self) {
        for keyring in &mut self.keyrings {
            keyring.reserve(&mut self.shared);
            if let Some(usage) = keyring.usage(&self.shared) {
                keyring.feed(&mut self.shared, usage);
            }
        }
        self.sync_if_stale();
    }

    fn sync_if_stale(&mut self) {
        if std::mem::take(&mut self.shared.engines_stale) {
            self.sync_engines();
        }
    }

    /// The keyring of that name.
    pub(super) fn find(
        &mut self,
        name: &str,
    ) -> Result<(&mut ManagedKeyring, &mut Shared), OrderError> {
        let names = self.keyrings.iter().map(|keyring| &keyring.name);
        let unknown = OrderError::unknown_keyring(name, names);
        let mut keyrings = self.keyrings.iter_mut();
        let found = keyrings.find(|keyring| keyring.name.as_str() == name);
        Ok((found.ok_or(unknown)?, &mut self.shared))
    }

    /// Tells the engines of records that others have changed.
    pub(super) fn sync_engines(&mut self) {
        for keyring in &mut self.keyrings {
            keyring.sync(&mut self.shared);
        }
    }

    /// Removes the marks that records reflect by now.
    pub(super) fn drop_marks(&mut self) {
        let keyrings = &self.keyrings;
        self.shared.drop_marks(
            |_kid| true,
            |name, number| {
                let found = keyrings.iter().find(|keyring| keyring.name == *name);
                found.is_none_or(|keyring| keyring.engine.leftover() == Some(number))
            },
        );
    }

    /// Answers callers whose rotation was held back.
    pub(super) fn answer_pending_rotations(&mut self) {
        for keyring in &mut self.keyrings {
            let callers = std::mem::take(&mut keyring.pending_rotations);
            keyring.answer_rotations(&mut self.shared, callers);
        }
        let now = self.shared.now();
        let waits = self.keyrings.iter();
        let longest = waits
            .filter_map(|keyring| keyring.engine.held_back(now))
            .max();
        if longest.is_some_and(|wait| wait > PACE_WARNING)
            && let Some(left_out) = self.pace_warning.admit(self.shared.clock.instant())
        {
            tracing::warn!(
                left_out,
                "key versions reach their thresholds so fast that the next has to wait; raise `rotate` and `limit`"
            );
        }
    }

    /// Sets every gauge.
    fn measure(&self, seen: &OpenCounts) {
        self.shared.measure();
        for keyring in &self.keyrings {
            keyring.measure(&self.shared);
        }
        for (keyring, label, failed) in &seen.alarms {
            tracing::error!(
                keyring,
                version = label,
                failed,
                "so many envelopes that name this key version did not open: they are damaged, moved, or forged"
            );
        }
        for (id, failed) in &seen.failed {
            if let Some(keyring) = self.keyrings.get(id.index()) {
                keyring.meters.failed_opens(*failed);
            }
        }
    }

    pub(super) fn serve_misses(&mut self) {
        if self.misses.has_unknown_kid(&self.shared.catalogue) {
            self.reread_for_miss();
        }
        let Shared {
            clock,
            loaded,
            catalogue,
            ..
        } = &mut self.shared;
        let served = self.misses.serve(loaded, catalogue, clock.instant());
        if served.newly {
            self.shared.install();
        }
        served.answer();
    }

    /// Reads the catalogue again: an operator may have copied a record into the directory.
    fn reread_for_miss(&mut self) {
        let now = self.shared.clock.instant();
        if self
            .reread
            .is_some_and(|last| now.saturating_duration_since(last) < REREAD_INTERVAL)
        {
            return;
        }
        self.reread = Some(now);
        let read = self.shared.catalogue.refresh();
        self.shared.in_doubt = read.is_err();
        // What could be read counts, even if storing its epoch failed.
        self.shared.install();
        self.sync_engines();
        self.shared.watch_for_rollback(&read);
        if let Err(error) = read {
            tracing::error!(error = %error.with_help(), "the catalogue cannot be read again; going on with what was read before");
        }
    }
}
