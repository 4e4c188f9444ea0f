//! The versions that are loaded: their secrets derived, their lanes and counters alive across snapshots.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::catalogue::{self, KeyError, Opens, Record, View};
use crate::envelope::Kid;
use crate::keyring::{Budget, LaneMap, Snapshot, Usage, Version};
use crate::policy::{KeyringId, KeyringName, Policy};

/// How many versions that open on demand are kept loaded; one more unloads the one asked for longest ago.
const ON_DEMAND: usize = 64;

/// Loaded versions.
pub(super) struct Loaded {
    policy: Arc<Policy>,
    workers: usize,
    versions: HashMap<Kid, Arc<Version>>,
    on_demand: VecDeque<Kid>,
    generation: u64,
}

/// What loading a version came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none that may open.
    Nothing,
    /// It was loaded before.
    Already,
    /// It is loaded now; the snapshot does not have it yet.
    Newly,
}

impl Loaded {
    pub(super) fn new(policy: Arc<Policy>, workers: usize) -> Self {
        Self {
            policy,
            workers,
            versions: HashMap::new(),
            on_demand: VecDeque::new(),
            generation: 0,
        }
    }

    pub(super) fn get(&self, kid: Kid) -> Option<&Arc<Version>> {
        self.versions.get(&kid)
    }

    /// Loads a version that the catalogue has and may open.
    pub(super) fn load(&mut self, view: &View, kid: Kid) -> Result<Found, KeyError> {
        let Some((keyring, version)) = view.find_by_kid(kid) else {
            return Ok(Found::Nothing);
        };
        match version.state.opens() {
            Opens::Yes => {}
            Opens::OnDemand => self.remember(kid),
            Opens::ByPolicy | Opens::No => return Ok(Found::Nothing),
        }
        self.hold(view, (keyring, version))
    }

    /// Loads a version that waits to be activated, so that activating it cannot fail for want of its secret.
    pub(super) fn hold_prepared(
        &mut self,
        view: &View,
        keyring: &KeyringName,
        number: u32,
    ) -> Result<Found, KeyError> {
        let version = view
            .record(keyring)
            .and_then(|record| record.version(number));
        version.map_or(Ok(Found::Nothing), |version| {
            self.hold(view, (keyring, version))
        })
    }

    /// Loads everything that opens without being asked for; one that cannot be loaded keeps no other from it.
    pub(super) fn load_all(&mut self, view: &View) -> Result<(), KeyError> {
        let kids = view
            .versions_that_open()
            .map(|(_keyring, version)| version.kid);
        let outcomes: Vec<_> = kids.map(|kid| self.load(view, kid).map(drop)).collect();
        outcomes.into_iter().collect()
    }

    fn hold(
        &mut self,
        view: &View,
        (keyring, version): (&KeyringName, &catalogue::Version),
    ) -> Result<Found, KeyError> {
        let Some(id) = self.policy.by_name(keyring.as_str()) else {
            return Ok(Found::Nothing);
        };
        if self.versions.contains_key(&version.kid) {
            return Ok(Found::Already);
        }
        let loaded = self.open(view, id, (keyring, version))?;
        self.versions.insert(version.kid, Arc::new(loaded));
        Ok(Found::Newly)
    }

    /// The snapshot that the catalogue and what is loaded make now. What may no longer open is unloaded by it.
    pub(super) fn snapshot(&mut self, view: &View) -> Snapshot {
        self.versions.retain(|kid, _version| {
            view.find_by_kid(*kid).is_some_and(|(_keyring, version)| {
                matches!(version.state.opens(), Opens::Yes | Opens::OnDemand)
            })
        });
        let records = self
            .policy
            .keyrings()
            .iter()
            .filter_map(|rule| view.record(&rule.name));
        let active = records
            .filter_map(Record::active)
            .filter_map(|version| self.versions.get(&version.kid))
            .cloned();
        self.generation = self.generation.saturating_add(1);
        Snapshot::new(
            Arc::clone(&self.policy),
            active.collect(),
            self.versions.values().cloned().collect(),
            self.generation,
        )
    }

    fn open(
        &self,
        view: &View,
        id: KeyringId,
        (keyring, version): (&KeyringName, &catalogue::Version),
    ) -> Result<Version, KeyError> {
        Ok(Version {
            keyring: id,
            number: version.number,
            label: version.label.as_str().to_owned(),
            suite: version.suite,
            key: view.version_key(keyring, version.number)?,
            lanes: LaneMap::default(),
            usage: Usage::new(self.workers),
            budget: self.budget(keyring, version),
        })
    }

    /// What may be sealed under a version: everything, until budgets are reserved in the catalogue.
    fn budget(&self, _keyring: &KeyringName, _version: &catalogue::Version) -> Arc<Budget> {
        Arc::new(Budget::unlimited(self.workers))
    }

    fn remember(&mut self, kid: Kid) {
        self.on_demand.retain(|remembered| *remembered != kid);
        self.on_demand.push_back(kid);
        if self.on_demand.len() > ON_DEMAND
            && let Some(oldest) = self.on_demand.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }
}
