//! What the driver does when it is asked: finds the keyring, which answers when it has done it.

use crate::audit::{Fact, Outcome};
use crate::catalogue::rehearse_custody;
use crate::fault::{Failure, Faulty};
use crate::rotation::engine::{DestroyRequest, Order};
use crate::rotation::error::OrderError;
use crate::rotation::reason::Reason;
use crate::rotation::report::{
    Exposure, KeyringStatus, Overview, Rehearsal, RetentionReasons, Rotated,
};

use super::answer::{Answer, reply};
use super::context::Context;
use super::destroy::destroy_order;
use super::inspection::DestroyOrder;
use super::keyring::Actor;
use super::refusals::AuditedOrder;
use super::tick::Driver;

impl Driver {
    /// Switches a keyring to a new version.
    pub(in crate::rotation) fn rotate(
        &self,
        keyring: &str,
        reason: Reason,
        answer: Answer<Result<Rotated, OrderError>>,
    ) {
        match self.find(keyring) {
            Ok(keyring) => self.context.spawn(keyring.rotate(reason, answer)),
            Err(error) => {
                let wanted = AuditedOrder::of(keyring, Order::Rotate, reason);
                reply(answer, self.answered(wanted, Err(error)));
            }
        }
    }

    /// Destroys a version, requests that, or approves of it.
    pub(in crate::rotation) fn destroy(
        &self,
        (keyring, number): (&str, u32),
        request: DestroyRequest,
        reason: Reason,
        answer: Answer<Result<KeyringStatus, OrderError>>,
    ) {
        let wanted = DestroyOrder { request, reason };
        match self.find(keyring) {
            Ok(keyring) => self.context.spawn(async move {
                reply(answer, keyring.destroy(number, wanted).await);
            }),
            Err(error) => {
                let order_of = destroy_order((keyring, number), &wanted);
                reply(answer, self.answered(order_of, Err(error)));
            }
        }
    }

    /// Why a version is kept.
    pub(in crate::rotation) fn why(
        &self,
        (keyring, number): (&str, u32),
        answer: Answer<Result<RetentionReasons, OrderError>>,
    ) {
        match self.find(keyring) {
            Ok(keyring) => self.context.spawn(async move {
                reply(answer, keyring.why(number).await);
            }),
            Err(error) => reply(answer, Err(error)),
        }
    }

    /// What a leaked version exposes.
    pub(in crate::rotation) fn exposure(
        &self,
        (keyring, number): (&str, u32),
    ) -> Result<Exposure, OrderError> {
        let keyring = self.find(keyring)?;
        keyring.with(|keyring, shared| keyring.exposure(shared, number))
    }

    /// Tries everything that a revocation needs, without revoking.
    pub(in crate::rotation) fn drill(&self, reason: Reason, answer: Answer<Vec<Rehearsal>>) {
        let context = self.context.clone();
        self.context
            .spawn(async move { reply(answer, context.drill(reason).await) });
    }

    /// Records an order that the admin interface has refused.
    pub(in crate::rotation) fn refused(&self, wanted: AuditedOrder, why: String) {
        let refused = Outcome::Refused(why.into());
        self.context
            .with(|shared| shared.conclude(wanted, &refused));
    }

    /// Any other order than a rotation; yields the status of the keyring afterwards.
    pub(in crate::rotation) fn order(
        &self,
        keyring: &str,
        order: Order,
        reason: Reason,
        answer: Answer<Result<KeyringStatus, OrderError>>,
    ) {
        let wanted = AuditedOrder::of(keyring, order, reason.clone());
        match self.find(keyring) {
            Ok(keyring) => self.context.spawn(async move {
                let done = keyring.give_order(order, reason).await;
                let done = keyring.with(|_keyring, shared| shared.answered(wanted, done));
                reply(answer, done);
            }),
            Err(error) => reply(answer, self.answered(wanted, Err(error))),
        }
    }

    fn answered<T>(
        &self,
        wanted: AuditedOrder,
        answer: Result<T, OrderError>,
    ) -> Result<T, OrderError> {
        self.context.with(|shared| shared.answered(wanted, answer))
    }

    pub(in crate::rotation) fn overview(&self) -> Overview {
        let status = |keyring: &Actor| keyring.with(|keyring, shared| keyring.status(shared));
        let keyrings = self.keyrings.iter().map(status).collect();
        self.context.with(|shared| Overview {
            keyrings,
            unreserved: shared.journal.unreserved(),
            rolled_back: shared.rolled_back.clone(),
            unread: shared.unread.clone(),
        })
    }

    /// The last lines of the audit log.
    pub(in crate::rotation) fn tail(&self, count: usize) -> Result<Vec<String>, OrderError> {
        let lines = self.context.with(|shared| shared.journal.tail(count));
        let lines = lines.map_err(|error| OrderError::Failed(Failure::of(&error)))?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(lines.into_iter().map(text).collect())
    }
}

impl Context {
    /// Tries everything that a revocation needs; how that ended, and how long it took.
    async fn drill(&self, reason: Reason) -> Vec<Rehearsal> {
        let custodian = self.with(|shared| shared.view.custodian());
        let wrapped = self.timed("wrap and unwrap a secret", rehearse_custody(&*custodian));
        let wrapped = wrapped.await;
        let written = self.with(|shared| shared.records.rehearse());
        let written = self.timed("write to the catalogue's disk", written).await;
        let noted = async {
            self.with(|shared| {
                let fact = Fact::Drill {
                    who: reason.who.to_string().into(),
                    why: reason.why.clone(),
                };
                let wall = shared.wall();
                shared.journal.note(fact, wall)
            })
        };
        let noted = self.timed("write to the audit log", noted).await;
        vec![wrapped, written, noted]
    }

    async fn timed<E: Faulty>(
        &self,
        what: &str,
        work: impl Future<Output = Result<(), E>>,
    ) -> Rehearsal {
        let now = || self.with(|shared| shared.clock.instant());
        let since = now();
        let failed = work.await.err().map(|error| error.with_help());
        let took = now().saturating_duration_since(since);
        Rehearsal {
            what: what.to_owned(),
            failed,
            microseconds: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}
