//! Destruction of a version, and what JetStream is asked before.

use std::time::Duration;

use crate::catalogue::{State, Version};
use crate::fault::Faulty;
use crate::later::Later;
use crate::policy::{Pattern, Rule};
use crate::retention::{RetentionAnswer, RetentionQuestion};
use crate::rotation::engine::{Event, KeyringState, Order, Refused, RetentionVerdict};
use crate::rotation::error::OrderError;
use crate::rotation::reason::DestroyBasis;
use crate::rotation::report::{KeyringStatus, RetentionReasons};
use crate::rotation::terms::DestroyApproval;

use super::inspection::{DestroyOrder, verdict};
use super::keyring::{Actor, ManagedKeyring};
use super::refusals::AuditedOrder;
use super::shared::Shared;

impl Actor {
    /// Destroys a version, or requests or approves that: by force at once, otherwise once JetStream holds nothing that needs it.
    pub(super) async fn destroy(
        &self,
        number: u32,
        wanted: DestroyOrder,
    ) -> Result<KeyringStatus, OrderError> {
        let may = self.with(|keyring, shared| {
            let order = keyring.order_for(shared, number, &wanted)?;
            let asked = !wanted.request.approves || keyring.is_forced(shared, number);
            let forced = wanted.request.forced && asked;
            if !forced {
                keyring.may_destroy(shared, order)?;
            }
            Ok((order, forced))
        });
        let order_of =
            self.with(|keyring, _shared| destroy_order((keyring.name.as_str(), number), &wanted));
        let done = match may {
            Ok((order, true)) => {
                self.give_destroy_order(order, wanted, DestroyBasis::Forced)
                    .await
            }
            Ok((_order, false)) => self.destroy_if_unneeded(number, wanted).await,
            Err(error) => Err(error),
        };
        self.with(|_keyring, shared| shared.answered(order_of, done))
    }

    /// Asks what is stored, and goes by that.
    async fn destroy_if_unneeded(
        &self,
        number: u32,
        wanted: DestroyOrder,
    ) -> Result<KeyringStatus, OrderError> {
        match self.inquire(number) {
            Some(stored) => self.destroy_if(number, wanted, &stored.await).await,
            None => Err(Refused::Unknown(number).into()),
        }
    }

    /// Destroys the version, or requests that, if nothing stored needs it.
    pub(super) async fn destroy_if(
        &self,
        number: u32,
        wanted: DestroyOrder,
        stored: &RetentionAnswer,
    ) -> Result<KeyringStatus, OrderError> {
        let order = self.with(|keyring, shared| {
            let order = keyring.order_for(shared, number, &wanted)?;
            keyring.may_destroy(shared, order).map(|()| order)
        })?;
        match verdict(stored) {
            RetentionVerdict::Clear(found) => {
                let basis = DestroyBasis::Proven(found.into());
                self.give_destroy_order(order, wanted, basis).await
            }
            RetentionVerdict::Held(evidence) => Err(OrderError::Held(evidence)),
        }
    }

    /// Gives the order; an approval names the request that it approves of.
    pub(super) async fn give_destroy_order(
        &self,
        order: Order,
        wanted: DestroyOrder,
        basis: DestroyBasis,
    ) -> Result<KeyringStatus, OrderError> {
        let mut reason = wanted.reason.with_basis(basis);
        if let Order::Approve(number) = order {
            let asked = self.with(|keyring, shared| keyring.who_asked(shared, number));
            reason.why =
                format!("{}; approves of what was asked for by {asked}", reason.why).into();
        }
        self.give_order(order, reason).await
    }

    /// Why a version is kept; asks JetStream where that matters.
    pub(super) async fn why(&self, number: u32) -> Result<RetentionReasons, OrderError> {
        let kept = self.with(|keyring, shared| keyring.kept(shared, number))?;
        if !matches!(kept.state, State::DecryptOnly | State::Archived) {
            return Ok(kept);
        }
        let stored = match self.inquire(number) {
            Some(stored) => verdict(&stored.await),
            None => return Ok(kept),
        };
        let mut kept = self.with(|keyring, shared| keyring.kept(shared, number))?;
        if let RetentionVerdict::Held(evidence) = stored {
            kept.reasons.push(evidence.with_help());
        }
        Ok(kept)
    }

    /// Before a version is destroyed: what was opened here recently, and what JetStream still holds, which comes later.
    pub(super) fn inspect(&self, number: u32) -> Vec<Event> {
        let recent = self.with(|keyring, shared| keyring.opened_recently(shared, number));
        if let Some(recent) = recent {
            return vec![Event::Inspected(
                number,
                RetentionVerdict::Held(recent.into()),
            )];
        }
        if let Some(stored) = self.inquire(number) {
            let actor = self.clone();
            self.context.spawn(async move {
                let found = verdict(&stored.await);
                actor.feed(Event::Inspected(number, found));
            });
        }
        Vec::new()
    }

    /// Asks JetStream.
    fn inquire(&self, number: u32) -> Option<Later<'static, RetentionAnswer>> {
        self.with(|keyring, shared| {
            let question = keyring.question(shared, number)?;
            Some(shared.inspector.inspect(question))
        })
    }
}

impl ManagedKeyring {
    /// Who has asked for the destruction of a version, and why.
    fn who_asked(&self, shared: &Shared, number: u32) -> String {
        let version = self.version(shared, number);
        let proposed = version.and_then(|version| version.proposed.as_ref());
        proposed.map_or_else(
            || "the gateway".to_owned(),
            |proposal| format!("{} ({})", proposal.who, proposal.why),
        )
    }

    /// The question to JetStream about a version.
    pub(super) fn question(&self, shared: &Shared, number: u32) -> Option<RetentionQuestion> {
        let version = self.version(shared, number)?;
        let rule = shared.rule(&self.name)?;
        let (activated, deactivated) = shared.now().sealing_span(version);
        Some(RetentionQuestion {
            keyring: self.name.clone(),
            subjects: subjects_ever_served(rule, version),
            api_prefixes: shared.policy.api_prefixes().collect(),
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
