//! Marks in the state directory (revoked, suspended, withdrawn): orders that no record has, for the next start.

use crate::audit::Trigger;
use crate::catalogue::Mark;
use crate::envelope::Kid;
use crate::rotation::drain::DrainMessage;
use crate::rotation::engine::{Event, KeyringState, Order, OrderRequest};
use crate::rotation::reason::Reason;

use super::Driver;

impl Driver {
    /// Reads the marks of earlier processes; revoked and suspended versions do not seal from now on.
    pub(super) fn read_marks(&mut self) {
        match self.catalogue.marks() {
            Ok(marks) => self.marks = marks,
            Err(error) => {
                tracing::error!(%error, "whether a version was revoked that could not be written down is not known");
            }
        }
        for (mark, kid) in self.marks.clone() {
            if mark != Mark::Withdrawn && self.holds((mark, kid)) {
                tracing::warn!(%kid, "nothing is sealed under this key version: it was revoked or suspended before this start");
                self.halt_everywhere(kid);
            }
        }
    }

    /// Goes on with the marked orders.
    pub(super) fn resume_marked_orders(&mut self) {
        for (mark, kid) in self.marks.clone() {
            let Some((index, number)) = self.find(kid) else {
                continue;
            };
            let event = match mark {
                Mark::Revoked => asked(Order::Compromise(number), Trigger::Compromise),
                Mark::Suspended => asked(Order::Suspend(number), Trigger::Manual),
                Mark::Withdrawn => Event::LeftOver(number),
            };
            self.feed(index, event);
        }
        self.drop_marks(|_kid| true);
    }

    /// Marks a version; yields whether the mark is durable.
    pub(super) fn mark(&mut self, mark: Mark, kid: Kid) -> bool {
        // Noted first: a mark may exist although creating it failed, and must be removed later.
        if !self.marks.contains(&(mark, kid)) {
            self.marks.push((mark, kid));
        }
        let made = self.catalogue.mark(mark, kid);
        self.drainers.broadcast(DrainMessage::CatalogueChanged);
        if let Err(error) = &made {
            tracing::error!(%kid, %error, "a restart forgets what became of this key version");
        }
        made.is_ok()
    }

    /// Marks the successor that a withdrawn rotation could not discard; yields whether all marks are durable.
    pub(super) fn mark_withdrawn(&mut self, index: usize) -> bool {
        let left = self
            .engine(index)
            .and_then(|(_keyring, engine)| engine.leftover());
        let left = left.and_then(|number| self.kid(index, number));
        let keyring = self
            .keyrings
            .get(index)
            .map(|managed| managed.keyring.clone());
        let unmade = keyring.map(|keyring| self.journal.unconfirmed_versions(&keyring));
        let mut kids = unmade.unwrap_or_default();
        kids.extend(left);
        let marked = kids.into_iter().map(|kid| self.mark(Mark::Withdrawn, kid));
        // `count`, so that every mark is tried.
        marked.filter(|marked| !marked).count() == 0
    }

    /// Removes the marks that records reflect by now.
    pub(super) fn drop_marks(&mut self, of: impl Fn(Kid) -> bool) {
        for (mark, kid) in self.marks.clone() {
            if of(kid) && !self.holds((mark, kid)) && self.catalogue.unmark(mark, kid).is_ok() {
                self.marks.retain(|marked| *marked != (mark, kid));
            }
        }
    }

    pub(super) fn is_withdrawn(&self, kid: Kid) -> bool {
        self.marks.contains(&(Mark::Withdrawn, kid))
    }

    /// Whether a mark says something that the record does not.
    fn holds(&self, (mark, kid): (Mark, Kid)) -> bool {
        let Some((_keyring, version)) = self.catalogue.find_by_kid(kid) else {
            // Not generated, with the outcome not in the audit log yet; or of a record that is yet to be restored.
            return mark != Mark::Withdrawn || self.journal.is_open(kid);
        };
        match mark {
            Mark::Revoked | Mark::Suspended => mark.is_unrecorded_in(version.state),
            Mark::Withdrawn => {
                let left = |engine: &KeyringState| engine.leftover() == Some(version.number);
                let found = self.find(kid);
                let engine = found.and_then(|(index, _number)| self.engine(index));
                engine.is_none_or(|(_keyring, engine)| left(engine))
            }
        }
    }

    fn find(&self, kid: Kid) -> Option<(usize, u32)> {
        let (keyring, version) = self.catalogue.find_by_kid(kid)?;
        let index = self.index(keyring.as_str()).ok()?;
        Some((index, version.number))
    }
}

fn asked(order: Order, trigger: Trigger) -> Event {
    let why = "an operator's order, which could not be written down before the process ended";
    let reason = Reason::of_gateway(trigger, why);
    Event::Ordered(OrderRequest { order, reason })
}
