//! Budgets: parts are reserved durably in the record before lanes may seal out of them.

use std::time::Duration;

use crate::catalogue::{RotateError, VersionUsage};
use crate::envelope::{Kid, Volume};
use crate::fault::Faulty;
use crate::keyring::Budget;
use crate::rotation::engine::Event;

use super::keyring::ManagedKeyring;
use super::reservation::{SLOW, fair, headroom, least};
use super::shared::Shared;

/// How many parts are reserved at a hand-over, until the other process serves requests: each lasts half a second at least.
const HAND_OVER: u64 = 4;

impl ManagedKeyring {
    /// The use of the active version, for the engine.
    pub(super) fn usage(&self, shared: &Shared) -> Option<Event> {
        let active = self.engine.active()?;
        let held = shared.loaded.get(active.kid)?;
        Some(Event::Usage {
            number: active.number,
            sealed: shared.sealed(active.kid, held),
            used: held.used().minus(shared.drainers.unused(active.kid)),
            failed_opens: held.version.usage.failed_opens(),
            headroom: headroom(held, self.engine.terms().limit.volume()),
        })
    }

    /// Reserves more of the active version's budget, if it is low or all granted.
    pub(super) fn reserve(&mut self, shared: &mut Shared) {
        let now = shared.clock.instant();
        if self.size.again.is_some_and(|again| now < again) {
            return;
        }
        let Some((number, left)) = self.wanted_reservation(shared) else {
            self.reserve_failure = None;
            return;
        };
        let mut resized = self.size;
        let part = resized.next(now, left, self.soft());
        resized.again = None;
        if part == Volume::default() {
            return;
        }
        let reserved = self.reserve_part(shared, number, part);
        self.reserve_failure = reserved.as_ref().err().map(Faulty::with_help);
        let Err(error) = reserved else {
            self.size = resized;
            return;
        };
        tracing::error!(error = %error.with_help(), "no more of the budget can be reserved; sealing stops when what is reserved is used up");
        self.meters.event_failed("reserve");
        self.size.again = now.checked_add(Duration::from_secs(1));
        self.read_again(shared);
    }

    /// Reads the records after a failure, and tells the engine.
    fn read_again(&mut self, shared: &mut Shared) {
        shared.refresh_catalogue();
        self.sync(shared);
        shared.engines_stale = true;
    }

    /// Reserves what the keyring, if it is in use, may need until the other process can be asked.
    pub(super) fn reserve_for_hand_over(&self, shared: &mut Shared) {
        let now = shared.clock.instant();
        let busy = |last| now.saturating_duration_since(last) < SLOW;
        let Some((number, left)) = self.left(shared) else {
            return;
        };
        if !self.size.last.is_some_and(busy) {
            return;
        }
        let many = Volume {
            messages: self.size.part.messages.saturating_mul(HAND_OVER),
            bytes: self.size.part.bytes.saturating_mul(HAND_OVER),
        };
        let part = fair(many, left, self.soft());
        if let Err(error) = self.reserve_part(shared, number, part) {
            tracing::warn!(error = %error.with_help(), "publishes may have to wait until the other process serves");
        }
    }

