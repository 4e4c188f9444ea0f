//! Orders of operators to a keyring: carried out one after the other, or refused. A revocation stops the sealing before its turn.

use crate::audit::Outcome;
use crate::catalogue::Mark;
use crate::envelope::Kid;
use crate::fault::Faulty;
use crate::rotation::config::ProcessKind;
use crate::rotation::engine::{Event, Order, OrderRequest, Step};
use crate::rotation::error::OrderError;
use crate::rotation::reason::Reason;
use crate::rotation::report::{KeyringStatus, Rotated};

use super::answer::{Answer, reply};
use super::keyring::{Actor, ManagedKeyring, PendingRotation};
use super::refusals::AuditedOrder;
use super::shared::Shared;

/// Appended to the error of a failed rotation whose successor could not be marked as withdrawn.
const NOT_WITHDRAWN: &str =
    "what it has made could not be discarded, and a restart before it can be goes on with it";

impl Actor {
    /// Switches to a new version; the answer comes once that is done, or cannot be.
    pub(super) async fn rotate(self, reason: Reason, answer: Answer<Result<Rotated, OrderError>>) {
        let _under_way = self.order_under_way(Order::Rotate);
        let _turn = self.order_turn().await;
        let before = self.begin_rotation(reason).await;
        self.answer_rotations(vec![PendingRotation { before, answer }])
            .await;
    }

    /// Begins a rotation; yields the version that was active before. In a fleet it ends later.
    pub(super) async fn begin_rotation(&self, reason: Reason) -> Option<u32> {
        let wanted = AuditedOrder::of(self.name().as_str(), Order::Rotate, reason.clone());
        let before = self.with(|keyring, _shared| {
            keyring.unaudited = Some(reason.clone());
            keyring.active()
        });
        let order = Order::Rotate;
        self.feed(Event::Ordered(OrderRequest { order, reason }));
        self.rest().await;
        self.with(|keyring, shared| {
            if keyring.unaudited.take().is_some() {
                // It joins the rotation under way, which has another reason.
                shared.conclude(wanted, &Outcome::Done);
            }
        });
        before
    }

    /// Answers callers whose rotation was held back.
    pub(super) fn answer_pending_rotations(&self) {
        let callers = self.with(|keyring, _shared| std::mem::take(&mut keyring.pending_rotations));
        if !callers.is_empty() {
            let actor = self.clone();
            self.context.spawn(async move {
                actor.rest().await;
                actor.answer_rotations(callers).await;
            });
        }
    }

    /// Answers callers of a rotation, later if only time is missing: the engine notices that at a tick. A rotation that is answered
    /// with a failure must not happen later: it is withdrawn. Where its successor can neither be discarded nor be marked for the
    /// next start, the answer says so.
    async fn answer_rotations(&self, callers: Vec<PendingRotation>) {
        if self.with(|keyring, _shared| keyring.engine.waits_for_time()) {
            self.with(|keyring, _shared| keyring.pending_rotations.extend(callers));
            return;
        }
        let mut rotated: Vec<_> = self.with(|keyring, shared| {
            let rotated = callers.into_iter().map(|caller| {
                let rotated = keyring.rotated(shared, caller.before);
                (caller.answer, rotated)
            });
            rotated.collect()
        });
        let mut failed = rotated.iter_mut().filter_map(|(_answer, rotated)| {
            let Err(OrderError::Failed(failure)) = rotated else {
                return None;
            };
            Some(failure)
        });
        let first = failed.next();
        if first.is_some() && !self.withdraw().await {
            for failure in first.into_iter().chain(failed) {
                failure.fault = failure.fault().and(NOT_WITHDRAWN);
            }
        }
        for (answer, rotated) in rotated {
            reply(answer, rotated);
        }
    }

    /// Withdraws a failed rotation; yields whether the next start knows that, too.
    async fn withdraw(&self) -> bool {
        self.feed(Event::Withdrawn(Order::Rotate));
        self.rest().await;
        self.with(|keyring, shared| keyring.mark_withdrawn(shared))
    }

    /// Any other order; yields the status of the keyring afterwards.
    pub(super) async fn give_order(
        &self,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let _under_way = self.order_under_way(order);
        self.halt(order).await?;
        let _turn = self.order_turn().await;
        self.with(|keyring, shared| {
            keyring.check_order(shared, order)?;
            // Again, for another order may have been carried out since.
            keyring.halt(shared, order);
            keyring.unaudited = Some(reason.clone());
            Ok::<_, OrderError>(())
        })?;
        self.feed(Event::Ordered(OrderRequest { order, reason }));
        self.rest().await;
        let done = self.with(|keyring, shared| keyring.ordered(shared, order));
        if done.is_err() {
            // What is answered with a failure must not happen later, except for a revocation, which is retried.
            self.feed(Event::Withdrawn(order));
            self.rest().await;
        }
        done
    }

