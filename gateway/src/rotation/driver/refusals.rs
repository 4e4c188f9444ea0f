//! Orders for which nothing is begun: refused, or covered by what is under way. Each is one line of the audit log.

use crate::audit::{Action, Outcome};
use crate::fault::Faulty;
use crate::rotation::engine::Order;
use crate::rotation::error::OrderError;
use crate::rotation::reason::Reason;

use super::journal::act;
use super::shared::Shared;

/// An order as the audit log records it.
#[derive(Clone, Debug)]
pub(in crate::rotation) struct AuditedOrder {
    /// The keyring as the caller named it; `None` concerns all.
    pub(in crate::rotation) keyring: Option<String>,
    /// The action that was ordered.
    pub(in crate::rotation) what: Action,
    /// The number of the version, where there is one.
    pub(in crate::rotation) number: Option<u32>,
    /// Its reason.
    pub(in crate::rotation) reason: Reason,
}

impl AuditedOrder {
    pub(super) fn of(keyring: &str, order: Order, reason: Reason) -> Self {
        let what = match order {
            Order::Rotate => Action::RotateRequested,
            Order::Compromise(_) => Action::Compromise,
            Order::Suspend(_) => Action::Suspend,
            Order::Restore(_) => Action::Resume,
            Order::Archive(_) => Action::Archive,
            Order::Destroy(_) | Order::Approve(_) => Action::Destroy,
            Order::Propose(..) => Action::DestroyRequested,
            Order::Abort => Action::Abort,
        };
        Self {
            keyring: Some(keyring.to_owned()),
            what,
            number: order.number(),
            reason,
        }
    }
}

impl Shared {
    /// Passes the answer of an order on; a refusal is written to the audit log.
    pub(super) fn answered<T>(
        &mut self,
        wanted: AuditedOrder,
        answer: Result<T, OrderError>,
    ) -> Result<T, OrderError> {
        if let Err(error) = &answer
            && error.is_refusal()
        {
            self.conclude(wanted, &Outcome::Refused(error.with_help().into()));
        }
        answer
    }

    /// Writes the one line of an order for which nothing was begun.
    pub(super) fn conclude(&mut self, wanted: AuditedOrder, outcome: &Outcome) {
        let AuditedOrder {
            keyring,
            what,
            number,
            reason,
        } = wanted;
        let rule = keyring.as_deref().and_then(|name| {
            let id = self.policy.by_name(name)?;
            self.policy.keyring(id)
        });
        let version = rule.and_then(|rule| self.view.record(&rule.name)?.version(number?));
        let act = act(what, reason, keyring.map(Into::into), rule, version);
        let wall = self.wall();
        self.journal.conclude(act, outcome, wall);
    }
}
