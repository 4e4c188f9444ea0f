//! The loaded key versions: secrets, lanes, counters and budgets, which outlive a snapshot.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::catalogue::{self, KeyError, Opens, State, View};
use crate::envelope::limits::FAILED_OPENS_ALARM;
use crate::envelope::{Kid, VersionKey, Volume};
use crate::keyring::{Budget, Closed, LaneMap, Snapshot, Usage, Version};
use crate::later::Later;
use crate::policy::{KeyringId, KeyringName, Policy};
use crate::rotation::terms::OpenPolicy;

/// How many versions that open on demand are kept loaded (LRU).
pub(super) const MAX_ON_DEMAND: u32 = 256;

/// How many versions that do not open the snapshot names.
const MOST_CLOSED: usize = 4096;

/// How many lanes of a version that opens on demand are kept: few connections read it at a time.
const LANES_ON_DEMAND: usize = 512;

pub(super) struct Loaded {
    policy: Arc<Policy>,
    /// Whether suspended and compromised versions open, by keyring.
    open: HashMap<KeyringName, OpenPolicy>,
    workers: usize,
    refill: Arc<Notify>,
    versions: HashMap<Kid, LoadedVersion>,
    on_demand: VecDeque<Kid>,
    /// Versions under which nothing may be sealed, whatever the catalogue says, and why.
    halted: HashSet<(Kid, Halt)>,
    /// Whether anything may be sealed at all.
    sealing: Sealing,
    /// The counts of suspended and compromised versions that were unloaded, for reports.
    unloaded_counts: HashMap<Kid, SealedCount>,
    generation: u64,
    /// Versions whose secrets are being unwrapped.
    loading: HashSet<Kid>,
    /// Of those, what has yet to be waited for.
    begun: Vec<KeyLoad>,
}

/// A version's key, once its secret is unwrapped.
pub(super) type KeyLoad = Later<'static, (Kid, Result<VersionKey, KeyError>)>;

/// Why nothing may be sealed under a version, whatever the catalogue says. Reasons are set and cleared independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Halt {
    /// It was revoked or suspended, whether or not that could be recorded. Ends when the order is reverted.
    Ordered,
    /// A mark in the state directory says so. Ends with the mark.
    Marked,
    /// The writer is about to record that it stops sealing. Ends when the catalogue has been read after that.
    Stopping,
}

/// Whether this process may seal at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealing {
    Allowed,
    /// It neither holds the lock of the state directory nor has a link to the process that does.
    Forbidden,
}

/// What has been sealed under a version.
#[derive(Clone)]
pub(super) struct SealedCount {
    usage: Usage,
    budget: Arc<Budget>,
    /// Reserved before it was loaded, and known to be sealed of that.
    reserved_before: Volume,
    sealed_before: Volume,
    lanes_before: u64,
}

/// A loaded version and its counts.
pub(super) struct LoadedVersion {
    pub(super) version: Arc<Version>,
    count: SealedCount,
    /// Envelopes opened at the last tick, and when that number last grew.
    opened: u64,
    pub(super) last_opened: Option<Instant>,
    /// Envelopes that did not open, at the last tick.
    failed: u64,
}

/// Changes of counters since the last tick.
#[derive(Default)]
pub(super) struct OpenCounts {
    /// Keyrings, and how many more envelopes did not open.
    pub(super) failed: Vec<(KeyringId, u64)>,
    /// Versions that reached the alarm threshold: keyring, label, failed opens.
    pub(super) alarms: Vec<(String, String, u64)>,
}

/// The outcome of loading a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadOutcome {
    /// There is no such version.
    Nothing,
    /// It does not open.
    Closed(Closed),
    /// It was loaded before.
    Already,
    /// Its secret is being unwrapped.
    Loading,
    /// It is loaded now, and not in the snapshot yet.
    Newly,
}

impl Loaded {
    pub(super) fn new(policy: Arc<Policy>, workers: usize, refill: Arc<Notify>) -> Self {
        Self {
            policy,
            open: HashMap::new(),
            workers,
            refill,
            versions: HashMap::new(),
            on_demand: VecDeque::new(),
            halted: HashSet::new(),
            sealing: Sealing::Allowed,
            unloaded_counts: HashMap::new(),
            generation: 0,
            loading: HashSet::new(),
            begun: Vec::new(),
        }
    }