    /// Fail-safe: a revocation stops sealing before anything is written, and whatever earlier orders wait for.
    async fn halt(&self, order: Order) -> Result<(), OrderError> {
        let waits = self.makes_orders_wait();
        let stops = self.with(|keyring, shared| {
            keyring.check_order(shared, order)?;
            let stops = keyring.halt(shared, order);
            if waits {
                // It is written down when its turn comes, and a process that ends before must not forget it.
                keyring.mark_order(shared, order);
            }
            Ok::<_, OrderError>(stops)
        })?;
        if let Some(kid) = stops {
            self.context.stop_drainers(kid).await;
            self.with(|_keyring, shared| shared.drainers.end_stop(kid));
        }
        Ok(())
    }
}

impl ManagedKeyring {
    /// The outcome of a rotation, `before` having been active.
    fn rotated(&self, shared: &Shared, before: Option<u32>) -> Result<Rotated, OrderError> {
        let after = self.active();
        if before == after || after.is_none() {
            return Err(self.unfinished());
        }
        let label = |number: Option<u32>| {
            let version = self.version(shared, number?)?;
            Some((version.label.as_str().to_owned(), version.kid.to_string()))
        };
        let from = label(before).map(|(label, _kid)| label);
        let (to, kid) = label(after).ok_or(OrderError::Stopping)?;
        Ok(Rotated {
            keyring: self.name.to_string(),
            from,
            to,
            kid,
        })
    }

    /// What has become of an order, once the keyring rests.
    fn ordered(&mut self, shared: &mut Shared, order: Order) -> Result<KeyringStatus, OrderError> {
        if self.engine.has_done(order) {
            self.audit_if_unaudited(shared, order, &Outcome::Done);
            return Ok(self.status(shared));
        }
        // A pending order that went first may have left no other version to seal under.
        let error = match self.check_order(shared, order) {
            Err(refused) if order == Order::Abort => refused,
            Ok(()) | Err(_) => {
                let unfinished = self.unfinished();
                self.as_halted(shared, order, unfinished)
            }
        };
        if error.is_refusal() {
            // The caller writes the refusal.
            self.unaudited = None;
        }
        let failed = Outcome::Failed(error.with_help().into());
        self.audit_if_unaudited(shared, order, &failed);
        Err(error)
    }

    /// Writes an order that has caused no event of its own to the audit log.
    fn audit_if_unaudited(&mut self, shared: &mut Shared, order: Order, outcome: &Outcome) {
        if let Some(reason) = self.unaudited.take() {
            shared.conclude(AuditedOrder::of(self.name.as_str(), order, reason), outcome);
        }
    }

    /// Whether an order can be carried out now.
    pub(super) fn check_order(&self, shared: &Shared, order: Order) -> Result<(), OrderError> {
        self.engine.check_order(order)?;
        if order == Order::Abort {
            self.engine.may_abort(shared.now())?;
        }
        Ok(())
    }

    /// Halts the version that an order stops from sealing; yields it where draining processes have to stop, too.
    fn halt(&self, shared: &mut Shared, order: Order) -> Option<Kid> {
        let (mark, step) = stops_sealing(order)?;
        let number = order.number()?;
        let kid = self.kid(shared, number)?;
        if !shared.loaded.is_halted(kid) {
            tracing::warn!(%kid, number, "nothing is sealed under this key version any more");
        }
        // Only what lanes hold may still be sealed: that bounds the exposure.
        if let (Mark::Revoked, Some(held)) = (mark, shared.loaded.get(kid)) {
            held.version.budget.drain();
        }
        shared.halt_everywhere(kid);
        shared.install();
        self.stops(shared, &step)
    }

    /// Marks the version of an order that stops it from sealing.
    fn mark_order(&self, shared: &mut Shared, order: Order) {
        let stops = stops_sealing(order).zip(order.number());
        if let Some(((mark, _step), number)) = stops
            && let Some(kid) = self.kid(shared, number)
        {
            shared.mark(mark, kid);
        }
    }

    /// The error of an order that is not carried out yet.
    fn unfinished(&self) -> OrderError {
        match self.engine.failure() {
            Some(failure) => OrderError::Failed(failure.clone()),
            None if self.engine.is_rotating() => OrderError::UnderWay,
            None => OrderError::Aborted,
        }
    }

    /// The same for a revocation, of which a part is done: a running gateway seals nothing more under the version.
    fn as_halted(&self, shared: &mut Shared, order: Order, error: OrderError) -> OrderError {
        let (Some((mark, _step)), Some(number)) = (stops_sealing(order), order.number()) else {
            return error;
        };
        let version = self.version(shared, number);
        let named = version.map(|version| (version.kid, version.label.to_string()));
        let (OrderError::Failed(failure), Some((kid, version)), ProcessKind::Gateway) =
            (&error, named, shared.user)
        else {
            return error;
        };
        OrderError::Halted {
            version,
            failure: failure.clone(),
            restart: if shared.mark(mark, kid) {
                "goes on with the order"
            } else {
                "forgets the order, for there is no room for a note of it either"
            },
        }
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
