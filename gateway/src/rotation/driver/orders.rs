//! Orders of operators: carried out at once, or refused.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{ExposedData, Fact, Outcome};
use crate::catalogue::{Mark, Opens, State};
use crate::envelope::Kid;
use crate::policy::{KeyringName, Rule};
use crate::retention::RetentionAnswer;
use crate::rotation::drain::{self, DrainMessage};
use crate::rotation::engine::{
    Event, KeyringState, Order, OrderRequest, Refused, RetentionVerdict, Step,
};
use crate::rotation::external::Inspection;
use crate::rotation::reason::{DestroyBasis, Reason};
use crate::rotation::report::{Exposure, KeyringStatus, Rehearsal, Rotated, subjects};
use crate::rotation::terms::DestroyApproval;
use crate::rotation::{OrderError, ProcessKind, Reload, RotationConfig};

use super::Driver;
use super::journal::exposed;
use super::loaded::{Halt, SealedCount};
use super::perform::{DestroyOrder, failure, verdict};
use super::refusals::AuditedOrder;

impl Driver {
    /// Begins a rotation; yields the keyring and the version that was active before. In a fleet it ends later.
    pub(super) fn rotate(
        &mut self,
        keyring: &str,
        reason: Reason,
    ) -> Result<(usize, Option<u32>), OrderError> {
        let order = Order::Rotate;
        let wanted = AuditedOrder::of(keyring, order, reason.clone());
        let index = self.index(keyring);
        let index = self.answered(wanted.clone(), index)?;
        let before = self.active(index);
        self.unaudited = Some(reason.clone());
        self.feed(index, Event::Ordered(OrderRequest { order, reason }));
        if self.unaudited.take().is_some() {
            // It joins the rotation under way, which has another reason.
            self.conclude(wanted, &Outcome::Done);
        }
        Ok((index, before))
    }

    /// The outcome of a rotation, `before` having been active.
    pub(super) fn rotated(
        &self,
        (index, before): (usize, Option<u32>),
    ) -> Result<Rotated, OrderError> {
        let after = self.active(index);
        if before == after || after.is_none() {
            return Err(self.unfinished(index));
        }
        let label = |number: Option<u32>| {
            let version = self.record(index)?.version(number?)?;
            Some((version.label.as_str().to_owned(), version.kid.to_string()))
        };
        let from = label(before).map(|(label, _kid)| label);
        let (to, kid) = label(after).ok_or(OrderError::Stopping)?;
        let (keyring, _engine) = self.engine(index).ok_or(OrderError::Stopping)?;
        Ok(Rotated {
            keyring: keyring.clone(),
            from,
            to,
            kid,
        })
    }

    /// How long a rotation has to wait because the last one is so recent.
    pub(super) fn held_back(&self, index: usize) -> Option<Duration> {
        let (_keyring, engine) = self.engine(index)?;
        engine.held_back(self.now())
    }

    /// Any other order; yields the status of the keyring afterwards.
    pub(super) fn order(
        &mut self,
        keyring: &str,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let wanted = AuditedOrder::of(keyring, order, reason.clone());
        let index = self.index(keyring);
        let done = index.and_then(|index| self.give_order(index, order, reason));
        self.answered(wanted, done)
    }

    fn give_order(
        &mut self,
        index: usize,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        self.check_order(index, order)?;
        self.halt(index, order);
        self.unaudited = Some(reason.clone());
        self.feed(index, Event::Ordered(OrderRequest { order, reason }));
        let done = |(_keyring, engine): (&KeyringName, &KeyringState)| engine.has_done(order);
        let done = self.engine(index).is_some_and(done);
        if done {
            self.audit_if_unaudited(index, order, &Outcome::Done);
            return self.status_of(index).ok_or(OrderError::Stopping);
        }
        // A pending order that went first may have left no other version to seal under.
        let error = match self.check_order(index, order) {
            Err(refused) if order == Order::Abort => refused,
            Ok(()) | Err(_) => {
                let unfinished = self.unfinished(index);
                self.as_halted(index, order, unfinished)
            }
        };
        if error.is_refusal() {
            // The caller writes the refusal.
            self.unaudited = None;
        }
        let failed = Outcome::Failed(error.to_string().into());
        self.audit_if_unaudited(index, order, &failed);
        // What is answered with a failure must not happen later, except for a revocation, which is retried.
        self.feed(index, Event::Withdrawn(order));
        Err(error)
    }

