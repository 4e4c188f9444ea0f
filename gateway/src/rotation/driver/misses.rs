//! Kids that are not in the snapshot: looked for in the catalogue, and loaded.

use std::time::Duration;

use crate::audit::Fact;
use crate::catalogue::LoadError;
use crate::envelope::Kid;
use crate::keyring::Verdict;

use super::Driver;
use super::loaded::Found;

/// A miss reads the catalogue again at most this often: kids are the bus's to make up.
pub(super) const REREAD: Duration = Duration::from_secs(1);

impl Driver {
    /// Loads the version with this kid, if there is one that may open.
    pub(super) fn look_for(&mut self, kid: Kid) -> Verdict {
        if self.catalogue.find_by_kid(kid).is_none() {
            self.read_again();
        }
        match self.loaded.load(&self.catalogue, kid) {
            Ok(Found::Newly) => {
                self.install();
                Verdict::Loaded
            }
            Ok(Found::Already) => Verdict::Loaded,
            Ok(Found::Nothing) => Verdict::Absent,
            Err(error) => {
                tracing::warn!(%kid, %error, "a key version cannot be loaded");
                Verdict::Absent
            }
        }
    }

    /// A record that somebody put into the directory, from another copy of it, counts from now on.
    fn read_again(&mut self) {
        let now = self.clock.instant();
        if self
            .reread
            .is_some_and(|last| now.saturating_duration_since(last) < REREAD)
        {
            return;
        }
        self.reread = Some(now);
        let read = self.catalogue.refresh();
        self.in_doubt = read.is_err();
        // What could be read counts, even where remembering it failed.
        self.install();
        self.follow();
        let Err(error) = read else {
            return;
        };
        tracing::error!(%error, "the catalogue cannot be read again; going on with what was read before");
        if let LoadError::RolledBack { .. } = error {
            self.alarm(error.to_string());
        }
    }

    /// An older record was put back.
    fn alarm(&mut self, what: String) {
        let wall = self.wall();
        let what = what.into();
        if let Err(error) = self.journal.note(Fact::RollbackAlarm { what }, wall) {
            tracing::error!(%error, "the alarm is missing in the audit log");
        }
    }
}
