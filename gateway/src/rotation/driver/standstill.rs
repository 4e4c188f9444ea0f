//! Why publishes of a keyring wait: determined from the snapshot, and logged when it changes.

use crate::catalogue::Record;
use crate::rotation::report::Stopped;

use super::Driver;

impl Driver {
    /// Why nothing can be sealed under a keyring now. The record says what should seal, the snapshot what does. Failing random
    /// bytes are no case of it: the library aborts the process then.
    pub(super) fn stopped(&self, index: usize) -> Option<Stopped> {
        let driven = self.rings.get(index)?;
        let keyring = self.policy.by_name(driven.keyring.as_str())?;
        let Some(active) = self.record(index).and_then(Record::active) else {
            return Some(Stopped::NoVersion);
        };
        if self.loaded.is_halted(active.kid) {
            return Some(Stopped::Halted);
        }
        if self.keys.load().active(keyring).is_none() {
            return Some(Stopped::NotLoaded);
        }
        if !self.is_exhausted(index, active) {
            return None;
        }
        let reserved = driven.unreserved.is_none();
        Some(if reserved {
            Stopped::UsedUp
        } else {
            Stopped::NotReserved
        })
    }

    /// Reports in log and metrics for which keyrings publishes have begun to wait since the last tick, and for which they go on.
    pub(super) fn announce(&mut self) {
        for index in 0..self.rings.len() {
            let stopped = self.stopped(index);
            let Some(driven) = self.rings.get_mut(index) else {
                continue;
            };
            if std::mem::replace(&mut driven.stopped, stopped) == stopped {
                continue;
            }
            driven.meters.stopped(stopped.map(Stopped::word));
            let keyring = driven.keyring.clone();
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