    /// Writes an order that has caused no event of its own to the audit log.
    fn audit_if_unaudited(&mut self, index: usize, order: Order, outcome: &Outcome) {
        let managed = self.keyrings.get(index);
        let keyring = managed.map(|managed| managed.keyring.to_string());
        if let (Some(reason), Some(keyring)) = (self.unaudited.take(), keyring) {
            self.conclude(AuditedOrder::of(&keyring, order, reason), outcome);
        }
    }

    /// Whether an order can be carried out now.
    fn check_order(&self, index: usize, order: Order) -> Result<(), OrderError> {
        let engine = self.engine(index).map(|(_keyring, engine)| engine);
        let engine = engine.ok_or(OrderError::Stopping)?;
        engine.check_order(order)?;
        if order == Order::Abort {
            engine.may_abort(self.now())?;
        }
        Ok(())
    }

    /// Fail-safe: a revocation stops sealing before anything is written, and although earlier orders may wait for a disk.
    fn halt(&mut self, index: usize, order: Order) {
        let (Some((mark, step)), Some(number)) = (stops_sealing(order), order.number()) else {
            return;
        };
        if let Some(kid) = self.kid(index, number) {
            tracing::warn!(%kid, number, "nothing is sealed under this key version any more");
            // Only what lanes hold may still be sealed: that bounds the exposure.
            if let (Mark::Revoked, Some(held)) = (mark, self.loaded.get(kid)) {
                held.version.budget.drain();
            }
            self.halt_everywhere(kid);
            self.install();
            self.stop_drainers(index, &step);
        }
    }

    /// Stops sealing under a revoked or suspended version, here and in draining processes, whatever becomes of its record.
    pub(super) fn halt_everywhere(&mut self, kid: Kid) {
        self.loaded.halt(kid, Halt::Ordered);
        self.drainers.broadcast(DrainMessage::Halted(kid));
    }

    /// The error of an order that is not carried out yet.
    fn unfinished(&self, index: usize) -> OrderError {
        let Some((_keyring, engine)) = self.engine(index) else {
            return OrderError::Stopping;
        };
        match engine.failure() {
            Some(failure) => OrderError::Failed(failure.clone()),
            None if engine.is_rotating() => OrderError::UnderWay,
            None => OrderError::Aborted,
        }
    }

    /// The same for a revocation, of which a part is done: a running gateway seals nothing more under the version.
    fn as_halted(&mut self, index: usize, order: Order, error: OrderError) -> OrderError {
        let (Some((mark, _deed)), Some(number)) = (stops_sealing(order), order.number()) else {
            return error;
        };
        let version = self.record(index).and_then(|record| record.version(number));
        let named = version.map(|version| (version.kid, version.label.to_string()));
        let (OrderError::Failed(failure), Some((kid, version)), ProcessKind::Gateway) =
            (&error, named, self.user)
        else {
            return error;
        };
        OrderError::Halted {
            version,
            failure: failure.clone(),
            restart: if self.mark(mark, kid) {
                "goes on with the order"
            } else {
                "forgets the order, for there is no room for a note of it either"
            },
        }
    }

    /// Whether the version may be destroyed, JetStream not being asked.
    pub(super) fn may_destroy(&self, index: usize, order: Order) -> Result<(), OrderError> {
        let number = order.number().ok_or(OrderError::Stopping)?;
        self.check_order(index, order)?;
        let overlap = self
            .engine(index)
            .and_then(|(_keyring, engine)| engine.overlap_ends(number, self.now()));
        let overlap = overlap.filter(|ends| *ends > self.wall());
        let overlap = overlap.map(|ends| format!("its overlap lasts until {ends}"));
        match overlap.or_else(|| self.opened_recently(index, number)) {
            Some(evidence) => Err(OrderError::Held(evidence)),
            None => Ok(()),
        }
    }

    /// Asks JetStream.
    pub(super) fn inquire(&self, index: usize, number: u32) -> Option<Inspection> {
        let question = self.question(index, number)?;
        Some(self.inspector.inspect(question))
    }