    /// Numbers snapshots from here on.
    pub(super) const fn continue_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    pub(super) fn configure(
        &mut self,
        policy: Arc<Policy>,
        open: HashMap<KeyringName, OpenPolicy>,
    ) {
        self.policy = policy;
        self.open = open;
    }

    /// Replaces the rules of the same keyrings.
    pub(super) fn replace_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    pub(super) fn get(&self, kid: Kid) -> Option<&LoadedVersion> {
        self.versions.get(&kid)
    }

    /// The counts of a version that is loaded, or was.
    pub(super) fn count(&self, kid: Kid) -> Option<&SealedCount> {
        let held = self.versions.get(&kid).map(|held| &held.count);
        held.or_else(|| self.unloaded_counts.get(&kid))
    }

    /// Accounts for a durable reservation that is lent to another process.
    pub(super) fn lent(&mut self, kid: Kid, part: Volume) {
        if let Some(held) = self.versions.get_mut(&kid) {
            held.version.budget.lend(part);
            held.count.reserved_before = held.count.reserved_before.plus(part);
        }
    }

    /// Accounts for the end of sealing in another process: what it returns unused, and what it has sealed.
    pub(super) fn returned(&mut self, kid: Kid, unused: Volume, sealed: Volume) {
        let held = self.versions.get_mut(&kid).map(|held| &mut held.count);
        if let Some(count) = held.or_else(|| self.unloaded_counts.get_mut(&kid)) {
            count.reserved_before = count.reserved_before.minus(unused);
            count.sealed_before = count.sealed_before.plus(sealed);
        }
    }

    /// Unloads a version, to be loaded anew from its record.
    pub(super) fn forget(&mut self, kid: Kid) {
        self.versions.remove(&kid);
    }

    pub(super) fn halt(&mut self, kid: Kid, why: Halt) {
        self.halted.insert((kid, why));
    }

    pub(super) fn is_halted(&self, kid: Kid) -> bool {
        let whys = [Halt::Ordered, Halt::Marked, Halt::Stopping];
        let mut halts = whys.into_iter().map(|why| (kid, why));
        self.sealing == Sealing::Forbidden || halts.any(|halt| self.halted.contains(&halt))
    }

    /// Clears one reason; without others the catalogue decides again.
    pub(super) fn release(&mut self, kid: Kid, why: Halt) {
        self.halted.remove(&(kid, why));
    }

    pub(super) const fn forbid_sealing(&mut self) {
        self.sealing = Sealing::Forbidden;
    }

    /// Lets the catalogue decide again; yields whether anything changed.
    pub(super) fn allow_sealing(&mut self) -> bool {
        std::mem::replace(&mut self.sealing, Sealing::Allowed) == Sealing::Forbidden
    }

    /// Loads a version that the catalogue has and may open, or begins to: then [`Loaded::take_key`] gets its key.
    pub(super) fn load(&mut self, view: &View, kid: Kid) -> Result<LoadOutcome, KeyError> {
        let Some((keyring, version)) = view.find_by_kid(kid) else {
            return Ok(LoadOutcome::Nothing);
        };
        if let Some(closed) = self.closed_by(keyring, version) {
            return Ok(LoadOutcome::Closed(closed));
        }
        let opens = self.opens(keyring, version);
        let found = self.load_if_absent(view, (keyring, version))?;
        if opens == Opens::OnDemand && found != LoadOutcome::Nothing {
            self.touch(kid);
        }
        Ok(found)
    }

    /// What has to be loaded of the versions that always open.
    pub(super) fn missing(&self, view: &View) -> Vec<KeyLoad> {
        let opening = view.versions_that_open().filter(|(keyring, version)| {
            let served = self.policy.by_name(keyring.as_str()).is_some();
            served && !self.versions.contains_key(&version.kid)
        });
        let loads = opening.map(|(keyring, version)| load_key(view, keyring, version));
        loads.collect()
    }

    /// The same for all versions that always open. A failure does not keep the others from being loaded.
    pub(super) fn load_all(&mut self, view: &View) -> Result<(), KeyError> {
        let kids = view
            .versions_that_open()
            .map(|(_keyring, version)| version.kid);
        let outcomes: Vec<_> = kids.map(|kid| self.load(view, kid).map(drop)).collect();
        outcomes.into_iter().collect()
    }

