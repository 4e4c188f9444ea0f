//! Budgets: parts are reserved durably in the record before lanes may seal out of them.

use std::time::{Duration, Instant};

use crate::catalogue::{RotateError, VersionUsage};
use crate::envelope::{Kid, Volume};
use crate::keyring::Budget;
use crate::rotation::engine::{Event, LimitHeadroom};
use crate::rotation::terms::Limit;

use super::Driver;
use super::loaded::LoadedVersion;

/// The first reservation, where thresholds are large.
const FIRST: Volume = Volume {
    messages: 1 << 16,
    bytes: 64 << 20,
};
/// A first reservation, which a kill would lose, is at most this fraction (1/16) of the soft threshold.
const SHARE: u64 = 16;
/// The least reservation, to bound the rate of disk writes.
pub(super) const LEAST: Volume = Volume {
    messages: 1 << 12,
    bytes: 4 << 20,
};
/// The largest reservation.
const MOST: Volume = Volume {
    messages: 1 << 24,
    bytes: 16 << 30,
};

/// A reservation that was used up faster than this was too small: the next is doubled.
const FAST: Duration = Duration::from_millis(500);
/// One that lasted longer than this was too large: the next is halved.
const SLOW: Duration = Duration::from_secs(10);

/// How many parts are reserved at a hand-over, until the other process serves requests: each lasts half a second at least.
const HAND_OVER: u64 = 4;

/// The size of the next reservation, which is to last some seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReservationSize {
    part: Volume,
    last: Option<Instant>,
    /// After a failure, when to try again.
    again: Option<Instant>,
}

impl Default for ReservationSize {
    fn default() -> Self {
        Self {
            part: FIRST,
            last: None,
            again: None,
        }
    }
}

impl ReservationSize {
    /// The next part: at most a quarter of what is left of the limit, so that workers can share the rest, and about a quarter of
    /// the soft threshold, because usage is compared with it at each reservation.
    pub(super) fn next(&mut self, now: Instant, left: Volume, soft: Volume) -> Volume {
        if let Some(last) = self.last {
            let lasted = now.saturating_duration_since(last);
            if lasted < FAST {
                self.part = self.part.plus(self.part);
            } else if lasted > SLOW {
                self.part = halved(self.part);
            }
        }
        self.part = self.planned_part(soft);
        self.last = Some(now);
        let least = least(soft);
        self.part = Volume {
            messages: self.part.messages.clamp(least.messages, MOST.messages),
            bytes: self.part.bytes.clamp(least.bytes, MOST.bytes),
        };
        fair(self.part, left, soft)
    }

    /// The next part before bounds: small until something has been used up, because a kill loses it.
    fn planned_part(&self, soft: Volume) -> Volume {
        if self.last.is_some() {
            return self.part;
        }
        Volume {
            messages: self.part.messages.min((soft.messages / SHARE).max(1)),
            bytes: self.part.bytes.min((soft.bytes / SHARE).max(1)),
        }
    }
}

/// Bounds `part` so that something is left for others.
pub(super) fn fair(part: Volume, left: Volume, soft: Volume) -> Volume {
    let fair = |part: u64, least: u64, left: u64, soft: u64| {
        part.min((left / 4).min(soft / 4).max(least)).min(left)
    };
    let least = least(soft);
    Volume {
        messages: fair(part.messages, least.messages, left.messages, soft.messages),
        bytes: fair(part.bytes, least.bytes, left.bytes, soft.bytes),
    }
}

/// The least that is reserved of a version with these thresholds.
fn least(soft: Volume) -> Volume {
    Volume {
        messages: LEAST.messages.min((soft.messages / SHARE).max(1)),
        bytes: LEAST.bytes.min((soft.bytes / SHARE).max(1)),
    }
}

impl Driver {
    /// The use of the active version, for the engine.
    pub(super) fn usage(&self, index: usize) -> Option<Event> {
        let (_keyring, engine) = self.engine(index)?;
        let active = engine.active()?;
        let held = self.loaded.get(active.kid)?;
        Some(Event::Usage {
            number: active.number,
            sealed: self.sealed(active.kid, held),
            used: held.used().minus(self.drainers.unused(active.kid)),
            failed_opens: held.version.usage.failed_opens(),
            headroom: headroom(held, used(engine.terms().limit)),
        })
    }

