//! Configurations that weaken protection: the audit log has the intent before one is in force.

use crate::audit::{Fact, Outcome, PendingEvent, Settings, Trigger, WriteFailed};
use crate::fault::Faulty;
use crate::rotation::config::ProcessKind;
use crate::rotation::error::StartError;
use crate::rotation::protection::{weaken_act, weakened};
use crate::rotation::reason::Reason;

use super::shared::Shared;

impl Shared {
    /// Compares the configuration at a start with the last one in the audit log. Refused if that cannot be written, unless this
    /// process takes the keys back and the configuration is in force already.
    pub(super) fn audit_weaker_start(
        &mut self,
        began: &Fact,
    ) -> Result<Option<PendingEvent>, StartError> {
        let runs = *began == Fact::GatewayTookBack;
        if self.user == ProcessKind::Command {
            return Ok(None);
        }
        let Some(before) = self.journal.last_policy().cloned() else {
            return Ok(None);
        };
        let settings = self.settings.clone();
        let why = "the configuration protects less than the one that was in force last";
        let reason = Reason::of_gateway(Trigger::Start, why);
        let weaker = self.audit_weaker(&before, &settings, reason);
        if runs && before != settings {
            // The other process may have put another one in force.
            self.audit_reload("taken back from another process".to_owned(), &before);
        }
        match weaker {
            Err(source) if !runs => Err(StartError::Unwritten(source)),
            Err(error) => {
                tracing::error!(error = %error.with_help(), "the audit log does not say that the configuration in force protects less");
                Ok(None)
            }
            Ok(pending) => Ok(pending),
        }
    }

    /// Writes the intent, if something is weaker.
    pub(super) fn audit_weaker(
        &mut self,
        old: &Settings,
        new: &Settings,
        reason: Reason,
    ) -> Result<Option<PendingEvent>, WriteFailed> {
        let changes = weakened(old, new);
        if changes.is_empty() {
            return Ok(None);
        }
        let wall = self.wall();
        let act = weaken_act(changes, old, reason);
        self.journal.begin(act, wall).map(Some)
    }

    /// Writes the outcome: the weaker configuration is in force.
    pub(super) fn finish_weaker(&mut self, weaker: Option<PendingEvent>) {
        let Some(pending) = weaker else {
            return;
        };
        let changes = pending.act().changes.iter().map(ToString::to_string);
        let changes: Vec<_> = changes.collect();
        tracing::warn!(?changes, "the configuration protects less than before");
        let wall = self.wall();
        self.journal.finish(pending, Outcome::Done, wall);
    }

    /// Writes a reload, with what changed.
    pub(super) fn audit_reload(&mut self, what: String, before: &Settings) {
        let fact = Fact::ConfigurationReloaded {
            result: what.into(),
            changes: before.changes(&self.settings),
            policy: Some(self.settings.in_force()),
        };
        let wall = self.wall();
        if let Err(error) = self.journal.note_or_defer(fact, wall) {
            tracing::error!(error = %error.with_help(), "the reload is missing in the audit log; it is written as soon as the disk takes it");
        }
    }
}
