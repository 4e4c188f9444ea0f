//! Budgets: parts are reserved durably in the record before lanes may seal out of them.

use std::time::Duration;

use crate::catalogue::{RecordChange, RotateError, VersionUsage};
use crate::envelope::{Kid, Volume};
use crate::fault::Faulty;
use crate::keyring::Budget;
use crate::rotation::engine::Event;

use super::keyring::{Actor, ManagedKeyring};
use super::reservation::{ReservationSize, SLOW, fair, headroom, least};
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

    /// What is to be reserved now, if the budget is low or all granted.
    fn next_reservation(&mut self, shared: &Shared) -> Option<(u32, Volume, ReservationSize)> {
        let now = shared.clock.instant();
        if self.reserving || self.size.again.is_some_and(|again| now < again) {
            return None;
        }
        let Some((number, left)) = self.wanted_reservation(shared) else {
            self.reserve_failure = None;
            return None;
        };
        let mut resized = self.size;
        let part = resized.next(now, left, self.soft());
        resized.again = None;
        if part == Volume::default() {
            return None;
        }
        self.reserving = true;
        Some((number, part, resized))
    }

    /// Takes note of how a reservation ended.
    fn reserved(
        &mut self,
        shared: &Shared,
        ended: &Result<(), RotateError>,
        resized: ReservationSize,
    ) {
        self.reserving = false;
        self.reserve_failure = ended.as_ref().err().map(Faulty::with_help);
        let Err(error) = ended else {
            self.size = resized;
            return;
        };
        tracing::error!(error = %error.with_help(), "no more of the budget can be reserved; sealing stops when what is reserved is used up");
        self.meters.event_failed("reserve");
        self.size.again = shared.clock.instant().checked_add(Duration::from_secs(1));
    }

    /// What the keyring, if it is in use, may need until the process that takes over can be asked.
    fn hand_over_reservation(&self, shared: &Shared) -> Option<(u32, Volume)> {
        let now = shared.clock.instant();
        let busy = |last| now.saturating_duration_since(last) < SLOW;
        let (number, left) = self.left(shared)?;
        if !self.size.last.is_some_and(busy) {
            return None;
        }
        let many = Volume {
            messages: self.size.part.messages.saturating_mul(HAND_OVER),
            bytes: self.size.part.bytes.saturating_mul(HAND_OVER),
        };
        Some((number, fair(many, left, self.soft())))
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

    /// The record with so much more of a version's budget reserved; `None` if it is not loaded, or seals no more.
    fn reservation(
        &self,
        shared: &Shared,
        number: u32,
        part: Volume,
    ) -> Result<Option<RecordChange>, RotateError> {
        let Some((active, left, budget)) = self.spendable(shared) else {
            return Ok(None);
        };
        let fits = part.messages <= left.messages && part.bytes <= left.bytes;
        let held = self
            .kid(shared, number)
            .filter(|_kid| active == number && fits);
        let Some((kid, held)) = held.and_then(|kid| Some((kid, shared.loaded.get(kid)?))) else {
            return Ok(None);
        };
        let usage = VersionUsage {
            number,
            reserved: budget.reserved().plus(part),
            sealed: shared.sealed(kid, held),
            lanes: held.lanes(),
        };
        shared.view.used(&self.name, &[usage]).map(Some)
    }

    /// Whether the record lacks subjects that the active version seals.
    fn lacks_subjects(&self, shared: &Shared) -> bool {
        let active = self
            .active()
            .and_then(|number| self.version(shared, number));
        active.is_some_and(|version| {
            let lacks = |subject| !version.served.contains(subject);
            shared.subjects(&self.name).iter().any(lacks)
        })
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

    /// The record with the exact use of a version, in place of what was reserved, once no lane can seal under it any more.
    fn exact_use(&self, shared: &Shared, number: u32) -> Result<Option<RecordChange>, RotateError> {
        let kid = self.kid(shared, number);
        let held = kid.and_then(|kid| Some((kid, shared.loaded.get(kid)?)));
        let Some((kid, held)) = held.filter(|(_kid, held)| held.is_settled()) else {
            return Ok(None);
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
            return Ok(None);
        }
        shared.view.used(&self.name, &[usage]).map(Some)
    }
}

impl Actor {
    /// Reserves more of the active version's budget, if it is low or all granted.
    pub(super) fn reserve(&self) {
        let next = self.with(|keyring, shared| keyring.next_reservation(shared));
        let Some((number, part, resized)) = next else {
            return;
        };
        let actor = self.clone();
        self.context.spawn(async move {
            let ended = actor.reserve_part(number, part).await;
            actor.with(|keyring, shared| keyring.reserved(shared, &ended, resized));
            if ended.is_err() {
                actor.read_again().await;
            }
        });
    }

    /// Reads the records after a failure, and tells the engine.
    pub(super) async fn read_again(&self) {
        self.context.refresh().await;
        self.sync();
        self.with(|_keyring, shared| shared.engines_stale = true);
    }

    /// Reserves what the keyring, if it is in use, may need until the other process can be asked.
    pub(super) async fn reserve_for_hand_over(&self) {
        let Some((number, part)) =
            self.with(|keyring, shared| keyring.hand_over_reservation(shared))
        else {
            return;
        };
        if let Err(error) = self.reserve_part(number, part).await {
            tracing::warn!(error = %error.with_help(), "publishes may have to wait until the other process serves");
        }
    }

    async fn reserve_part(&self, number: u32, part: Volume) -> Result<(), RotateError> {
        let begun = self.with(|_keyring, shared| shared.clock.instant());
        self.write_reserved(number, part, |keyring, shared, _kid| {
            let took = shared.clock.instant().saturating_duration_since(begun);
            keyring.meters.reserved(took);
            keyring.extend(shared, number, part);
        })
        .await
        .map(drop)
    }

    /// Reserves so much more of a version's budget durably, and then has it used; yields whether that happened.
    pub(super) async fn write_reserved(
        &self,
        number: u32,
        part: Volume,
        spend: impl FnOnce(&mut ManagedKeyring, &mut Shared, Kid),
    ) -> Result<bool, RotateError> {
        let _turn = self.write_turn().await;
        let change = self.with(|keyring, shared| keyring.reservation(shared, number, part))?;
        let Some(change) = change else {
            return Ok(false);
        };
        self.set(change).await?;
        Ok(self.with(|keyring, shared| {
            // It may have been revoked meanwhile.
            let kid = keyring.kid(shared, number);
            let kid = kid.filter(|kid| !shared.loaded.is_halted(*kid));
            kid.map(|kid| spend(keyring, shared, kid)).is_some()
        }))
    }

    /// Records the subjects that the active version has sealed, for the search before it is destroyed: a reload may have extended
    /// them.
    pub(super) fn write_served_subjects(&self) {
        let begins = self.with(|keyring, shared| {
            let lacks = keyring.lacks_subjects(shared);
            lacks && !std::mem::replace(&mut keyring.writing_subjects, true)
        });
        if begins {
            self.context.spawn(self.clone().add_subjects());
        }
    }

    async fn add_subjects(self) {
        let written = self.write_subjects().await;
        self.with(|keyring, _shared| keyring.writing_subjects = false);
        if let Err(error) = written {
            tracing::error!(error = %error.with_help(), keyring = %self.name(), "the subjects of the keyring cannot be written down; tried again");
            // The attempt may have read the result of an earlier one.
            self.read_again().await;
        }
    }

    async fn write_subjects(&self) -> Result<(), RotateError> {
        let _turn = self.write_turn().await;
        let change = self.with(|keyring, shared| {
            let subjects = shared.subjects(&keyring.name);
            shared.view.serving(&keyring.name, &subjects)
        })?;
        match change {
            Some(change) => self.set(change).await,
            None => Ok(()),
        }
    }

    /// Writes the exact use of a version, once no lane can seal under it any more. The caller has the turn.
    pub(super) async fn settle(&self, number: u32) -> Result<(), RotateError> {
        match self.with(|keyring, shared| keyring.exact_use(shared, number))? {
            Some(change) => self.set(change).await,
            None => Ok(()),
        }
    }

    /// The same for the active version, once the workers have ended.
    pub(super) async fn settle_active(&self) {
        let _turn = self.write_turn().await;
        if let Some(active) = self.with(|keyring, _shared| keyring.active())
            && let Err(error) = self.settle(active).await
        {
            tracing::warn!(error = %error.with_help(), "what was reserved and not sealed counts against the limit");
        }
    }
}
