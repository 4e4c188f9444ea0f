//! Whether a client that connects now would be served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::catalogue::State;
use crate::dataplane::Reach;
use crate::rotation::KeyringStatus;

/// How the gateway is. Clones share it.
///
/// It serves as long as it is there: administration starts after the listeners of clients. What can change later is that it is
/// asked to stop, and that the server cannot be reached.
#[derive(Clone)]
pub struct Health {
    draining: Arc<AtomicBool>,
    reach: Reach,
}

impl Health {
    /// A gateway whose listeners are open, and whose dials `reach` tells of.
    #[must_use]
    pub fn serving(reach: Reach) -> Self {
        Self {
            draining: Arc::default(),
            reach,
        }
    }

    /// From now on no client is accepted.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What speaks against sending clients here; empty: nothing.
    pub(super) fn reasons(&self, keyrings: &[KeyringStatus]) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push("the gateway is stopping and accepts no clients".to_owned());
        }
        if !self.reach.is_good() {
            reasons.push("no NATS server can be reached".to_owned());
        }
        let idle = keyrings.iter().filter(|keyring| !seals(keyring));
        reasons.extend(idle.map(|keyring| {
            let name = &keyring.keyring;
            format!("keyring `{name}` has no active key version: nothing can be sealed under it")
        }));
        reasons
    }
}

fn seals(keyring: &KeyringStatus) -> bool {
    keyring
        .versions
        .iter()
        .any(|version| version.state == State::Active)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Terms;
    use crate::rotation::engine::Outlook;

    #[test]
    fn every_reason_is_told_and_none_is_made_up() {
        let reach = Reach::default();
        let health = Health::serving(reach.clone());
        assert!(health.reasons(&[]).is_empty());
        reach.lost();
        health.draining();
        let idle = KeyringStatus {
            keyring: "agents".parse().unwrap(),
            terms: Terms::default(),
            subjects: Vec::new(),
            versions: Vec::new(),
            outlook: Outlook::default(),
        };
        let reasons = health.reasons(&[idle]).join("\n");
        for word in ["stopping", "NATS server", "`agents`"] {
            assert!(reasons.contains(word), "{reasons}");
        }
        reach.found();
        assert_eq!(health.reasons(&[]).len(), 1);
    }
}
