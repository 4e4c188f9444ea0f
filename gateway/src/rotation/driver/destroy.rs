//! Destruction of a version, and what JetStream is asked before.

use std::time::Duration;

use crate::catalogue::{State, Version};
use crate::fault::Faulty;
use crate::policy::{Pattern, Rule};
use crate::retention::{RetentionAnswer, RetentionQuestion};
use crate::rotation::engine::{Event, KeyringState, Order, Refused, RetentionVerdict};
use crate::rotation::error::OrderError;
use crate::rotation::external::{Inspection, PendingAnswer};
use crate::rotation::reason::DestroyBasis;
use crate::rotation::report::{KeyringStatus, RetentionReasons};
use crate::rotation::terms::DestroyApproval;

use super::answer::{Answer, reply};
use super::inspection::{DestroyOrder, InspectionPurpose, InspectionResult, verdict};
use super::keyring::ManagedKeyring;
use super::refusals::AuditedOrder;
use super::shared::Shared;

impl ManagedKeyring {
    /// Destroys a version, or requests or approves that: by force at once, otherwise once JetStream holds nothing that needs it.
    pub(super) fn destroy(
        &mut self,
        shared: &mut Shared,
        number: u32,
        (wanted, answer): (DestroyOrder, Answer<Result<KeyringStatus, OrderError>>),
    ) {
        let may = self.order_for(shared, number, &wanted).and_then(|order| {
            let asked = !wanted.request.approves || self.is_forced(shared, number);
            let forced = wanted.request.forced && asked;
            if !forced {
                self.may_destroy(shared, order)?;
            }
            Ok((order, forced))
        });
        let order_of = destroy_order((self.name.as_str(), number), &wanted);
        match may {
            Ok((order, true)) => {
                let done = self.give_destroy_order(shared, order, wanted, DestroyBasis::Forced);
                reply(answer, shared.answered(order_of, done));
            }
            Ok((_order, false)) => {
                self.inspect_for(shared, number, InspectionPurpose::Destroy(wanted, answer));
            }
            Err(error) => reply(answer, shared.answered(order_of, Err(error))),
        }
    }

    /// Why a version is kept; asks JetStream where that matters.
    pub(super) fn why(
        &mut self,
        shared: &mut Shared,
        number: u32,
        answer: Answer<Result<RetentionReasons, OrderError>>,
    ) {
        match self.kept(shared, number) {
            Ok(kept) if matches!(kept.state, State::DecryptOnly | State::Archived) => {
                self.inspect_for(shared, number, InspectionPurpose::Why(answer));
            }
            other => reply(answer, other),
        }
    }

    fn inspect_for(&mut self, shared: &mut Shared, number: u32, purpose: InspectionPurpose) {
        match self.inquire(shared, number) {
            Some(Inspection::Later(stored)) => self.await_answer(shared, number, purpose, stored),
            Some(Inspection::Answered(stored)) => {
                self.inspected(shared, number, purpose, &stored);
            }
            None => tracing::debug!("whoever asked about a version that is gone gets no answer"),
        }
    }

    /// Takes an answer of JetStream.
    pub(super) fn inspected(
        &mut self,
        shared: &mut Shared,
        number: u32,
        purpose: InspectionPurpose,
        stored: &RetentionAnswer,
    ) {
        match purpose {
            InspectionPurpose::Engine => {
                self.feed(shared, Event::Inspected(number, verdict(stored)));
            }
            InspectionPurpose::Destroy(wanted, answer) => {
                let order_of = destroy_order((self.name.as_str(), number), &wanted);
                let done = self.destroy_if(shared, number, wanted, stored);
                reply(answer, shared.answered(order_of, done));
            }
            InspectionPurpose::Why(answer) => {
                let kept = self.kept(shared, number).map(|mut kept| {
                    kept.reasons.extend(match verdict(stored) {
                        RetentionVerdict::Held(evidence) => Some(evidence.with_help()),
                        RetentionVerdict::Clear(_) => None,
                    });
                    kept
                });
                reply(answer, kept);
            }
        }
    }

    /// Before a version is destroyed: what was opened here recently, and what JetStream still holds.
    pub(super) fn inspect(&self, shared: &Shared, number: u32) -> Vec<Event> {
        if let Some(recent) = self.opened_recently(shared, number) {
            return vec![Event::Inspected(
                number,
                RetentionVerdict::Held(recent.into()),
            )];
        }
        match self.inquire(shared, number) {
            None => Vec::new(),
            Some(Inspection::Answered(answer)) => {
                vec![Event::Inspected(number, verdict(&answer))]
            }
            Some(Inspection::Later(answer)) => {
                self.await_answer(shared, number, InspectionPurpose::Engine, answer);
                Vec::new()
            }
        }
    }

    /// Queues a question for the event loop.
    fn await_answer(
        &self,
        shared: &Shared,
        number: u32,
        purpose: InspectionPurpose,
        answer: PendingAnswer,
    ) {
        let keyring = self.name.clone();
        let inspection = async move {
            InspectionResult {
                keyring,
                number,
                stored: answer.await,
                purpose,
            }
        };
        shared.inspections.push(Box::pin(inspection));
    }