    /// Forgets what is being loaded, which nobody waits for any more.
    pub(super) fn forget_loads(&mut self) {
        self.loading.clear();
        self.begun.clear();
    }

    /// The loads that have begun and that the caller has to wait for.
    pub(super) fn take_begun(&mut self) -> Vec<KeyLoad> {
        std::mem::take(&mut self.begun)
    }

    pub(super) fn is_loading(&self, kid: Kid) -> bool {
        self.loading.contains(&kid)
    }

    /// Whether its secret would have to be unwrapped.
    pub(super) fn begins_load(&self, kid: Kid) -> bool {
        !self.versions.contains_key(&kid) && !self.loading.contains(&kid)
    }

    /// Takes an unwrapped key, unless the version may not be loaded any more.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(super) fn take_key(
        &mut self,
        view: &View,
        kid: Kid,
        key: Result<VersionKey, KeyError>,
    ) -> Result<(), KeyError> {
        self.loading.remove(&kid);
        let key = key?;
        let found = view.find_by_kid(kid).and_then(|(keyring, version)| {
            let id = self.policy.by_name(keyring.as_str())?;
            let stays =
                version.state == State::PreActive || self.opens(keyring, version) != Opens::No;
            stays.then_some((id, keyring, version))
        });
        if let Some((id, keyring, version)) = found
            && !self.versions.contains_key(&kid)
        {
            let opens = self.opens(keyring, version);
            let held = self.held(id, version, (key, opens));
            self.versions.insert(kid, held);
            if opens == Opens::OnDemand {
                self.touch(kid);
            }
        }
        Ok(())
    }

    /// Samples the counters of opened envelopes and of those that did not open.
    pub(super) fn count_opens(&mut self, now: Instant) -> OpenCounts {
        let mut seen = OpenCounts::default();
        for held in self.versions.values_mut() {
            let opened = held.version.usage.opened();
            if opened != held.opened {
                held.opened = opened;
                held.last_opened = Some(now);
            }
            let failed = held.version.usage.failed_opens();
            let before = std::mem::replace(&mut held.failed, failed);
            if failed != before {
                let keyring = held.version.keyring;
                seen.failed.push((keyring, failed.saturating_sub(before)));
            }
            if before < FAILED_OPENS_ALARM && failed >= FAILED_OPENS_ALARM {
                let rule = self.policy.keyring(held.version.keyring);
                let keyring = rule.map(|rule| rule.name.to_string());
                let label = held.version.label.clone();
                seen.alarms
                    .push((keyring.unwrap_or_default(), label, failed));
            }
        }
        seen
    }

    /// The number of the oldest version of a keyring that has opened something since.
    pub(super) fn oldest_opened(&self, keyring: KeyringId, since: Option<Instant>) -> Option<u32> {
        let late = |held: &&LoadedVersion| {
            held.version.keyring == keyring && held.last_opened.is_some_and(|at| Some(at) >= since)
        };
        let numbers = self.versions.values().filter(late);
        numbers.map(|held| held.version.number).min()
    }

    fn load_if_absent(
        &mut self,
        view: &View,
        (keyring, version): (&KeyringName, &catalogue::Version),
    ) -> Result<LoadOutcome, KeyError> {
        if self.policy.by_name(keyring.as_str()).is_none() {
            return Ok(LoadOutcome::Nothing);
        }
        let kid = version.kid;
        if self.versions.contains_key(&kid) {
            return Ok(LoadOutcome::Already);
        }
        if self.loading.contains(&kid) {
            return Ok(LoadOutcome::Loading);
        }
        let mut load = load_key(view, keyring, version);
        let Some((_kid, key)) = (&mut load).now_or_never() else {
            self.loading.insert(kid);
            self.begun.push(load);
            return Ok(LoadOutcome::Loading);
        };
        self.take_key(view, kid, key)?;
        Ok(LoadOutcome::Newly)
    }

    /// The versions that seal: active in the catalogue, and not halted.
    pub(super) fn sealing(&self, view: &View) -> Vec<Kid> {
        let names = self.policy.keyrings().iter().map(|rule| &rule.name);
        let active = names.filter_map(|name| view.record(name)?.active());
        let kids = active.map(|version| version.kid);
        kids.filter(|kid| !self.is_halted(*kid)).collect()
    }

    /// A new snapshot. Unloads what may no longer open.
    pub(super) fn snapshot(&mut self, view: &View) -> Snapshot {
        self.unload(view);
        let active = self.sealing(view).into_iter();
        let active = active
            .filter_map(|kid| self.versions.get(&kid))
            .map(|held| Arc::clone(&held.version));
        let opening = self.versions.iter().filter(|(kid, _held)| {
            let found = view.find_by_kid(**kid);
            found.is_some_and(|(_keyring, version)| version.state != State::PreActive)
        });
        self.generation = self.generation.saturating_add(1);
        let made = view.versions().map(|(_keyring, version)| version.created);
        let first_key = made.min().map(Timestamp::as_nanosecond);
        Snapshot::new(
            Arc::clone(&self.policy),
            active.collect(),
            opening
                .map(|(_kid, held)| Arc::clone(&held.version))
                .collect(),
            self.generation,
        )
        .with_on_demand(self.on_demand(view))
        .with_closed(self.closed(view))
        .with_first_key(first_key.and_then(|made| u64::try_from(made).ok()))
    }

    /// Versions that are known and do not open.
    fn closed(&self, view: &View) -> HashMap<Kid, Closed> {
        let closed = view.versions().filter_map(|(keyring, version)| {
            let closed = self.closed_by(keyring, version)?;
            Some((version.kid, closed, version.since))
        });
        newest_closed(closed, MOST_CLOSED)
    }

    /// Why a version does not open; `None`: it does.
    fn closed_by(&self, keyring: &KeyringName, version: &catalogue::Version) -> Option<Closed> {
        if version.state == State::Destroyed {
            return Some(Closed::Destroyed);
        }
        if self.policy.by_name(keyring.as_str()).is_none() {
            return Some(Closed::Unserved);
        }
        match (version.state, self.opens(keyring, version)) {
            (_, Opens::Yes | Opens::OnDemand) => None,
            (State::Suspended, _) => Some(Closed::Suspended),
            (State::Compromised, _) => Some(Closed::Compromised),
            (_, Opens::No | Opens::ByPolicy) => Some(Closed::PreActive),
        }
    }

    /// The versions that can be loaded on demand, whether or not they are loaded.
    fn on_demand(&self, view: &View) -> HashSet<Kid> {
        let versions = view.versions().filter(|(keyring, version)| {
            let known = self.policy.by_name(keyring.as_str()).is_some();
            known && self.opens(keyring, version) == Opens::OnDemand
        });
        versions.map(|(_keyring, version)| version.kid).collect()
    }

    /// Unloads what may no longer open.
    fn unload(&mut self, view: &View) {
        let mut versions = std::mem::take(&mut self.versions);
        versions.retain(|kid, held| {
            let Some((keyring, version)) = view.find_by_kid(*kid) else {
                return false;
            };
            if matches!(version.state, State::Compromised | State::Suspended) {
                self.unloaded_counts.insert(*kid, held.count.clone());
            }
            version.state == State::PreActive
                || matches!(self.opens(keyring, version), Opens::Yes | Opens::OnDemand)
        });
        self.versions = versions;
        self.on_demand.retain(|kid| self.versions.contains_key(kid));
    }

    /// Whether a version opens, policy included.
    pub(super) fn opens(&self, keyring: &KeyringName, version: &catalogue::Version) -> Opens {
        match version.state.opens() {
            Opens::ByPolicy => {
                let open = self.open.get(keyring);
                let included = open.is_some_and(|open| open.includes(version.state));
                if included { Opens::OnDemand } else { Opens::No }
            }
            certain @ (Opens::No | Opens::Yes | Opens::OnDemand) => certain,
        }
    }

    fn held(
        &self,
        id: KeyringId,
        version: &catalogue::Version,
        (key, opens): (VersionKey, Opens),
    ) -> LoadedVersion {
        let refill = Arc::clone(&self.refill);
        let budget = Budget::new(version.reserved, self.workers, refill);
        let (reserved_before, sealed_before) = (version.reserved, version.sealed);
        let lanes_before = version.lanes;
        let lanes = match opens {
            Opens::OnDemand => LaneMap::with_capacity(LANES_ON_DEMAND),
            Opens::Yes | Opens::ByPolicy | Opens::No => LaneMap::default(),
        };
        let version = Arc::new(Version {
            keyring: id,
            number: version.number,
            label: version.label.as_str().to_owned(),
            suite: version.suite,
            key,
            lanes,
            usage: Usage::new(self.workers),
            budget: Arc::new(budget),
        });
        LoadedVersion {
            count: SealedCount {
                usage: version.usage.clone(),
                budget: Arc::clone(&version.budget),
                reserved_before,
                sealed_before,
                lanes_before,
            },
            version,
            opened: 0,
            last_opened: None,
            failed: 0,
        }
    }

    /// Marks a version that opens on demand as most recently used; unloads the least recently used one.
    pub(super) fn touch(&mut self, kid: Kid) {
        self.on_demand.retain(|remembered| *remembered != kid);
        self.on_demand.push_back(kid);
        if u32::try_from(self.on_demand.len()).is_ok_and(|kept| kept > MAX_ON_DEMAND)
            && let Some(oldest) = self.on_demand.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }
}

