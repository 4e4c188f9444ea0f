//! Metrics of keys: gauges are set at each tick, counters as it happens.

use std::time::{Duration, Instant};

use strum::VariantArray as _;

use crate::catalogue::State;
use crate::envelope::Volume;
use crate::fault::Failure;
use crate::metrics::{ActiveKey, AuditLogState, RotationOutcome, RotationStep};
use crate::rotation::engine::Step;
use crate::rotation::reason::Reason;

use super::keyring::ManagedKeyring;
use super::shared::Shared;

/// Versions that opened something within this time count for the age of the oldest one in use.
const LATE: Duration = Duration::from_secs(60);

/// Measures an action.
pub(super) struct StepTimer {
    at: Instant,
    /// How long the overlap of the version lasted, where the action ends it.
    overlap: Option<Duration>,
}

impl Shared {
    /// Sets the gauges of the audit log and the catalogue.
    pub(super) fn measure(&self) {
        self.meters.audit(match self.journal.closed_by() {
            Some(_why) => AuditLogState::Closed,
            None if self.journal.has_reserve() => AuditLogState::Ready,
            None => AuditLogState::ReserveUsed,
        });
        self.meters.rolled_back(self.rolled_back.as_deref());
    }
}

impl ManagedKeyring {
    /// Sets the gauges of the keyring.
    pub(super) fn measure(&self, shared: &Shared) {
        let (engine, meters) = (&self.engine, &self.meters);
        let count = |wanted| {
            engine
                .versions()
                .iter()
                .filter(|version| version.state == wanted)
                .count()
        };
        let counts = State::VARIANTS.iter().map(|state| count(*state));
        meters.versions(counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX)));
        meters.active(self.active_key(shared).unwrap_or_default());
        meters.oldest(self.oldest(shared));
    }

    fn active_key(&self, shared: &Shared) -> Option<ActiveKey> {
        let engine = &self.engine;
        let active = engine.active()?;
        let held = shared.loaded.get(active.kid)?;
        let outlook = engine.outlook(shared.now());
        let sealed = held.used();
        let pair = |of: Volume| [of.messages, of.bytes];
        let granted = held.version.budget.outstanding(held.version.usage.total());
        Some(ActiveKey {
            used: pair(sealed),
            left: pair(engine.terms().limit.volume().minus(sealed)),
            granted: pair(granted),
            forecast: [outlook.threshold, outlook.limit],
            due: outlook.rotates.map_or(0, |due| due.as_second()),
        })
    }

    /// The oldest version that recently opened something, and how long ago it began to seal.
    fn oldest(&self, shared: &Shared) -> Option<(u32, Duration)> {
        let since = shared.clock.instant().checked_sub(LATE);
        let policy = shared.policy.by_name(self.name.as_str())?;
        let number = shared.loaded.oldest_opened(policy, since)?;
        let version = self.version(shared, number)?;
        let begun = version
            .monotonic_activated()
            .unwrap_or_else(|| version.monotonic_since());
        Some((number, since_then(begun, shared.now().monotonic)))
    }

    pub(super) fn start_timer(&self, shared: &Shared, step: &Step) -> StepTimer {
        let ends = matches!(step, Step::Archive(_) | Step::Destroy(_));
        let number = step.number().filter(|_number| ends);
        let version = number.and_then(|number| self.record(shared)?.version(number));
        let overlap = version.filter(|version| version.state == State::DecryptOnly);
        StepTimer {
            at: shared.clock.instant(),
            overlap: overlap
                .map(|version| since_then(version.monotonic_since(), shared.now().monotonic)),
        }
    }

    pub(super) fn record_outcome(
        &mut self,
        shared: &Shared,
        (step, reason): (&Step, &Reason),
        begun: &StepTimer,
        outcome: Result<(), &Failure>,
    ) {
        let now = shared.clock.instant();
        let meters = &self.meters;
        let trigger = reason.trigger.into();
        if outcome.is_err() {
            meters.event_failed(step.into());
            if leads_to_switch(step) {
                meters.rotated(trigger, RotationOutcome::Failed);
            }
            return;
        }
        let took = now.saturating_duration_since(begun.at);
        let took_for = |part| shared.meters.step(part, took);
        match step {
            Step::Generate => took_for(RotationStep::Generate),
            Step::Distribute(_) => took_for(RotationStep::Distribute),
            Step::Admit(_) => {
                let asked = self.challenged.take().unwrap_or(begun.at);
                let proven = now.saturating_duration_since(asked);
                shared.meters.step(RotationStep::Prove, proven);
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
            shared.meters.step(RotationStep::Overlap, overlap);
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