    /// The active version, what is left of its limit, and its budget; `None` while nothing may be sealed under it. All
    /// reservations, also for other processes, go through this.
    fn spendable<'s>(&self, shared: &'s Shared) -> Option<(u32, Volume, &'s Budget)> {
        let active = self.engine.active()?;
        if shared.loaded.is_halted(active.kid) {
            return None;
        }
        let budget = &*shared.loaded.get(active.kid)?.version.budget;
        let left = self.engine.terms().limit.volume().minus(budget.reserved());
        Some((active.number, left, budget))
    }

    /// The active version, and what is left of its limit.
    pub(super) fn left(&self, shared: &Shared) -> Option<(u32, Volume)> {
        let (number, left, _budget) = self.spendable(shared)?;
        Some((number, left))
    }

    /// The active version whose lanes want more, and what is left of its limit.
    fn wanted_reservation(&self, shared: &Shared) -> Option<(u32, Volume)> {
        let (number, left, budget) = self.spendable(shared)?;
        let empty = budget.left();
        let wanted = budget.needs_refill() || empty.messages == 0 || empty.bytes == 0;
        // Once messages or bytes are used up, more of the other is useless.
        if (left.messages == 0 && empty.messages == 0) || (left.bytes == 0 && empty.bytes == 0) {
            return None;
        }
        (wanted && left != Volume::default()).then_some((number, left))
    }

    fn reserve_part(
        &self,
        shared: &mut Shared,
        number: u32,
        part: Volume,
    ) -> Result<(), RotateError> {
        let begun = shared.clock.instant();
        if self.write_reserved(shared, number, part)?.is_some() {
            let took = shared.clock.instant().saturating_duration_since(begun);
            self.meters.reserved(took);
            self.extend(shared, number, part);
        }
        Ok(())
    }

    /// Reserves so much more of a version's budget durably; yields its kid, if it is loaded.
    pub(super) fn write_reserved(
        &self,
        shared: &mut Shared,
        number: u32,
        part: Volume,
    ) -> Result<Option<Kid>, RotateError> {
        let kid = self.kid(shared, number);
        let held = kid.and_then(|kid| shared.loaded.get(kid));
        let (Some(kid), Some(held)) = (kid, held) else {
            return Ok(None);
        };
        let usage = VersionUsage {
            number,
            reserved: held.version.budget.reserved().plus(part),
            sealed: shared.sealed(kid, held),
            lanes: held.lanes(),
        };
        shared.catalogue.record_usage(&self.name, &[usage])?;
        Ok(Some(kid))
    }

    /// Records the subjects that the active version has sealed, for the search before it is destroyed: a reload may have extended
    /// them.
    pub(super) fn write_served_subjects(&mut self, shared: &mut Shared) {
        let subjects = shared.subjects(&self.name);
        let active = self.engine.active().map(|version| version.number);
        let known = active.and_then(|number| self.version(shared, number));
        let told = known.is_none_or(|version| {
            let told = |subject| version.served.contains(subject);
            subjects.iter().all(told)
        });
        if told {
            return;
        }
        let Err(error) = shared.catalogue.record_subjects(&self.name, &subjects) else {
            return;
        };
        tracing::error!(error = %error.with_help(), keyring = %self.name, "the subjects of the keyring cannot be written down; tried again");
        // The attempt may have read the result of an earlier one.
        self.read_again(shared);
    }

    /// Applies a limit below what is reserved: the version is loaded anew, so that the earlier reservation is not used.
    pub(super) fn cap(&self, shared: &mut Shared) {
        let limit = self.engine.terms().limit.volume();
        let Some(kid) = self.engine.active().map(|version| version.kid) else {
            return;
        };
        let over = shared
            .loaded
            .get(kid)
            .is_some_and(|held| held.version.budget.reserved().minus(limit) != Volume::default());
        if over {
            shared.loaded.forget(kid);
            shared.install();
        }
    }

    /// The reservation with which a successor becomes active.
    pub(super) fn first_part(&self) -> Volume {
        let limit = self.engine.terms().limit.volume();
        let soft = self.soft();
        let size = self.size.planned_part(soft);
        let least = least(soft);
        let fair = |part: u64, least: u64, limit: u64, soft: u64| {
            part.min((soft / 4).max(least)).min((limit / 4).max(1))
        };
        Volume {
            messages: fair(size.messages, least.messages, limit.messages, soft.messages),
            bytes: fair(size.bytes, least.bytes, limit.bytes, soft.bytes),
        }
    }

    /// The soft thresholds.
    pub(super) const fn soft(&self) -> Volume {
        self.engine.terms().rotate.volume()
    }

    /// Releases a durable reservation to the lanes.
    pub(super) fn extend(&self, shared: &Shared, number: u32, part: Volume) {
        let kid = self.kid(shared, number);
        if let Some(held) = kid.and_then(|kid| shared.loaded.get(kid)) {
            held.version.budget.extend(part);
            shared.keys.replenished();
        }
    }

    /// Writes the exact use of a version, in place of what was reserved, once no lane can seal under it any more.
    pub(super) fn settle(&self, shared: &mut Shared, number: u32) -> Result<(), RotateError> {
        let kid = self.kid(shared, number);
        let held = kid.and_then(|kid| Some((kid, shared.loaded.get(kid)?)));
        let Some((kid, held)) = held.filter(|(_kid, held)| held.is_settled()) else {
            return Ok(());
        };
        let usage = VersionUsage {
            number,
            reserved: held.used(),
            sealed: shared.sealed(kid, held),
            lanes: held.lanes(),
        };
        let known = self.version(shared, number);
        if known.is_some_and(|known| {
            known.reserved == usage.reserved
                && known.sealed == usage.sealed
                && known.lanes == usage.lanes
        }) {
            return Ok(());
        }
        shared.catalogue.record_usage(&self.name, &[usage])
    }

    /// The same for the active version, once the workers have ended.
    pub(super) fn settle_active(&self, shared: &mut Shared) {
        if let Some(active) = self.engine.active()
            && let Err(error) = self.settle(shared, active.number)
        {
            tracing::warn!(error = %error.with_help(), "what was reserved and not sealed counts against the limit");
        }
    }
}
