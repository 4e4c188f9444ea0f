//! Metrics of keys: gauges are set at each tick, counters as it happens.

use std::time::{Duration, Instant};

use crate::audit::Trigger;
use crate::catalogue::State;
use crate::envelope::Used;
use crate::metrics::{ActiveKey, AuditLog, KeyringKeys, RotationOutcome, RotationStep};
use crate::policy::KeyringName;
use crate::rotation::because::Because;
use crate::rotation::engine::{Deed, Failure, Ring};
use crate::rotation::report::Stopped;

use super::Driver;
use super::loaded::Seen;
use super::reserve::used;

/// Versions that opened something within this time count for the age of the oldest one in use.
const LATE: Duration = Duration::from_secs(60);

/// Measures an action.
pub(super) struct Begun {
    at: Instant,
    /// How long the overlap of the version lasted, where the action ends it.
    overlap: Option<Duration>,
}

pub(super) fn handles(keyring: &KeyringName) -> KeyringKeys {
    KeyringKeys::new(
        keyring.as_str(),
        State::ALL.into_iter().map(State::name),
        Stopped::ALL.into_iter().map(Stopped::word),
        Trigger::ALL.iter().map(|trigger| trigger.word()),
    )
}

impl Driver {
    /// Sets every gauge.
    pub(super) fn measure(&self, seen: &Seen) {
        self.meters.audit(match self.journal.closed_by() {
            Some(_why) => AuditLog::Closed,
            None if self.journal.has_reserve() => AuditLog::Whole,
            None => AuditLog::Spent,
        });
        self.meters.rolled_back(self.rolled_back.as_deref());
        for index in 0..self.rings.len() {
            self.measure_ring(index);
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
            if let Some(driven) = self.rings.get(keyring.index()) {
                driven.meters.failed_opens(*failed);
            }
        }
    }

    fn measure_ring(&self, index: usize) {
        let (Some(driven), Some((_keyring, ring))) = (self.rings.get(index), self.ring(index))
        else {
            return;
        };
        let meters = &driven.meters;
        let count = |state| {
            ring.lives()
                .iter()
                .filter(|life| life.state == state)
                .count()
        };
        let counts = State::ALL.map(|state| u32::try_from(count(state)).unwrap_or(u32::MAX));
        meters.versions(counts.into_iter());
        meters.active(self.active_key(ring).unwrap_or_default());
        meters.oldest(self.oldest(index));
    }

    fn active_key(&self, ring: &Ring) -> Option<ActiveKey> {
        let active = ring.active()?;
        let held = self.loaded.get(active.kid)?;
        let outlook = ring.outlook(self.now());
        let sealed = held.used();
        let pair = |of: Used| [of.messages, of.bytes];
        let granted = held.version.budget.outstanding(held.version.usage.total());
        Some(ActiveKey {
            used: pair(sealed),
            left: pair(used(ring.terms().limit).minus(sealed)),
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
            .by_name(self.rings.get(index)?.keyring.as_str())?;
        let number = self.loaded.oldest_opened(policy, since)?;
        let version = self.record(index)?.version(number)?;
        let begun = version.began().unwrap_or_else(|| version.entered());
        Some((number, since_then(begun, self.now().monotonic)))
    }

    pub(super) fn begin(&self, index: usize, deed: &Deed) -> Begun {
        let ends = matches!(deed, Deed::Archive(_) | Deed::Destroy(_));
        let number = deed.number().filter(|_number| ends);
        let version = number.and_then(|number| self.record(index)?.version(number));
        let overlap = version.filter(|version| version.state == State::DecryptOnly);
        Begun {
            at: self.clock.instant(),
            overlap: overlap.map(|version| since_then(version.entered(), self.now().monotonic)),
        }
    }

    pub(super) fn ends(
        &mut self,
        index: usize,
        (deed, because): (&Deed, &Because),
        begun: &Begun,
        outcome: Result<(), &Failure>,
    ) {
        let now = self.clock.instant();
        let Some(driven) = self.rings.get_mut(index) else {
            return;
        };
        let meters = &driven.meters;
        let trigger = because.trigger.word();
        if outcome.is_err() {
            meters.event_failed(deed.word());
            if leads_to_switch(deed) {
                meters.rotated(trigger, RotationOutcome::Failed);
            }
            return;
        }
        let took = now.saturating_duration_since(begun.at);
        let step = |step| self.meters.step(step, took);
        match deed {
            Deed::Generate => step(RotationStep::Generate),
            Deed::Distribute(_) => step(RotationStep::Distribute),
            Deed::Admit(_) => {
                let asked = driven.challenged.take().unwrap_or(begun.at);
                let proven = now.saturating_duration_since(asked);
                self.meters.step(RotationStep::Prove, proven);
            }
            Deed::Activate(_) => {
                step(RotationStep::Activate);
                meters.rotated(trigger, RotationOutcome::Done);
            }
            Deed::Discard(_) => meters.rotated(trigger, RotationOutcome::Discarded),
            Deed::Archive(_) => step(RotationStep::Archive),
            Deed::Destroy(_) => step(RotationStep::Destroy),
            Deed::Challenge(..)
            | Deed::Inspect(_)
            | Deed::Propose(..)
            | Deed::Compromise(_)
            | Deed::Suspend(_)
            | Deed::Restore(..) => {}
        }
        if let Some(overlap) = begun.overlap {
            self.meters.step(RotationStep::Overlap, overlap);
        }
    }

    /// Notes the first challenge of members.
    pub(super) fn challenged(&mut self, index: usize) {
        let now = self.clock.instant();
        if let Some(driven) = self.rings.get_mut(index) {
            driven.challenged.get_or_insert(now);
        }
    }
}

/// Whether it is part of a rotation.
const fn leads_to_switch(deed: &Deed) -> bool {
    matches!(
        deed,
        Deed::Generate | Deed::Distribute(_) | Deed::Admit(_) | Deed::Activate(_)
    )
}

/// Saturating.
fn since_then(then: jiff::Timestamp, now: jiff::Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}
