//! Marks in the state directory (revoked, suspended, withdrawn): orders that no record has, for the next start.

use crate::catalogue::Mark;
use crate::envelope::Kid;
use crate::fault::Faulty;
use crate::policy::KeyringName;

use super::keyring::ManagedKeyring;
use super::shared::Shared;

impl Shared {
    /// Reads the marks of earlier processes; revoked and suspended versions do not seal from now on.
    pub(super) fn read_marks(&mut self) {
        match self.view.marks() {
            Ok(marks) => self.marks = marks,
            Err(error) => {
                tracing::error!(error = %error.with_help(), "whether a version was revoked that could not be written down is not known");
            }
        }
        for (mark, kid) in self.marks.clone() {
            if mark != Mark::Withdrawn && self.holds((mark, kid), |_keyring, _number| true) {
                tracing::warn!(%kid, "nothing is sealed under this key version: it was revoked or suspended before this start");
                self.halt_everywhere(kid);
            }
        }
    }

    /// Marks a version; yields whether the mark is durable.
    pub(super) fn mark(&mut self, mark: Mark, kid: Kid) -> bool {
        // Noted first: a mark may exist although creating it failed, and must be removed later.
        if !self.marks.contains(&(mark, kid)) {
            self.marks.push((mark, kid));
        }
        let made = self.view.mark(mark, kid);
        self.drainers.announce_change();
        if let Err(error) = &made {
            tracing::error!(%kid, error = %error.with_help(), "a restart forgets what became of this key version");
        }
        made.is_ok()
    }

    /// Removes the marks that records reflect by now. `is_left`: whether a version is the unused successor of its keyring.
    pub(super) fn drop_marks(
        &mut self,
        of: impl Fn(Kid) -> bool,
        is_left: impl Fn(&KeyringName, u32) -> bool,
    ) {
        for (mark, kid) in self.marks.clone() {
            if of(kid) && !self.holds((mark, kid), &is_left) && self.view.unmark(mark, kid).is_ok()
            {
                self.marks.retain(|marked| *marked != (mark, kid));
            }
        }
    }

    pub(super) fn is_withdrawn(&self, kid: Kid) -> bool {
        self.marks.contains(&(Mark::Withdrawn, kid))
    }

    /// Whether a mark says something that the record does not.
    fn holds(&self, (mark, kid): (Mark, Kid), is_left: impl Fn(&KeyringName, u32) -> bool) -> bool {
        let Some((keyring, version)) = self.view.find_by_kid(kid) else {
            // Not generated, with the outcome not in the audit log yet; or of a record that is yet to be restored.
            return mark != Mark::Withdrawn || self.journal.is_open(kid);
        };
        match mark {
            Mark::Revoked | Mark::Suspended => mark.is_unrecorded_in(version.state),
            Mark::Withdrawn => is_left(keyring, version.number),
        }
    }
}

impl ManagedKeyring {
    /// Marks the successor that a withdrawn rotation could not discard; yields whether all marks are durable.
    pub(super) fn mark_withdrawn(&self, shared: &mut Shared) -> bool {
        let left = self.engine.leftover();
        let left = left.and_then(|number| self.kid(shared, number));
        let mut kids = shared.journal.unconfirmed_versions(&self.name);
        kids.extend(left);
        let marked = kids
            .into_iter()
            .map(|kid| shared.mark(Mark::Withdrawn, kid));
        // `count`, so that every mark is tried.
        marked.filter(|marked| !marked).count() == 0
    }
}
