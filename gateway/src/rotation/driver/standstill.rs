//! Why publishes of a keyring wait: determined from the snapshot, and logged when it changes.

use crate::catalogue::Record;
use crate::rotation::report::PublishStall;

use super::keyring::ManagedKeyring;
use super::shared::Shared;

impl ManagedKeyring {
    /// Why nothing can be sealed under a keyring now. The record says what should seal, the snapshot what does. Failing random
    /// bytes are no case of it: the library aborts the process then.
    pub(super) fn stopped(&self, shared: &Shared) -> Option<PublishStall> {
        let keyring = shared.policy.by_name(self.name.as_str())?;
        let Some(active) = self.record(shared).and_then(Record::active) else {
            return Some(PublishStall::NoVersion);
        };
        if shared.loaded.is_halted(active.kid) {
            return Some(PublishStall::Halted);
        }
        if shared.keys.load().active(keyring).is_none() {
            return Some(PublishStall::NotLoaded);
        }
        if !self.is_exhausted(shared, active) {
            return None;
        }
        let reserved = self.reserve_failure.is_none();
        Some(if reserved {
            PublishStall::UsedUp
        } else {
            PublishStall::NotReserved
        })
    }

    /// Reports in log and metrics whether publishes have begun to wait since the last tick, or go on.
    pub(super) fn report_stall(&mut self, shared: &Shared) {
        let stopped = self.stopped(shared);
        if std::mem::replace(&mut self.stopped, stopped) == stopped {
            return;
        }
        self.meters.stopped(stopped.map(<&str>::from));
        let keyring = &self.name;
        match (stopped, self.status(shared).standstill()) {
            (Some(stopped), Some(what)) => {
                tracing::error!(%keyring, cause = <&str>::from(stopped), what, "publishes wait");
            }
            _ => tracing::info!(%keyring, "publishes go through again"),
        }
    }
}