/// Has the secret of a version unwrapped.
pub(super) fn load_key(
    view: &View,
    keyring: &KeyringName,
    version: &catalogue::Version,
) -> KeyLoad {
    let (kid, key) = (version.kid, view.version_key(keyring, version.number));
    Box::pin(async move { (kid, key.await) })
}

/// At most so many; of destroyed versions the latest, because messages sealed under these most probably still arrive.
fn newest_closed(
    closed: impl Iterator<Item = (Kid, Closed, Timestamp)>,
    most: usize,
) -> HashMap<Kid, Closed> {
    let (mut gone, mut closed): (Vec<_>, Vec<_>) =
        closed.partition(|(_kid, closed, _since)| *closed == Closed::Destroyed);
    let room = most.saturating_sub(closed.len());
    if gone.len() > room {
        gone.select_nth_unstable_by_key(room, |(_kid, _closed, since)| Reverse(*since));
    }
    closed.append(&mut gone);
    let closed = closed.into_iter().take(most);
    closed.map(|(kid, closed, _since)| (kid, closed)).collect()
}

impl LoadedVersion {
    /// Counts against the limit: sealed, and reserved by processes that were killed.
    pub(super) fn used(&self) -> Volume {
        self.count.used()
    }

    /// Known to be sealed under the version.
    pub(super) fn sealed(&self) -> Volume {
        self.count.sealed()
    }

