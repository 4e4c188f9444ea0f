//! Orders for which nothing is begun: refused, or covered by what is under way. Each is one line of the audit log.

use crate::audit::{Act, Action, IntendedUse, Outcome};
use crate::rotation::OrderError;
use crate::rotation::engine::Order;
use crate::rotation::reason::Reason;

use super::Driver;
use super::journal::{forced_and_evidence, named};

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

impl Driver {
    /// Passes the answer of an order on; a refusal is written to the audit log.
    pub(super) fn answered<T>(
        &mut self,
        wanted: AuditedOrder,
        answer: Result<T, OrderError>,
    ) -> Result<T, OrderError> {
        if let Err(error) = &answer
            && error.is_refusal()
        {
            self.conclude(wanted, &Outcome::Refused(error.to_string().into()));
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
        let index = keyring
            .as_deref()
            .and_then(|keyring| self.index(keyring).ok());
        let known = index.and_then(|index| self.record(index)?.version(number?));
        let name = index.and_then(|index| Some(&self.keyrings.get(index)?.keyring));
        let scope = name.map(|name| self.subjects(name)).unwrap_or_default();
        // An order that was refused before the evidence was looked at has none.
        let basis = reason.basis.map(|basis| forced_and_evidence(what, basis));
        let (forced, evidence) = basis.unwrap_or_default();
        let act = Act {
            who: reason.who,
            through: reason.through,
            trigger: Some(reason.trigger),
            why: reason.why,
            what,
            keyring: keyring.map(Into::into),
            version: known.map(named),
            intended_use: intended_use(what),
            forced,
            evidence,
            exposure: None,
            expiry: None,
            scope: scope.into_iter().map(Into::into).collect(),
            changes: Vec::new(),
        };
        let wall = self.wall();
        self.journal.conclude(act, outcome, wall);
    }
}

const fn intended_use(what: Action) -> IntendedUse {
    match what {
        Action::RotateRequested | Action::Activate | Action::Reload => IntendedUse::SealAndOpen,
        Action::Resume | Action::Archive | Action::Restore | Action::Deactivate | Action::Admit => {
            IntendedUse::Open
        }
        Action::Generate
        | Action::Suspend
        | Action::Compromise
        | Action::Destroy
        | Action::DestroyRequested
        | Action::Weaken
        | Action::Abort => IntendedUse::Nothing,
    }
}
