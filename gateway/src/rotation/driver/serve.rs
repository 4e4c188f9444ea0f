//! What the driver does when it is asked: finds the keyring, and answers.

use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::{Fact, Outcome};
use crate::fault::{Failure, Faulty};
use crate::rotation::config::{Reload, RotationConfig};
use crate::rotation::drain;
use crate::rotation::engine::{DestroyRequest, Order};
use crate::rotation::error::OrderError;
use crate::rotation::reason::Reason;
use crate::rotation::report::{
    Exposure, KeyringStatus, Overview, Rehearsal, RetentionReasons, Rotated,
};

use super::answer::{Answer, reply};
use super::destroy::destroy_order;
use super::inspection::{DestroyOrder, InspectionResult};
use super::keyring::PendingRotation;
use super::refusals::AuditedOrder;
use super::shared::Shared;
use super::tick::Driver;

impl Driver {
    /// Switches a keyring to a new version.
    pub(in crate::rotation) fn rotate(
        &mut self,
        keyring: &str,
        reason: Reason,
        answer: Answer<Result<Rotated, OrderError>>,
    ) {
        match self.find(keyring) {
            Ok((keyring, shared)) => {
                let before = keyring.rotate(shared, reason);
                keyring.answer_rotations(shared, vec![PendingRotation { before, answer }]);
            }
            Err(error) => {
                let wanted = AuditedOrder::of(keyring, Order::Rotate, reason);
                reply(answer, self.shared.answered(wanted, Err(error)));
            }
        }
    }

    /// Destroys a version, requests that, or approves of it.
    pub(in crate::rotation) fn destroy(
        &mut self,
        (keyring, number): (&str, u32),
        request: DestroyRequest,
        reason: Reason,
        answer: Answer<Result<KeyringStatus, OrderError>>,
    ) {
        let wanted = DestroyOrder { request, reason };
        match self.find(keyring) {
            Ok((keyring, shared)) => keyring.destroy(shared, number, (wanted, answer)),
            Err(error) => {
                let order_of = destroy_order((keyring, number), &wanted);
                reply(answer, self.shared.answered(order_of, Err(error)));
            }
        }
    }

    /// Why a version is kept.
    pub(in crate::rotation) fn why(
        &mut self,
        (keyring, number): (&str, u32),
        answer: Answer<Result<RetentionReasons, OrderError>>,
    ) {
        match self.find(keyring) {
            Ok((keyring, shared)) => keyring.why(shared, number, answer),
            Err(error) => reply(answer, Err(error)),
        }
    }

    /// What a leaked version exposes.
    pub(in crate::rotation) fn exposure(
        &mut self,
        (keyring, number): (&str, u32),
    ) -> Result<Exposure, OrderError> {
        let (keyring, shared) = self.find(keyring)?;
        keyring.exposure(shared, number)
    }

    /// Tries everything that a revocation needs, without revoking.
    pub(in crate::rotation) fn drill(&mut self, reason: &Reason) -> Vec<Rehearsal> {
        let Shared {
            clock,
            catalogue,
            journal,
            ..
        } = &mut self.shared;
        let mut parts = Vec::new();
        let mut tries = |what: &str, work: &mut dyn FnMut() -> Option<String>| {
            let since = clock.instant();
            let failed = work();
            let took = clock.instant().saturating_duration_since(since);
            parts.push(Rehearsal {
                what: what.to_owned(),
                failed,
                microseconds: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            });
        };
        let text = |error: &dyn Faulty| error.with_help();
        tries("wrap and unwrap a secret", &mut || {
            catalogue.rehearse_custody().err().map(|error| text(&error))
        });
        tries("write to the catalogue's disk", &mut || {
            catalogue.rehearse_disk().err().map(|error| text(&error))
        });
        tries("write to the audit log", &mut || {
            let fact = Fact::Drill {
                who: reason.who.to_string().into(),
                why: reason.why.clone(),
            };
            let wall = Timestamp::try_from(clock.wall()).unwrap_or(Timestamp::MAX);
            journal.note(fact, wall).err().map(|error| text(&error))
        });
        parts
    }

    /// Records an order that the admin interface has refused.
    pub(in crate::rotation) fn refused(&mut self, wanted: AuditedOrder, why: String) {
        self.shared.conclude(wanted, &Outcome::Refused(why.into()));
    }

    /// Any other order than a rotation; yields the status of the keyring afterwards.
    pub(in crate::rotation) fn order(
        &mut self,
        keyring: &str,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let wanted = AuditedOrder::of(keyring, order, reason.clone());
        let found = self.find(keyring);
        let done = found.and_then(|(keyring, shared)| keyring.give_order(shared, order, reason));
        self.shared.answered(wanted, done)
    }

    /// Takes an answer of JetStream.
    pub(super) fn inspected(&mut self, told: InspectionResult) {
        if let Ok((keyring, shared)) = self.find(told.keyring.as_str()) {
            keyring.inspected(shared, told.number, told.purpose, &told.stored);
        }
    }

    pub(in crate::rotation) fn overview(&self) -> Overview {
        let keyrings = self.keyrings.iter();
        Overview {
            keyrings: keyrings
                .map(|keyring| keyring.status(&self.shared))
                .collect(),
            unreserved: self.shared.journal.unreserved(),
            rolled_back: self.shared.rolled_back.clone(),
            unread: self.shared.unread.clone(),
        }
    }

    /// The last lines of the audit log.
    pub(in crate::rotation) fn tail(&self, count: usize) -> Result<Vec<String>, OrderError> {
        let lines = self.shared.journal.tail(count);
        let lines = lines.map_err(|error| OrderError::Failed(Failure::of(&error)))?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(lines.into_iter().map(text).collect())
    }

    /// Puts other terms and subjects in force without touching connections. Keyrings keep their order.
    pub(in crate::rotation) fn reload(
        &mut self,
        config: RotationConfig,
        reload: Reload,
    ) -> Result<(), OrderError> {
        let names = config.policy.keyrings().iter().map(|rule| &rule.name);
        let kept = self.keyrings.iter().map(|keyring| &keyring.name);
        let same = names.clone().zip(kept).all(|(new, old)| new == old);
        if !same || names.count() < self.keyrings.len() {
            let held = self.keyrings.iter().map(|keyring| keyring.name.to_string());
            return Err(OrderError::Places(held.collect::<Vec<_>>().join(", ")));
        }
        let Reload { what, reason } = reload;
        let shared = &mut self.shared;
        let before = std::mem::take(&mut shared.settings);
        let weaker = shared.audit_weaker(&before, &config.settings, reason);
        let weaker = weaker.map_err(|error| {
            shared.settings = before.clone();
            OrderError::Failed(Failure::of(&error))
        })?;
        shared.settings = config.settings.clone();
        shared.policy_digest = drain::digest_of(&config.settings);
        shared.broadcast_policy();
        shared.policy = Arc::clone(&config.policy);
        self.set_terms(config.terms);
        self.tick();
        self.shared.install();
        self.shared.finish_weaker(weaker);
        self.shared.audit_reload(what, &before);
        Ok(())
    }
}