    /// The order for a destruction in this keyring. A second person must state that it is forced.
    pub(super) fn order_for(
        &self,
        (index, number): (usize, u32),
        wanted: &DestroyOrder,
    ) -> Result<Order, OrderError> {
        let engine = self.engine(index).map(|(_keyring, engine)| engine);
        let engine = engine.ok_or(OrderError::Stopping)?;
        if wanted.request.approves {
            engine.may_approve(number, &wanted.reason.who, self.now())?;
            if self.is_forced((index, number)) && !wanted.request.forced {
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
    pub(super) fn is_forced(&self, (index, number): (usize, u32)) -> bool {
        let version = self.record(index).and_then(|record| record.version(number));
        let proposed = version.and_then(|version| version.proposed.as_ref());
        proposed.is_some_and(|proposal| proposal.forced)
    }

    /// Gives the order; an approval names the request that it approves of.
    pub(super) fn give_destroy_order(
        &mut self,
        (index, order): (usize, Order),
        wanted: DestroyOrder,
        basis: DestroyBasis,
    ) -> Result<KeyringStatus, OrderError> {
        let mut reason = wanted.reason.with_basis(basis);
        if let Order::Approve(number) = order {
            let version = self.record(index).and_then(|record| record.version(number));
            let proposed = version.and_then(|version| version.proposed.as_ref());
            let asked = proposed.map_or_else(
                || "the gateway".to_owned(),
                |proposal| format!("{} ({})", proposal.who, proposal.why),
            );
            reason.why =
                format!("{}; approves of what was asked for by {asked}", reason.why).into();
        }
        self.give_order(index, order, reason)
    }

    /// Destroys the version, or requests that, if nothing stored needs it.
    pub(super) fn destroy_if(
        &mut self,
        (index, number): (usize, u32),
        wanted: DestroyOrder,
        stored: &RetentionAnswer,
    ) -> Result<KeyringStatus, OrderError> {
        let order = self.order_for((index, number), &wanted)?;
        self.may_destroy(index, order)?;
        match verdict(stored) {
            RetentionVerdict::Clear(found) => {
                self.give_destroy_order((index, order), wanted, DestroyBasis::Proven(found.into()))
            }
            RetentionVerdict::Held(evidence) => Err(OrderError::Held(evidence)),
        }
    }

    /// What a leaked version exposes.
    pub(super) fn exposure(&self, keyring: &str, number: u32) -> Result<Exposure, OrderError> {
        let index = self.index(keyring)?;
        let version = self.record(index).and_then(|record| record.version(number));
        let version = version.ok_or(OrderError::Refused(Refused::Unknown(number)))?;
        let count = self.loaded.count(version.kid);
        let (keyring, _engine) = self.engine(index).ok_or(OrderError::Stopping)?;
        Ok(Exposure {
            halted: self.loaded.is_halted(version.kid) && version.stopped_sealing().is_none(),
            sealed: count.map_or(version.reserved, SealedCount::used).into(),
            exact: count.map_or(version.sealed == version.reserved, SealedCount::is_exact),
            lanes: count.map_or(version.lanes, SealedCount::lanes),
            opens: self.loaded.opens(keyring, version) != Opens::No,
            ..Exposure::of_record(keyring, self.rule(keyring), version)
        })
    }

    /// For the audit log: what was sealed under a version that has been revoked, at least and at most.
    pub(super) fn exposed(&self, index: usize, step: &Step) -> Option<ExposedData> {
        let Step::Compromise(number) = step else {
            return None;
        };
        let version = self.record(index)?.version(*number)?;
        let count = self.loaded.count(version.kid);
        let least = count.map_or(version.sealed, SealedCount::sealed);
        let most = count.map_or(version.reserved, SealedCount::most);
        let lanes = count.map_or(version.lanes, SealedCount::lanes);
        (version.state == State::Compromised).then(|| exposed(version, (least, most), lanes))
    }

    /// Tries everything that a revocation needs, without revoking.
    pub(super) fn drill(&mut self, reason: &Reason) -> Vec<Rehearsal> {
        let mut parts = Vec::new();
        let since = self.clock.instant();
        let custody = self.catalogue.rehearse_custody();
        parts.push(self.rehearsal(
            "wrap and unwrap a secret",
            since,
            custody.err().map(|e| e.to_string()),
        ));
        let since = self.clock.instant();
        let disk = self.catalogue.rehearse_disk();
        parts.push(self.rehearsal(
            "write to the catalogue's disk",
            since,
            disk.err().map(|e| e.to_string()),
        ));
        let since = self.clock.instant();
        let fact = Fact::Drill {
            who: reason.who.to_string().into(),
            why: reason.why.clone(),
        };
        let wall = self.wall();
        let noted = self.journal.note(fact, wall);
        parts.push(self.rehearsal(
            "write to the audit log",
            since,
            noted.err().map(|e| e.to_string()),
        ));
        parts
    }

    fn rehearsal(
        &self,
        what: &str,
        since: std::time::Instant,
        failed: Option<String>,
    ) -> Rehearsal {
        let took = self.clock.instant().saturating_duration_since(since);
        Rehearsal {
            what: what.to_owned(),
            failed,
            microseconds: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// The last lines of the audit log.
    pub(super) fn tail(&self, count: usize) -> Result<Vec<String>, OrderError> {
        let lines = self.journal.tail(count);
        let lines = lines.map_err(|error| OrderError::Failed(failure(&error)))?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(lines.into_iter().map(text).collect())
    }

    /// Puts other terms and subjects in force without touching connections. Keyrings keep their order.
    pub(super) fn reload(
        &mut self,
        config: RotationConfig,
        reload: Reload,
    ) -> Result<(), OrderError> {
        let names = config.policy.keyrings().iter().map(|rule| &rule.name);
        let kept = self.keyrings.iter().map(|managed| &managed.keyring);
        let same = names.clone().zip(kept).all(|(new, old)| new == old);
        if !same || names.count() < self.keyrings.len() {
            let held = self
                .keyrings
                .iter()
                .map(|managed| managed.keyring.to_string());
            return Err(OrderError::Places(held.collect::<Vec<_>>().join(", ")));
        }
        let Reload { what, reason } = reload;
        let before = std::mem::take(&mut self.settings);
        let weaker = self.audit_weaker(&before, &config.settings, reason);
        let weaker = weaker.map_err(|error| {
            self.settings = before.clone();
            OrderError::Failed(failure(&error))
        })?;
        self.settings = config.settings.clone();
        self.policy_digest = drain::digest_of(&config.settings);
        self.drainers
            .broadcast(DrainMessage::Policy(self.policy_digest));
        self.policy = Arc::clone(&config.policy);
        self.set_terms(config.terms);
        self.tick();
        self.install();
        self.finish_weaker(weaker);
        self.audit_reload(what, &before);
        Ok(())
    }

    /// Evidence against destroying a version: that this gateway has recently opened messages sealed under it.
    pub(super) fn opened_recently(&self, index: usize, number: u32) -> Option<String> {
        let kid = self.kid(index, number)?;
        let held = self.loaded.get(kid)?;
        let now = self.clock.instant();
        let ago = now.saturating_duration_since(held.last_opened?);
        let (_keyring, engine) = self.engine(index)?;
        (ago < recent(engine)).then(|| {
            let opened = held.version.usage.opened();
            format!(
                "an envelope sealed under it was opened {} s ago ({opened} since the start)",
                ago.as_secs()
            )
        })
    }

    pub(super) fn subjects(&self, keyring: &KeyringName) -> Vec<String> {
        subjects(self.rule(keyring))
    }

    pub(super) fn rule(&self, keyring: &KeyringName) -> Option<&Rule> {
        let id = self.policy.by_name(keyring.as_str())?;
        self.policy.keyring(id)
    }

    pub(super) fn index(&self, keyring: &str) -> Result<usize, OrderError> {
        let found = self
            .keyrings
            .iter()
            .position(|managed| managed.keyring.as_str() == keyring);
        found.ok_or_else(|| {
            let known = self
                .keyrings
                .iter()
                .map(|managed| format!("`{}`", managed.keyring));
            OrderError::UnknownKeyring {
                asked: keyring.to_owned(),
                known: known.collect::<Vec<_>>().join(", "),
            }
        })
    }

    fn active(&self, index: usize) -> Option<u32> {
        let (_keyring, engine) = self.engine(index)?;
        engine.active().map(|version| version.number)
    }
}

/// For a revocation or suspension: its mark for when it cannot be recorded, and its step.
const fn stops_sealing(order: Order) -> Option<(Mark, Step)> {
    match order {
        Order::Compromise(number) => Some((Mark::Revoked, Step::Compromise(number))),
        Order::Suspend(number) => Some((Mark::Suspended, Step::Suspend(number))),
        Order::Rotate
        | Order::Restore(_)
        | Order::Archive(_)
        | Order::Destroy(_)
        | Order::Propose(..)
        | Order::Approve(_)
        | Order::Abort => None,
    }
}

/// A version that has opened something within this time must not be destroyed.
fn recent(engine: &KeyringState) -> Duration {
    engine.terms().overlap.max(Duration::from_secs(60))
}
