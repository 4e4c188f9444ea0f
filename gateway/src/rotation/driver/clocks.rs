//! Time: notices changes of the wall clock, stores the catalogue's own time, and makes passed dates of the configuration final.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::audit::Fact;
use crate::catalogue::{ClockChange, RotateError, View};
use crate::disk;
use crate::fault::Faulty;
use crate::later::Later;
use crate::policy::{KeyringName, Plaintext, Policy};
use crate::rotation::engine::VersionView;

use super::context::Context;
use super::shared::Shared;

/// How often the catalogue's own time is stored: a reboot of the host loses no more than this.
const KEEP: Duration = Duration::from_secs(60);

/// Keyrings that accept plaintext until a date that has passed, by the wall clock now or as recorded earlier.
pub(super) fn passed(
    policy: &Policy,
    view: &View,
    wall: Timestamp,
) -> Vec<(KeyringName, Timestamp)> {
    let rules = policy.keyrings().iter();
    let over = rules.filter_map(|rule| {
        let Plaintext::Accept { until } = rule.plaintext else {
            return None;
        };
        let date = Timestamp::try_from(until).ok()?;
        let over = date <= wall || view.passed_date(&rule.name) >= Some(date);
        over.then(|| (rule.name.clone(), date))
    });
    over.collect()
}

impl Shared {
    /// Resumes the catalogue's own time.
    fn start_clock(&mut self) {
        match self.view.start_clock(&self.clock) {
            ClockChange::Agrees => {}
            ClockChange::Set(step) => self.was_set(step),
            ClockChange::UncountedDowntime(down) => {
                let down = humantime::format_duration(Duration::from_secs(down.as_secs()));
                tracing::info!(%down, "the host was started anew; the time until then does not count for overlaps and holds");
            }
        }
    }

    /// Reports a change of the wall clock to log and audit log, before anything is written with the new time.
    pub(super) fn check_wall_clock(&mut self) {
        if let Some(step) = self.clock_steps.look(&self.clock) {
            self.was_set(step);
            self.time_owed = true;
        }
    }

    /// At each tick: dates pass, and time is stored when that is due.
    pub(super) fn pass_time(&mut self) {
        self.check_wall_clock();
        if self.reject_plaintext_by_date() {
            self.loaded.replace_policy(Arc::clone(&self.policy));
            self.install();
        }
        let now = self.clock.instant();
        let due = |kept: Instant| now.saturating_duration_since(kept) >= KEEP;
        self.time_owed |= self.time_kept.is_none_or(due);
    }

    /// Stores the catalogue's own time as it is now.
    fn save_clock(&mut self) -> Later<'static, Result<(), disk::Error>> {
        self.time_kept = Some(self.clock.instant());
        self.view.set_audit_head(self.journal.head());
        let state = self.view.clock_to_save(&self.clock);
        self.records.save_clock(state)
    }

    /// Rejects plaintext from a keyring's date on, whatever a clock shows afterwards. Yields whether a date has newly passed.
    pub(super) fn reject_plaintext_by_date(&mut self) -> bool {
        let over = passed(&self.policy, &self.view, self.wall());
        for (keyring, date) in &over {
            tracing::warn!(%keyring, until = %date, "the date has passed: plaintext is rejected from now on, also if the clock is set back");
            self.view.record_passed_date(keyring, *date, &self.clock);
        }
        if over.is_empty() {
            return false;
        }
        let names: Vec<_> = over.into_iter().map(|(keyring, _date)| keyring).collect();
        self.policy = Arc::new(self.policy.rejecting_plaintext(&names));
        self.time_owed = true;
        true
    }

    fn was_set(&mut self, step: SignedDuration) {
        let size = humantime::format_duration(Duration::from_secs(step.unsigned_abs().as_secs()));
        let way = if step.is_negative() { "back" } else { "ahead" };
        tracing::warn!(%size, way, "the wall clock was set; durations go on by time that has passed");
        self.meters.clock_set(way);
        let wall = self.wall();
        let seconds = step.as_secs();
        if let Err(error) = self.journal.note_or_defer(Fact::ClockSet { seconds }, wall) {
            tracing::error!(error = %error.with_help(), "the audit log does not say that the clock was set");
        }
    }

    /// Warns of an active version whose activation time lies in the future; it is replaced at once.
    fn warn_if_active_in_future(&self, keyring: &KeyringName) {
        let now = self.now();
        let active = self.view.record(keyring).and_then(|record| record.active());
        if let Some(version) = active
            && let Some(ahead) = VersionView::from(version).ahead(now)
        {
            let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
            tracing::warn!(%keyring, version = version.label.as_str(), %ahead, "the active key version began in the future: the clock was ahead then, or is behind now; it is replaced");
        }
    }
}

impl Context {
    /// Resumes the catalogue's own time, and caps times of records that lie in the future.
    pub(super) async fn start_clock(&self) {
        self.with(Shared::start_clock);
        for keyring in self.with(|shared| shared.keyring_names()) {
            self.with(|shared| shared.warn_if_active_in_future(&keyring));
            if let Err(error) = self.cap_times(&keyring).await {
                tracing::warn!(%keyring, error = %error.with_help(), "key versions whose times lie in the future cannot be put right; tried again at the next start");
            }
        }
        self.keep_time().await;
    }

    async fn cap_times(&self, keyring: &KeyringName) -> Result<(), RotateError> {
        let capped = self.with(|shared| shared.view.capped_times(keyring, &shared.clock))?;
        let Some(change) = capped else {
            return Ok(());
        };
        let set = self.with(|shared| shared.records.set(change)).await;
        Ok(self.with(|shared| shared.view.adopt(set))?)
    }

    /// Stores the catalogue's own time. If that fails, durations end later after a reboot, never earlier.
    pub(super) async fn keep_time(&self) {
        let saved = self.with(Shared::save_clock).await;
        if let Err(error) = saved {
            tracing::warn!(error = %error.with_help(), "how far time has come cannot be written down; tried again in a minute");
        }
    }
}
