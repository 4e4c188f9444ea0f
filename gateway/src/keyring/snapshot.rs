//! The keys valid now: the version that each keyring seals under, and the versions that open.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Kid, Suite, VersionKey, Volume};
use crate::policy::{KeyringId, Policy};

use super::{Budget, LaneMap, Usage};

/// One loaded key version. The snapshot says whether it seals.
pub struct Version {
    /// The keyring it belongs to.
    pub keyring: KeyringId,
    /// Its number in that keyring, from 1.
    pub number: u32,
    /// Its label.
    pub label: String,
    /// The suite it seals with.
    pub suite: Suite,
    /// The key that lane keys are derived from.
    pub key: VersionKey,
    /// Its shared lane keys.
    pub lanes: LaneMap,
    /// What this process has sealed and opened under it.
    pub usage: Usage,
    /// What this process may still seal under it.
    pub budget: Arc<Budget>,
}

/// Why a known key version may not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is not active yet.
    PreActive,
    /// Suspended by an operator.
    Suspended,
    /// Its secret may have been disclosed.
    Compromised,
    /// Its secret has been destroyed.
    Destroyed,
    /// Its keyring is not in the configuration.
    Unserved,
}

/// Policy and keys for the message path, immutable.
pub struct Snapshot {
    policy: Arc<Policy>,
    /// For each keyring, the version that seals; without one, publishes on its subjects wait.
    active: Box<[Option<Arc<Version>>]>,
    by_kid: HashMap<Kid, Arc<Version>, foldhash::fast::RandomState>,
    on_demand: Arc<HashSet<Kid>>,
    closed: Arc<HashMap<Kid, Closed>>,
    first_key: Option<u64>,
    generation: u64,
}

/// The clock skew allowed to servers that store messages.
const CLOCKS: Duration = Duration::from_mins(10);

impl Version {
    /// The kid that travels in its envelopes.
    #[must_use]
    pub fn kid(&self) -> Kid {
        self.key.kid()
    }

    /// Drains the budget; whether no lane holds a grant any more. A batch that began under an older snapshot may still hold one:
    /// call it again.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.budget.drain();
        self.budget.outstanding(self.usage.total()) == Volume::default()
    }
}

impl Snapshot {
    /// A snapshot of `policy` in which `active` seal (at most one per keyring), and both `active` and `opening` open.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        active: Vec<Arc<Version>>,
        opening: Vec<Arc<Version>>,
        generation: u64,
    ) -> Self {
        let mut sealing = vec![None; policy.keyrings().len()].into_boxed_slice();
        let mut by_kid = HashMap::default();
        for version in opening.into_iter().chain(active.iter().cloned()) {
            by_kid.insert(version.kid(), version);
        }
        for version in active {
            if let Some(place) = sealing.get_mut(version.keyring.index()) {
                *place = Some(version);
            }
        }
        Self {
            policy,
            active: sealing,
            by_kid,
            on_demand: Arc::default(),
            closed: Arc::default(),
            first_key: None,
            generation,
        }
    }

    /// Adds the versions that are loaded on demand.
    #[must_use]
    pub fn with_on_demand(self, kids: HashSet<Kid>) -> Self {
        Self {
            on_demand: Arc::new(kids),
            ..self
        }
    }

    /// Adds versions that may not open, and why: those of which messages are likely to arrive.
    #[must_use]
    pub fn with_closed(self, kids: HashMap<Kid, Closed>) -> Self {
        Self {
            closed: Arc::new(kids),
            ..self
        }
    }

    /// Adds the creation time of the first of all key versions, in nanoseconds since 1970.
    #[must_use]
    pub fn with_first_key(self, made: Option<u64>) -> Self {
        Self {
            first_key: made,
            ..self
        }
    }

    /// The next snapshot, in which the same versions open, and none seals.
    #[must_use]
    pub fn sealing_nothing(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            active: vec![None; self.active.len()].into_boxed_slice(),
            by_kid: self.by_kid.clone(),
            on_demand: Arc::clone(&self.on_demand),
            closed: Arc::clone(&self.closed),
            first_key: self.first_key,
            generation: self.generation.saturating_add(1),
        }
    }

    /// Whether a message was stored (nanoseconds since 1970) before the first key version was made, so that no gateway has sealed
    /// it.
    #[must_use]
    pub fn is_older_than_keys(&self, stored: u64) -> bool {
        let later = Duration::from_nanos(stored).saturating_add(CLOCKS);
        self.first_key
            .is_some_and(|made| later < Duration::from_nanos(made))
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The version that the keyring seals under.
    #[must_use]
    pub fn active(&self, keyring: KeyringId) -> Option<&Arc<Version>> {
        self.active.get(keyring.index())?.as_ref()
    }

    /// The versions that seal, one at most per keyring.
    pub fn sealing(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.active.iter().flatten()
    }

    /// The version with this kid, if it is loaded.
    #[must_use]
    pub fn by_kid(&self, kid: Kid) -> Option<&Arc<Version>> {
        self.by_kid.get(&kid)
    }

    /// The kids of versions that are loaded on demand, loaded now or not.
    #[must_use]
    pub const fn on_demand(&self) -> &Arc<HashSet<Kid>> {
        &self.on_demand
    }

    /// Known versions that may not open. The oldest of many destroyed ones may be missing; [`super::Keys::miss`] knows them.
    #[must_use]
    pub const fn closed(&self) -> &Arc<HashMap<Kid, Closed>> {
        &self.closed
    }

    /// All loaded versions, in no order.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.by_kid.values()
    }

    /// Grows with every snapshot; caches refresh when it has changed.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}