    /// Reserves more of the active version's budget, if it is low or all granted.
    pub(super) fn reserve(&mut self, index: usize) {
        let now = self.clock.instant();
        let Some(size) = self.keyrings.get(index).map(|managed| managed.size) else {
            return;
        };
        if size.again.is_some_and(|again| now < again) {
            return;
        }
        let Some((number, left)) = self.wanted_reservation(index) else {
            self.note_reserve_failure(index, None);
            return;
        };
        let mut resized = size;
        let part = resized.next(now, left, self.soft(index));
        resized.again = None;
        if part == Volume::default() {
            return;
        }
        let reserved = self.reserve_part(index, number, part);
        self.note_reserve_failure(index, reserved.as_ref().err());
        if let Err(error) = reserved {
            tracing::error!(%error, "no more of the budget can be reserved; sealing stops when what is reserved is used up");
            if let Some(managed) = self.keyrings.get(index) {
                managed.meters.event_failed("reserve");
            }
            resized = size;
            resized.again = now.checked_add(Duration::from_secs(1));
            self.refresh_catalogue();
            self.sync_engines();
        }
        if let Some(managed) = self.keyrings.get_mut(index) {
            managed.size = resized;
        }
    }

    /// Reserves what keyrings in use may need until the other process can be asked.
    pub(super) fn reserve_for_hand_over(&mut self) {
        let now = self.clock.instant();
        for index in 0..self.keyrings.len() {
            let Some(size) = self.keyrings.get(index).map(|managed| managed.size) else {
                continue;
            };
            let busy = |last| now.saturating_duration_since(last) < SLOW;
            let Some((number, left)) = self.left(index) else {
                continue;
            };
            if !size.last.is_some_and(busy) {
                continue;
            }
            let many = Volume {
                messages: size.part.messages.saturating_mul(HAND_OVER),
                bytes: size.part.bytes.saturating_mul(HAND_OVER),
            };
            let part = fair(many, left, self.soft(index));
            if let Err(error) = self.reserve_part(index, number, part) {
                tracing::warn!(%error, "publishes may have to wait until the other process serves");
            }
        }
    }

    /// The active version, what is left of its limit, and its budget; `None` while nothing may be sealed under it. All
    /// reservations, also for other processes, go through this.
    fn spendable(&self, index: usize) -> Option<(u32, Volume, &Budget)> {
        let (_keyring, engine) = self.engine(index)?;
        let active = engine.active()?;
        if self.loaded.is_halted(active.kid) {
            return None;
        }
        let budget = &*self.loaded.get(active.kid)?.version.budget;
        let left = used(engine.terms().limit).minus(budget.reserved());
        Some((active.number, left, budget))
    }

    /// The active version, and what is left of its limit.
    pub(super) fn left(&self, index: usize) -> Option<(u32, Volume)> {
        let (number, left, _budget) = self.spendable(index)?;
        Some((number, left))
    }

    fn note_reserve_failure(&mut self, index: usize, why: Option<&RotateError>) {
        if let Some(managed) = self.keyrings.get_mut(index) {
            managed.reserve_failure = why.map(ToString::to_string);
        }
    }

    /// The active version whose lanes want more, and what is left of its limit.
    fn wanted_reservation(&self, index: usize) -> Option<(u32, Volume)> {
        let (number, left, budget) = self.spendable(index)?;
        let empty = budget.left();
        let wanted = budget.needs_refill() || empty.messages == 0 || empty.bytes == 0;
        // Once messages or bytes are used up, more of the other is useless.
        if (left.messages == 0 && empty.messages == 0) || (left.bytes == 0 && empty.bytes == 0) {
            return None;
        }
        (wanted && left != Volume::default()).then_some((number, left))
    }

    fn reserve_part(&mut self, index: usize, number: u32, part: Volume) -> Result<(), RotateError> {
        let begun = self.clock.instant();
        if self.write_reserved(index, number, part)?.is_some() {
            let took = self.clock.instant().saturating_duration_since(begun);
            if let Some(managed) = self.keyrings.get(index) {
                managed.meters.reserved(took);
            }
            self.extend(index, number, part);
        }
        Ok(())
    }

