//! A keyring as the driver manages it: its engine, and what is under way for it.

use std::collections::VecDeque;
use std::time::Instant;

use strum::{VariantArray as _, VariantNames as _};

use crate::audit::Trigger;
use crate::catalogue::{Record, State, Version};
use crate::envelope::Kid;
use crate::metrics::KeyringKeyMetrics;
use crate::policy::KeyringName;
use crate::rotation::engine::{Event, KeyringState, decide};
use crate::rotation::error::OrderError;
use crate::rotation::external::FleetEvent;
use crate::rotation::reason::Reason;
use crate::rotation::report::{PublishStall, Rotated};
use crate::rotation::terms::Terms;

use super::answer::Answer;
use super::reservation::ReservationSize;
use super::shared::Shared;

/// A keyring and its engine.
pub(super) struct ManagedKeyring {
    pub(super) name: KeyringName,
    pub(super) engine: KeyringState,
    pub(super) size: ReservationSize,
    /// Why no more of the budget could be reserved, when that was tried last.
    pub(super) reserve_failure: Option<String>,
    /// Why publishes waited at the last tick.
    pub(super) stopped: Option<PublishStall>,
    pub(super) meters: KeyringKeyMetrics,
    /// When members were first asked to prove that they hold the successor.
    pub(super) challenged: Option<Instant>,
    /// Callers whose rotation is held back because the last one is too recent.
    pub(super) pending_rotations: Vec<PendingRotation>,
    /// The reason of the order under way, until the audit log has an event of it.
    pub(super) unaudited: Option<Reason>,
}

/// A caller of a rotation.
pub(super) struct PendingRotation {
    /// The version that was active before.
    pub(super) before: Option<u32>,
    pub(super) answer: Answer<Result<Rotated, OrderError>>,
}

impl ManagedKeyring {
    pub(super) fn new(name: KeyringName, terms: Terms, shared: &Shared) -> Self {
        let members = shared.fleet.members().into_iter().collect();
        Self {
            engine: KeyringState::new(terms, shared.versions(&name), members),
            size: ReservationSize::default(),
            reserve_failure: None,
            stopped: None,
            meters: KeyringKeyMetrics::new(
                name.as_str(),
                State::VARIANTS.iter().map(<&str>::from),
                PublishStall::VARIANTS.iter().map(<&str>::from),
                Trigger::VARIANTS.iter().copied(),
            ),
            challenged: None,
            pending_rotations: Vec::new(),
            unaudited: None,
            name,
        }
    }

    /// Gives the engine an event and carries out its actions until there are none.
    pub(super) fn feed(&mut self, shared: &mut Shared, event: Event) {
        shared.check_wall_clock();
        let mut events: VecDeque<_> = self.resolved(shared).into_iter().chain([event]).collect();
        while let Some(event) = events.pop_front() {
            for action in decide(&mut self.engine, shared.now(), event) {
                events.extend(self.perform(shared, action));
            }
        }
    }

    /// What an outcome that was unknown has turned out to be, where it can be read now: nothing is decided by what was known before.
    fn resolved(&self, shared: &mut Shared) -> Option<Event> {
        if !shared.journal.has_unknown_outcome(&self.name) {
            return None;
        }
        shared.resolve_outcome(&self.name).ok()?;
        self.changed_record(shared)
    }

    /// Tells the engine of a record that others have changed.
    pub(super) fn sync(&mut self, shared: &mut Shared) {
        if let Some(event) = self.changed_record(shared) {
            self.feed(shared, event);
        }
    }

    /// The record, if the engine does not know it as it is.
    fn changed_record(&self, shared: &Shared) -> Option<Event> {
        let versions = shared.versions(&self.name);
        (self.engine.versions() != versions).then_some(Event::Record(versions))
    }

    pub(super) fn handle_fleet_event(&mut self, shared: &mut Shared, event: &FleetEvent) {
        let event = match event {
            FleetEvent::Joined(member) => Event::Joined(member.clone()),
            FleetEvent::Left(member) => Event::Left(member.clone()),
            FleetEvent::Proven(member, kid) => {
                let mut versions = self
                    .record(shared)
                    .into_iter()
                    .flat_map(|record| &record.versions);
                let Some(proven) = versions.find(|version| version.kid == *kid) else {
                    return;
                };
                Event::Proven(member.clone(), proven.number)
            }
        };
        self.feed(shared, event);
    }

    pub(super) fn record<'s>(&self, shared: &'s Shared) -> Option<&'s Record> {
        shared.catalogue.record(&self.name)
    }

    pub(super) fn version<'s>(&self, shared: &'s Shared, number: u32) -> Option<&'s Version> {
        self.record(shared)?.version(number)
    }

    pub(super) fn kid(&self, shared: &Shared, number: u32) -> Option<Kid> {
        Some(self.version(shared, number)?.kid)
    }

    pub(super) fn active(&self) -> Option<u32> {
        self.engine.active().map(|version| version.number)
    }
}
