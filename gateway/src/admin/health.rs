//! Whether a client that connects now would be served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::dataplane::Reachability;
use crate::operations::Readiness;
use crate::rotation::engine::RotationStage;
use crate::rotation::{KeyringStatus, Overview, PublishStall};

/// What a full disk, a rollback and a disk that cannot be read mean.
const UNRESERVED: &str =
    "the audit log has no reserve, so that a full disk may keep a revocation from being written";
const ROLLED_BACK: &str =
    "a record on disk is not the one in force, so that nothing more can be written to it";
const UNREAD: &str =
    "the records on disk cannot be read, so that nothing more can be written to them";

/// The state behind `/readyz`. Clones share it.
///
/// Administration starts after the listeners of clients. What can change later: the gateway is told to stop, the server cannot be
/// reached, or no key version seals.
#[derive(Clone)]
pub struct Health {
    draining: Arc<AtomicBool>,
    /// The message to show where the gateway seals nothing.
    relay_only: Arc<OnceLock<String>>,
    reach: Reachability,
}

impl Health {
    /// A gateway with open listeners; `reach` says whether its server can be reached.
    #[must_use]
    pub fn serving(reach: Reachability) -> Self {
        Self {
            draining: Arc::default(),
            relay_only: Arc::default(),
            reach,
        }
    }

    /// No client is accepted from now on.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The gateway forwards payloads unsealed; `what` is shown as a degradation.
    pub fn set_relay_only(&self, what: String) {
        self.relay_only.get_or_init(|| what);
    }

    /// Whether clients should be sent here, and what is degraded although clients are served.
    #[must_use]
    pub fn readiness(&self, overview: &Overview) -> Readiness {
        let keyrings = &overview.keyrings;
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push("the gateway is stopping and accepts no clients".to_owned());
        }
        if !self.reach.is_reachable() {
            reasons.push("no NATS server can be reached".to_owned());
        }
        reasons.extend(keyrings.iter().filter_map(blocked_reason));
        let faults = [
            (&overview.rolled_back, ROLLED_BACK),
            (&overview.unread, UNREAD),
            (&overview.unreserved, UNRESERVED),
        ];
        let faults = faults.into_iter().filter_map(|(why, what)| {
            let why = why.as_ref()?;
            Some(format!("{what}: {why}"))
        });
        let degraded = keyrings.iter().filter_map(degraded_reason);
        let degraded = degraded.chain(self.relay_only.get().cloned());
        Readiness {
            ready: reasons.is_empty(),
            reasons,
            degraded: degraded.chain(faults).collect(),
        }
    }
}

/// Why publishes on the keyring's subjects wait, where that will not end soon.
fn blocked_reason(status: &KeyringStatus) -> Option<String> {
    let standstill = status.standstill();
    standstill.filter(|_what| !is_version_pending(status))
}

/// What is degraded, although clients are served.
fn degraded_reason(status: &KeyringStatus) -> Option<String> {
    let keyring = &status.keyring;
    if is_version_pending(status) {
        return Some(format!(
            "keyring `{keyring}` has no active key version yet; one is being made"
        ));
    }
    let failure = status.outlook.failure.as_ref()?;
    if blocked_reason(status).is_some_and(|why| why.contains(failure)) {
        return None;
    }
    Some(format!("keyring `{keyring}`: key events fail: {failure}"))
}

/// No version seals yet, but one is being made, without failures so far.
fn is_version_pending(status: &KeyringStatus) -> bool {
    status.stopped == Some(PublishStall::NoVersion)
        && status.outlook.stage != RotationStage::None
        && status.outlook.failure.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Terms;
    use crate::rotation::report::OutlookReport;

    fn idle(outlook: OutlookReport) -> Overview {
        let name = "agents".parse().unwrap();
        let keyring = KeyringStatus {
            stopped: Some(PublishStall::NoVersion),
            ..KeyringStatus::new(&name, None, &Terms::default(), outlook)
        };
        Overview {
            keyrings: vec![keyring],
            ..Overview::default()
        }
    }

    #[test]
    fn every_reason_is_told_and_none_is_made_up() {
        let reach = Reachability::default();
        let health = Health::serving(reach.clone());
        let nothing = Overview::default();
        assert!(health.readiness(&nothing).ready);
        reach.lost();
        health.set_draining();
        let reasons = health.readiness(&idle(OutlookReport::default())).reasons;
        let reasons = reasons.join("\n");
        for word in ["stopping", "NATS server", "`agents`"] {
            assert!(reasons.contains(word), "{reasons}");
        }
        reach.found();
        assert_eq!(health.readiness(&nothing).reasons.len(), 1);
    }

    #[test]
    fn log_without_a_reserve_degrades_and_keeps_no_client_away() {
        let health = Health::serving(Reachability::default());
        let overview = Overview {
            unreserved: Some("the disk is full".to_owned()),
            ..Overview::default()
        };
        let readiness = health.readiness(&overview);
        assert!(readiness.ready && readiness.degraded.len() == 1);
        let said = readiness.degraded.concat();
        assert!(
            said.contains("revocation") && said.contains("disk is full"),
            "{said}"
        );
    }

    #[test]
    fn version_that_is_being_made_degrades_and_one_that_cannot_be_made_keeps_clients_away() {
        let health = Health::serving(Reachability::default());
        let mut outlook = OutlookReport {
            stage: RotationStage::Generate,
            ..OutlookReport::default()
        };
        let soon = health.readiness(&idle(outlook.clone()));
        assert!(soon.ready && soon.degraded.len() == 1, "{soon:?}");
        outlook.failure = Some("the disk is full".to_owned());
        let never = health.readiness(&idle(outlook));
        assert!(!never.ready, "{never:?}");
        let said = [never.reasons, never.degraded].concat().concat();
        assert_eq!(said.matches("disk is full").count(), 1, "{said}");
    }
}