    pub(super) fn lanes(&self) -> u64 {
        self.count.lanes()
    }

    /// See [`Version::is_settled`]: then [`LoadedVersion::used`] is final.
    pub(super) fn is_settled(&self) -> bool {
        self.version.is_settled()
    }
}

impl SealedCount {
    /// Counts against the limit: sealed by this process, and reserved by earlier ones.
    pub(super) fn used(&self) -> Volume {
        self.reserved_before.plus(self.usage.total())
    }

    /// The lower bound of what was sealed: exact for this process, as far as known for earlier ones.
    pub(super) fn sealed(&self) -> Volume {
        self.sealed_before.plus(self.usage.total())
    }

    /// The upper bound of what was sealed, batches under way included.
    pub(super) fn most(&self) -> Volume {
        let total = self.usage.total();
        let held = self.budget.outstanding(total);
        self.reserved_before.plus(total).plus(held)
    }

    /// Whether [`SealedCount::used`] is exact: no earlier process was killed with a reservation.
    pub(super) fn is_exact(&self) -> bool {
        self.reserved_before == self.sealed_before
    }

    pub(super) fn lanes(&self) -> u64 {
        self.lanes_before.saturating_add(self.usage.lanes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_versions_that_do_not_open_the_oldest_destroyed_ones_are_left_out() {
        let version = |number: u8, closed| {
            let since = Timestamp::from_second(i64::from(number)).unwrap();
            (Kid([number; 8]), closed, since)
        };
        let gone = [3, 1, 5, 2, 4].map(|number| version(number, Closed::Destroyed));
        let revoked = version(0, Closed::Compromised);
        let all = || gone.into_iter().chain([revoked]);
        let kept = |most| {
            let mut kept: Vec<u8> = newest_closed(all(), most)
                .keys()
                .map(|kid| kid.0[0])
                .collect();
            kept.sort_unstable();
            kept
        };
        assert_eq!(kept(6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(3), [0, 4, 5]);
        assert_eq!(kept(1), [0]);
    }
}