    /// Reserves so much more of a version's budget durably; yields its kid, if it is loaded.
    pub(super) fn write_reserved(
        &mut self,
        index: usize,
        number: u32,
        part: Volume,
    ) -> Result<Option<Kid>, RotateError> {
        let kid = self.kid(index, number);
        let held = kid.and_then(|kid| self.loaded.get(kid));
        let keyring = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone());
        let (Some(kid), Some(held), Some(keyring)) = (kid, held, keyring) else {
            return Ok(None);
        };
        let usage = VersionUsage {
            number,
            reserved: held.version.budget.reserved().plus(part),
            sealed: self.sealed(kid, held),
            lanes: held.lanes(),
        };
        self.catalogue.record_usage(&keyring, &[usage])?;
        Ok(Some(kid))
    }

    /// Records the subjects that a version has sealed, for the search before it is destroyed: a reload may have extended them.
    pub(super) fn write_served_subjects(&mut self, index: usize) {
        let Some((keyring, engine)) = self.engine(index) else {
            return;
        };
        let (keyring, subjects) = (keyring.clone(), self.subjects(keyring));
        let active = engine.active().map(|version| version.number);
        let record = self.record(index);
        let known = active.and_then(|number| record?.version(number));
        let told = known.is_none_or(|version| {
            let told = |subject| version.served.contains(subject);
            subjects.iter().all(told)
        });
        if told {
            return;
        }
        if let Err(error) = self.catalogue.record_subjects(&keyring, &subjects) {
            tracing::error!(%error, %keyring, "the subjects of the keyring cannot be written down; tried again");
            // The attempt may have read the result of an earlier one.
            self.refresh_catalogue();
            self.sync_engines();
        }
    }

    /// Applies a limit below what is reserved: the version is loaded anew, so that the earlier reservation is not used.
    pub(super) fn cap(&mut self, index: usize) {
        let Some((_keyring, engine)) = self.engine(index) else {
            return;
        };
        let limit = used(engine.terms().limit);
        let Some(kid) = engine.active().map(|version| version.kid) else {
            return;
        };
        let over = self
            .loaded
            .get(kid)
            .is_some_and(|held| held.version.budget.reserved().minus(limit) != Volume::default());
        if over {
            self.loaded.forget(kid);
            self.install();
        }
    }

    /// The reservation with which a successor becomes active.
    pub(super) fn first_part(&self, index: usize) -> Volume {
        let limit = self
            .engine(index)
            .map(|(_keyring, engine)| used(engine.terms().limit));
        let limit = limit.unwrap_or_default();
        let soft = self.soft(index);
        let size = self
            .keyrings
            .get(index)
            .map_or(FIRST, |managed| managed.size.planned_part(soft));
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
    pub(super) fn soft(&self, index: usize) -> Volume {
        let terms = self.engine(index).map(|(_keyring, engine)| engine.terms());
        terms.map_or_else(Volume::default, |terms| Volume {
            messages: terms.rotate.messages,
            bytes: terms.rotate.bytes,
        })
    }

    /// Releases a durable reservation to the lanes.
    pub(super) fn extend(&self, index: usize, number: u32, part: Volume) {
        let kid = self.kid(index, number);
        if let Some(held) = kid.and_then(|kid| self.loaded.get(kid)) {
            held.version.budget.extend(part);
            self.keys.replenished();
        }
    }

    /// Writes the exact use of a version, in place of what was reserved, once no lane can seal under it any more.
    pub(super) fn settle(&mut self, index: usize, number: u32) -> Result<(), RotateError> {
        let kid = self.kid(index, number);
        let held = kid.and_then(|kid| Some((kid, self.loaded.get(kid)?)));
        let Some((kid, held)) = held.filter(|(_kid, held)| held.is_settled()) else {
            return Ok(());
        };
        let usage = VersionUsage {
            number,
            reserved: held.used(),
            sealed: self.sealed(kid, held),
            lanes: held.lanes(),
        };
        let known = self.record(index).and_then(|record| record.version(number));
        if known.is_some_and(|known| {
            known.reserved == usage.reserved
                && known.sealed == usage.sealed
                && known.lanes == usage.lanes
        }) {
            return Ok(());
        }
        let keyring = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone());
        keyring.map_or(Ok(()), |keyring| {
            self.catalogue.record_usage(&keyring, &[usage])
        })
    }

    /// The same for all active versions, once the workers have ended.
    pub(super) fn settle_all(&mut self) {
        self.keep_time();
        for index in 0..self.keyrings.len() {
            let Some(number) = self
                .engine(index)
                .and_then(|(_name, engine)| engine.active())
                .map(|version| version.number)
            else {
                continue;
            };
            if let Err(error) = self.settle(index, number) {
                tracing::warn!(%error, "what was reserved and not sealed counts against the limit");
            }
        }
    }
}

/// Spent once all messages or bytes of the limit are reserved and little is left while lanes ask for more, or nothing at all is
/// left. Grants may lie in idle lanes, so that the soft threshold is never reached.
fn headroom(held: &LoadedVersion, limit: Volume) -> LimitHeadroom {
    let budget = &held.version.budget;
    let (reserved, left) = (budget.reserved(), budget.left());
    let granted = budget.outstanding(held.version.usage.total());
    let low = budget.needs_refill();
    let spent = |reserved, limit, left, granted, least| {
        let gone = if low {
            left < least
        } else {
            left == 0 && granted == 0
        };
        reserved >= limit && gone
    };
    let messages = spent(
        reserved.messages,
        limit.messages,
        left.messages,
        granted.messages,
        LEAST.messages,
    );
    let bytes = spent(
        reserved.bytes,
        limit.bytes,
        left.bytes,
        granted.bytes,
        LEAST.bytes,
    );
    if messages || bytes {
        LimitHeadroom::Spent
    } else {
        LimitHeadroom::Enough
    }
}

pub(super) const fn used(limit: Limit) -> Volume {
    Volume {
        messages: limit.messages,
        bytes: limit.bytes,
    }
}

const fn halved(used: Volume) -> Volume {
    Volume {
        messages: used.messages / 2,
        bytes: used.bytes / 2,
    }
}
