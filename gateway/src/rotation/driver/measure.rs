//! Metrics of keys: gauges are set at each tick, counters as it happens.

use std::time::{Duration, Instant};

use crate::audit::Trigger;
use crate::catalogue::State;
use crate::envelope::Volume;
use crate::metrics::{ActiveKey, AuditLogState, KeyringKeyMetrics, RotationOutcome, RotationStep};
use crate::policy::KeyringName;
use crate::rotation::engine::{Failure, KeyringState, Step};
use crate::rotation::reason::Reason;
use crate::rotation::report::PublishStall;

use super::Driver;
use super::loaded::OpenCounts;
use super::reserve::used;

/// Versions that opened something within this time count for the age of the oldest one in use.
const LATE: Duration = Duration::from_secs(60);

/// Measures an action.
pub(super) struct StepTimer {
    at: Instant,
    /// How long the overlap of the version lasted, where the action ends it.
    overlap: Option<Duration>,
}

pub(super) fn handles(keyring: &KeyringName) -> KeyringKeyMetrics {
    KeyringKeyMetrics::new(
        keyring.as_str(),
        State::ALL.into_iter().map(State::name),
        PublishStall::ALL.into_iter().map(PublishStall::word),
        Trigger::ALL.iter().map(|trigger| trigger.word()),
    )
}

impl Driver {
    /// Sets every gauge.
    pub(super) fn measure(&self, seen: &OpenCounts) {
        self.meters.audit(match self.journal.closed_by() {
            Some(_why) => AuditLogState::Closed,
            None if self.journal.has_reserve() => AuditLogState::Ready,
            None => AuditLogState::ReserveUsed,
        });
        self.meters.rolled_back(self.rolled_back.as_deref());
        for index in 0..self.keyrings.len() {
            self.measure_keyring(index);
        }
        for (keyring, label, failed) in &seen.alarms {
            tracing::error!(
                keyring,
                version = label,
                failed,
                "so many envelopes that name this key version did not open: they are damaged, moved, or forged"
            );
        }
        for (keyring, failed) in &seen.failed {
            if let Some(managed) = self.keyrings.get(keyring.index()) {
                managed.meters.failed_opens(*failed);
            }
        }
    }

    fn measure_keyring(&self, index: usize) {
        let (Some(managed), Some((_keyring, engine))) =
            (self.keyrings.get(index), self.engine(index))
        else {
            return;
        };
        let meters = &managed.meters;
        let count = |wanted| {
            engine
                .versions()
                .iter()
                .filter(|version| version.state == wanted)
                .count()
        };
        let counts = State::ALL.map(|state| u32::try_from(count(state)).unwrap_or(u32::MAX));
        meters.versions(counts.into_iter());
        meters.active(self.active_key(engine).unwrap_or_default());
        meters.oldest(self.oldest(index));
    }

    fn active_key(&self, engine: &KeyringState) -> Option<ActiveKey> {
        let active = engine.active()?;
        let held = self.loaded.get(active.kid)?;
        let outlook = engine.outlook(self.now());
        let sealed = held.used();
        let pair = |of: Volume| [of.messages, of.bytes];
        let granted = held.version.budget.outstanding(held.version.usage.total());
        Some(ActiveKey {
            used: pair(sealed),
            left: pair(used(engine.terms().limit).minus(sealed)),
            granted: pair(granted),
            forecast: [outlook.threshold, outlook.limit],
            due: outlook.rotates.map_or(0, |due| due.as_second()),
        })
    }

    /// The oldest version that recently opened something, and how long ago it began to seal.
    fn oldest(&self, index: usize) -> Option<(u32, Duration)> {
        let since = self.clock.instant().checked_sub(LATE);
        let policy = self
            .policy
            .by_name(self.keyrings.get(index)?.keyring.as_str())?;
        let number = self.loaded.oldest_opened(policy, since)?;
        let version = self.record(index)?.version(number)?;
        let begun = version
            .monotonic_activated()
            .unwrap_or_else(|| version.monotonic_since());
        Some((number, since_then(begun, self.now().monotonic)))
    }

    pub(super) fn start_timer(&self, index: usize, step: &Step) -> StepTimer {
        let ends = matches!(step, Step::Archive(_) | Step::Destroy(_));
        let number = step.number().filter(|_number| ends);
        let version = number.and_then(|number| self.record(index)?.version(number));
        let overlap = version.filter(|version| version.state == State::DecryptOnly);
        StepTimer {
            at: self.clock.instant(),
            overlap: overlap
                .map(|version| since_then(version.monotonic_since(), self.now().monotonic)),
        }
    }

    pub(super) fn record_outcome(
        &mut self,
        index: usize,
        (step, reason): (&Step, &Reason),
        begun: &StepTimer,
        outcome: Result<(), &Failure>,
    ) {
        let now = self.clock.instant();
        let Some(managed) = self.keyrings.get_mut(index) else {
            return;
        };
        let meters = &managed.meters;
        let trigger = reason.trigger.word();
        if outcome.is_err() {
            meters.event_failed(step.word());
            if leads_to_switch(step) {
                meters.rotated(trigger, RotationOutcome::Failed);
            }
            return;
        }
        let took = now.saturating_duration_since(begun.at);
        let took_for = |part| self.meters.step(part, took);
        match step {
            Step::Generate => took_for(RotationStep::Generate),
            Step::Distribute(_) => took_for(RotationStep::Distribute),
            Step::Admit(_) => {
                let asked = managed.challenged.take().unwrap_or(begun.at);
                let proven = now.saturating_duration_since(asked);
                self.meters.step(RotationStep::Prove, proven);
            }
            Step::Activate(_) => {
                took_for(RotationStep::Activate);
                meters.rotated(trigger, RotationOutcome::Done);
            }
            Step::Discard(_) => meters.rotated(trigger, RotationOutcome::Discarded),
            Step::Archive(_) => took_for(RotationStep::Archive),
            Step::Destroy(_) => took_for(RotationStep::Destroy),
            Step::Challenge(..)
            | Step::Inspect(_)
            | Step::Propose(..)
            | Step::Compromise(_)
            | Step::Suspend(_)
            | Step::Restore(..) => {}
        }
        if let Some(overlap) = begun.overlap {
            self.meters.step(RotationStep::Overlap, overlap);
        }
    }

    /// Notes the first challenge of members.
    pub(super) fn challenged(&mut self, index: usize) {
        let now = self.clock.instant();
        if let Some(managed) = self.keyrings.get_mut(index) {
            managed.challenged.get_or_insert(now);
        }
    }
}

/// Whether it is part of a rotation.
const fn leads_to_switch(step: &Step) -> bool {
    matches!(
        step,
        Step::Generate | Step::Distribute(_) | Step::Admit(_) | Step::Activate(_)
    )
}

/// Saturating.
fn since_then(then: jiff::Timestamp, now: jiff::Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}
