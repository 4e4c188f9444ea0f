//! What is valid now: which version each keyring seals under, and which versions open.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Kid, Suite, Used, VersionKey};
use crate::policy::{KeyringId, Policy};

use super::{Budget, LaneMap, Usage};

/// One key version, loaded. Whether it still seals is not its own affair but the snapshot's.
pub struct Version {
    /// The keyring it belongs to.
    pub keyring: KeyringId,
    /// Its number in that keyring, from 1.
    pub number: u32,
    /// Its name for people.
    pub label: String,
    /// The suite it seals with.
    pub suite: Suite,
    /// What lanes are derived from.
    pub key: VersionKey,
    /// The lanes under which something has been opened.
    pub lanes: LaneMap,
    /// What has been sealed and opened under it here.
    pub usage: Usage,
    /// What may still be sealed under it here.
    pub budget: Arc<Budget>,
}

/// Why a key version that is known does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is not active yet, nor ready to be.
    PreActive,
    /// An operator investigates.
    Suspended,
    /// It is known to somebody who should not know it.
    Compromised,
    /// Its secret is gone.
    Destroyed,
    /// Its keyring is not in the configuration.
    Unserved,
}

/// One keyring at this instant.
#[derive(Clone)]
pub struct Ring {
    /// The version that seals; without one, publishes on the keyring's subjects wait.
    pub active: Option<Arc<Version>>,
}

/// Everything the message path needs to know, immutable.
pub struct Snapshot {
    policy: Arc<Policy>,
    rings: Box<[Ring]>,
    by_kid: HashMap<Kid, Arc<Version>, foldhash::fast::RandomState>,
    on_demand: Arc<HashSet<Kid>>,
    closed: Arc<HashMap<Kid, Closed>>,
    first_key: Option<u64>,
    generation: u64,
}

/// By how much the clock of a server that stores messages may be behind.
const CLOCKS: Duration = Duration::from_mins(10);

impl Version {
    /// The kid that travels in its envelopes.
    #[must_use]
    pub fn kid(&self) -> Kid {
        self.key.kid()
    }

    /// Takes what is left of the budget; whether no lane holds a grant any more, nor gets another. A batch that began under an older
    /// snapshot may still ask for one, so this is asked again.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.budget.drain();
        self.budget.outstanding(self.usage.total()) == Used::default()
    }
}

impl Snapshot {
    /// A snapshot of `policy` in which `active` seal (one at most per keyring) and `opening` open, besides those that seal.
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        active: Vec<Arc<Version>>,
        opening: Vec<Arc<Version>>,
        generation: u64,
    ) -> Self {
        let mut rings = vec![Ring { active: None }; policy.keyrings().len()].into_boxed_slice();
        let mut by_kid = HashMap::default();
        for version in opening.into_iter().chain(active.iter().cloned()) {
            by_kid.insert(version.kid(), version);
        }
        for version in active {
            if let Some(ring) = rings.get_mut(version.keyring.index()) {
                ring.active = Some(version);
            }
        }
        Self {
            policy,
            rings,
            by_kid,
            on_demand: Arc::default(),
            closed: Arc::default(),
            first_key: None,
            generation,
        }
    }

    /// The same, knowing which versions can be loaded when something asks for them.
    #[must_use]
    pub fn with_on_demand(self, kids: HashSet<Kid>) -> Self {
        Self {
            on_demand: Arc::new(kids),
            ..self
        }
    }

    /// The same, knowing which versions do not open, and why: those whose messages are likely to come still.
    #[must_use]
    pub fn with_closed(self, kids: HashMap<Kid, Closed>) -> Self {
        Self {
            closed: Arc::new(kids),
            ..self
        }
    }

    /// The same, knowing when the first of all key versions was made, in nanoseconds since 1970.
    #[must_use]
    pub fn with_first_key(self, made: Option<u64>) -> Self {
        Self {
            first_key: made,
            ..self
        }
    }

    /// The next one, in which everything opens as in this, and nothing seals.
    #[must_use]
    pub fn sealing_nothing(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            rings: vec![Ring { active: None }; self.rings.len()].into_boxed_slice(),
            by_kid: self.by_kid.clone(),
            on_demand: Arc::clone(&self.on_demand),
            closed: Arc::clone(&self.closed),
            first_key: self.first_key,
            generation: self.generation.saturating_add(1),
        }
    }

    /// Whether a message was stored, in nanoseconds since 1970, when there was no key yet, so that it is none of ours.
    #[must_use]
    pub fn is_older_than_keys(&self, stored: u64) -> bool {
        let later = Duration::from_nanos(stored).saturating_add(CLOCKS);
        self.first_key
            .is_some_and(|made| later < Duration::from_nanos(made))
    }

    /// Which subjects are protected, and how.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The version that the keyring seals under.
    #[must_use]
    pub fn active(&self, keyring: KeyringId) -> Option<&Arc<Version>> {
        self.rings
            .get(keyring.index())
            .and_then(|ring| ring.active.as_ref())
    }

    /// The versions that seal, one at most per keyring.
    pub fn sealing(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.rings.iter().filter_map(|ring| ring.active.as_ref())
    }

    /// The version with this kid, when it may open.
    #[must_use]
    pub fn by_kid(&self, kid: Kid) -> Option<&Arc<Version>> {
        self.by_kid.get(&kid)
    }

    /// The kids of versions that are loaded when something asks for them, whether or not they are loaded now.
    #[must_use]
    pub const fn on_demand(&self) -> &Arc<HashSet<Kid>> {
        &self.on_demand
    }

    /// Versions that are known and do not open. The oldest of many that are destroyed may be missing: [`super::Keys::miss`] knows them.
    #[must_use]
    pub const fn closed(&self) -> &Arc<HashMap<Kid, Closed>> {
        &self.closed
    }

    /// All versions that may open, in no order.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.by_kid.values()
    }

    /// Grows with every snapshot; tells a cache that it may hold what is gone.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}
