//! Why publishes of a keyring wait: determined from the snapshot, and logged when it changes.

use crate::catalogue::Record;
use crate::rotation::report::PublishStall;

use super::Driver;

impl Driver {
    /// Why nothing can be sealed under a keyring now. The record says what should seal, the snapshot what does. Failing random
    /// bytes are no case of it: the library aborts the process then.
    pub(super) fn stopped(&self, index: usize) -> Option<PublishStall> {
        let managed = self.keyrings.get(index)?;
        let keyring = self.policy.by_name(managed.keyring.as_str())?;
        let Some(active) = self.record(index).and_then(Record::active) else {
            return Some(PublishStall::NoVersion);
        };
        if self.loaded.is_halted(active.kid) {
            return Some(PublishStall::Halted);
        }
        if self.keys.load().active(keyring).is_none() {
            return Some(PublishStall::NotLoaded);
        }
        if !self.is_exhausted(index, active) {
            return None;
        }
        let reserved = managed.reserve_failure.is_none();
        Some(if reserved {
            PublishStall::UsedUp
        } else {
            PublishStall::NotReserved
        })
    }

    /// Reports in log and metrics for which keyrings publishes have begun to wait since the last tick, and for which they go on.
    pub(super) fn report_stalls(&mut self) {
        for index in 0..self.keyrings.len() {
            let stopped = self.stopped(index);
            let Some(managed) = self.keyrings.get_mut(index) else {
                continue;
            };
            if std::mem::replace(&mut managed.stopped, stopped) == stopped {
                continue;
            }
            managed.meters.stopped(stopped.map(PublishStall::word));
            let keyring = managed.keyring.clone();
            let what = self.status_of(index).and_then(|status| status.standstill());
            match (stopped, what) {
                (Some(stopped), Some(what)) => {
                    tracing::error!(%keyring, cause = stopped.word(), what, "publishes wait");
                }
                _ => tracing::info!(%keyring, "publishes go through again"),
            }
        }
    }
}
