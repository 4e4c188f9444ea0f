//! Key versions for benches, without custody or catalogue.

use std::sync::Arc;

use keyway::envelope::{Suite, VersionKey};
use keyway::keyring::{Budget, LaneMap, Snapshot, Usage, Version};
use keyway::policy::{KeyringId, Policy};
use keyway::secret::Secret;

/// The keyring that covers all subjects.
pub const KEYRING: &str = "default";

/// The subject of all messages.
pub const SUBJECT: &[u8] = b"agents.planner.17.tasks";

/// A fresh version of [`KEYRING`].
#[must_use]
pub fn version(policy: &Policy, number: u32) -> Arc<Version> {
    let root = Secret::random().unwrap();
    Arc::new(Version {
        keyring: keyring_id(policy),
        number,
        label: format!("{KEYRING}.{number}"),
        suite: Suite::Aes256Gcm,
        key: VersionKey::derive(KEYRING, number, &root),
        lanes: LaneMap::default(),
        usage: Usage::new(1),
        budget: Arc::new(Budget::unlimited(1)),
    })
}

/// The id of [`KEYRING`].
#[must_use]
pub fn keyring_id(policy: &Policy) -> KeyringId {
    policy.by_name(KEYRING).unwrap()
}

/// A snapshot with `versions` versions, the last of which seals.
#[must_use]
pub fn snapshot(versions: u32) -> Snapshot {
    let policy = Arc::new(Policy::everything());
    let all: Vec<_> = (1..=versions)
        .map(|number| version(&policy, number))
        .collect();
    let active = all.last().cloned().into_iter().collect();
    Snapshot::new(policy, active, all, 1)
}