    /// The question to JetStream about a version.
    pub(super) fn question(&self, shared: &Shared, number: u32) -> Option<RetentionQuestion> {
        let version = self.version(shared, number)?;
        let rule = shared.rule(&self.name)?;
        let (activated, deactivated) = shared.now().sealing_span(version);
        Some(RetentionQuestion {
            keyring: self.name.clone(),
            subjects: subjects_ever_served(rule, version),
            kid: version.kid,
            activated,
            deactivated,
        })
    }

    /// Whether the version may be destroyed, JetStream not being asked.
    pub(super) fn may_destroy(&self, shared: &Shared, order: Order) -> Result<(), OrderError> {
        let number = order.number().ok_or(OrderError::Stopping)?;
        self.check_order(shared, order)?;
        let overlap = self.engine.overlap_ends(number, shared.now());
        let overlap = overlap.filter(|ends| *ends > shared.wall());
        let overlap = overlap.map(|ends| format!("its overlap lasts until {ends}"));
        match overlap.or_else(|| self.opened_recently(shared, number)) {
            Some(evidence) => Err(OrderError::Held(evidence.into())),
            None => Ok(()),
        }
    }

    /// Asks JetStream.
    fn inquire(&self, shared: &Shared, number: u32) -> Option<Inspection> {
        let question = self.question(shared, number)?;
        Some(shared.inspector.inspect(question))
    }

    /// The order for a destruction in this keyring. A second person must state that it is forced.
    fn order_for(
        &self,
        shared: &Shared,
        number: u32,
        wanted: &DestroyOrder,
    ) -> Result<Order, OrderError> {
        let engine = &self.engine;
        if wanted.request.approves {
            engine.may_approve(number, &wanted.reason.who, shared.now())?;
            if self.is_forced(shared, number) && !wanted.request.forced {
                return Err(Refused::Forced(number).into());
            }
            return Ok(Order::Approve(number));
        }
        Ok(match engine.terms().destroy {
            DestroyApproval::Automatic => Order::Destroy(number),
            DestroyApproval::Approved => Order::Propose(number, wanted.request.forced),
        })
    }

    /// Whether its destruction was requested by force.
    fn is_forced(&self, shared: &Shared, number: u32) -> bool {
        let version = self.version(shared, number);
        let proposed = version.and_then(|version| version.proposed.as_ref());
        proposed.is_some_and(|proposal| proposal.forced)
    }

    /// Gives the order; an approval names the request that it approves of.
    pub(super) fn give_destroy_order(
        &mut self,
        shared: &mut Shared,
        order: Order,
        wanted: DestroyOrder,
        basis: DestroyBasis,
    ) -> Result<KeyringStatus, OrderError> {
        let mut reason = wanted.reason.with_basis(basis);
        if let Order::Approve(number) = order {
            let version = self.version(shared, number);
            let proposed = version.and_then(|version| version.proposed.as_ref());
            let asked = proposed.map_or_else(
                || "the gateway".to_owned(),
                |proposal| format!("{} ({})", proposal.who, proposal.why),
            );
            reason.why =
                format!("{}; approves of what was asked for by {asked}", reason.why).into();
        }
        self.give_order(shared, order, reason)
    }

    /// Destroys the version, or requests that, if nothing stored needs it.
    pub(super) fn destroy_if(
        &mut self,
        shared: &mut Shared,
        number: u32,
        wanted: DestroyOrder,
        stored: &RetentionAnswer,
    ) -> Result<KeyringStatus, OrderError> {
        let order = self.order_for(shared, number, &wanted)?;
        self.may_destroy(shared, order)?;
        match verdict(stored) {
            RetentionVerdict::Clear(found) => {
                self.give_destroy_order(shared, order, wanted, DestroyBasis::Proven(found.into()))
            }
            RetentionVerdict::Held(evidence) => Err(OrderError::Held(evidence)),
        }
    }

    /// Evidence against destroying a version: that this gateway has recently opened messages sealed under it.
    pub(super) fn opened_recently(&self, shared: &Shared, number: u32) -> Option<String> {
        let kid = self.kid(shared, number)?;
        let held = shared.loaded.get(kid)?;
        let now = shared.clock.instant();
        let ago = now.saturating_duration_since(held.last_opened?);
        (ago < recent(&self.engine)).then(|| {
            let opened = held.version.usage.opened();
            format!(
                "an envelope sealed under it was opened {} s ago ({opened} since the start)",
                ago.as_secs()
            )
        })
    }
}

/// The audit entry of a destruction that may be refused.
pub(super) fn destroy_order((keyring, number): (&str, u32), wanted: &DestroyOrder) -> AuditedOrder {
    let order = if wanted.request.approves {
        Order::Approve(number)
    } else {
        Order::Destroy(number)
    };
    AuditedOrder::of(keyring, order, wanted.reason.clone())
}

/// Every pattern that the keyring serves, and those that it served while the version sealed.
fn subjects_ever_served(rule: &Rule, version: &Version) -> Vec<Pattern> {
    let mut reach = rule.subjects.clone();
    let served = version
        .served
        .iter()
        .filter_map(|pattern| pattern.parse().ok());
    for pattern in served {
        if !reach.contains(&pattern) {
            reach.push(pattern);
        }
    }
    reach
}

/// A version that has opened something within this time must not be destroyed.
fn recent(engine: &KeyringState) -> Duration {
    engine.terms().overlap.max(Duration::from_secs(60))
}
