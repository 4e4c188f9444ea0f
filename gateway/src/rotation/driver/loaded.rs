//! The versions that are loaded: their secrets derived, their lanes, counters and budgets alive across snapshots.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::catalogue::{self, KeyError, Opens, State, View};
use crate::envelope::limits::FAILED_OPENS_ALARM;
use crate::envelope::{Kid, Used};
use crate::keyring::{Budget, Closed, LaneMap, Snapshot, Usage, Version};
use crate::policy::{KeyringId, KeyringName, Policy};
use crate::rotation::terms::Doubtful;

/// How many versions that open on demand are kept loaded; one more unloads the one asked for longest ago.
pub(super) const ON_DEMAND: u32 = 256;

/// How many versions that do not open the message path knows of.
const MOST_CLOSED: usize = 4096;

/// How many lanes of such a version are kept: it is read again, by few at a time.
const LANES_ON_DEMAND: usize = 512;

/// Loaded versions.
pub(super) struct Loaded {
    policy: Arc<Policy>,
    /// What opens although its version is in doubt, keyring by keyring.
    open: HashMap<KeyringName, Doubtful>,
    workers: usize,
    thirst: Arc<Notify>,
    versions: HashMap<Kid, Held>,
    on_demand: VecDeque<Kid>,
    /// Versions under which nothing is sealed, whatever the catalogue says, and why.
    halted: HashSet<(Kid, Halt)>,
    /// Whether anything may be sealed at all.
    sealing: Sealing,
    /// What is left of versions in doubt that were unloaded: no secret, but what a report on them needs.
    remains: HashMap<Kid, Count>,
    generation: u64,
}

/// Why nothing is sealed under a version, whatever the catalogue says. Each reason ends by itself, and none ends another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Halt {
    /// It was revoked or suspended, whether or not that could be written down. Ends when that order is taken back.
    Ordered,
    /// A mark in the state directory says that it was. Ends with the mark.
    Marked,
    /// Another process is about to write that it seals no more. Ends when that has been read, or has not come about.
    Stopping,
}

/// Whether this process may seal at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealing {
    Allowed,
    /// It neither holds the lock of the state directory nor hears from who does.
    Forbidden,
}

/// What has been sealed under a version.
#[derive(Clone)]
pub(super) struct Count {
    usage: Usage,
    budget: Arc<Budget>,
    /// What had been reserved before it was loaded, and what is known to have been sealed of that.
    reserved_before: Used,
    sealed_before: Used,
    lanes_before: u64,
}

/// A loaded version, and what was known of it when it was loaded.
pub(super) struct Held {
    pub(super) version: Arc<Version>,
    count: Count,
    /// Envelopes opened at the last look, and when that number last grew.
    opened: u64,
    pub(super) last_opened: Option<Instant>,
    /// Envelopes that did not open, at the last look.
    failed: u64,
}

/// What a look at the versions has found since the one before.
#[derive(Default)]
pub(super) struct Seen {
    /// Keyrings, and how many envelopes more did not open.
    pub(super) failed: Vec<(KeyringId, u64)>,
    /// Versions of which too many did not: keyring, label, how many.
    pub(super) alarms: Vec<(String, String, u64)>,
}

/// What loading a version came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// It does not open.
    Closed(Closed),
    /// It was loaded before.
    Already,
    /// It is loaded now; the snapshot does not have it yet.
    Newly,
}

impl Loaded {
    pub(super) fn new(policy: Arc<Policy>, workers: usize, thirst: Arc<Notify>) -> Self {
        Self {
            policy,
            open: HashMap::new(),
            workers,
            thirst,
            versions: HashMap::new(),
            on_demand: VecDeque::new(),
            halted: HashSet::new(),
            sealing: Sealing::Allowed,
            remains: HashMap::new(),
            generation: 0,
        }
    }

    /// Snapshots are numbered from here on.
    pub(super) const fn number_from(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Another configuration: policy, and what opens in doubt.
    pub(super) fn configure(&mut self, policy: Arc<Policy>, open: HashMap<KeyringName, Doubtful>) {
        self.policy = policy;
        self.open = open;
    }

    /// The same keyrings, with other rules.
    pub(super) fn follow_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    pub(super) fn get(&self, kid: Kid) -> Option<&Held> {
        self.versions.get(&kid)
    }

    /// What has been sealed under a version that this process has had, whether or not it is loaded still.
    pub(super) fn count(&self, kid: Kid) -> Option<&Count> {
        let held = self.versions.get(&kid).map(|held| &held.count);
        held.or_else(|| self.remains.get(&kid))
    }

    /// A part of a version's budget, which is durably reserved, is another process's.
    pub(super) fn lent(&mut self, kid: Kid, part: Used) {
        if let Some(held) = self.versions.get_mut(&kid) {
            held.version.budget.lend(part);
            held.count.reserved_before = held.count.reserved_before.plus(part);
        }
    }

    /// Another process seals no more under a version: so much of what was reserved for it was not needed, and so much was sealed.
    pub(super) fn returned(&mut self, kid: Kid, unused: Used, sealed: Used) {
        let held = self.versions.get_mut(&kid).map(|held| &mut held.count);
        if let Some(count) = held.or_else(|| self.remains.get_mut(&kid)) {
            count.reserved_before = count.reserved_before.minus(unused);
            count.sealed_before = count.sealed_before.plus(sealed);
        }
    }

    /// Forgets a version, to be loaded anew with what its record says.
    pub(super) fn forget(&mut self, kid: Kid) {
        self.versions.remove(&kid);
    }

    /// From now on nothing is sealed under this version, whatever the catalogue says.
    pub(super) fn halt(&mut self, kid: Kid, why: Halt) {
        self.halted.insert((kid, why));
    }

    /// Whether nothing is sealed under this version, whatever the catalogue says.
    pub(super) fn is_halted(&self, kid: Kid) -> bool {
        let whys = [Halt::Ordered, Halt::Marked, Halt::Stopping];
        let mut halts = whys.into_iter().map(|why| (kid, why));
        self.sealing == Sealing::Forbidden || halts.any(|halt| self.halted.contains(&halt))
    }

    /// This reason is none any more: but for others, the catalogue has the last word again.
    pub(super) fn release(&mut self, kid: Kid, why: Halt) {
        self.halted.remove(&(kid, why));
    }

    /// From now on nothing is sealed under any version.
    pub(super) const fn forbid_sealing(&mut self) {
        self.sealing = Sealing::Forbidden;
    }

    /// The catalogue decides again; whether that is news.
    pub(super) fn allow_sealing(&mut self) -> bool {
        std::mem::replace(&mut self.sealing, Sealing::Allowed) == Sealing::Forbidden
    }

    /// Loads a version that the catalogue has and may open.
    pub(super) fn load(&mut self, view: &View, kid: Kid) -> Result<Found, KeyError> {
        let Some((keyring, version)) = view.find_by_kid(kid) else {
            return Ok(Found::Nothing);
        };
        if let Some(closed) = self.closed_by(keyring, version) {
            return Ok(Found::Closed(closed));
        }
        let opens = self.opens(keyring, version);
        let found = self.hold(view, (keyring, version))?;
        if opens == Opens::OnDemand && found != Found::Nothing {
            self.remember(kid);
        }
        Ok(found)
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

    /// Notes which versions have opened something since the last look, and which have failed to.
    pub(super) fn look(&mut self, now: Instant) -> Seen {
        let mut seen = Seen::default();
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

    /// The number of the oldest version of a keyring that has opened something since then.
    pub(super) fn oldest_opened(&self, keyring: KeyringId, since: Option<Instant>) -> Option<u32> {
        let late = |held: &&Held| {
            held.version.keyring == keyring && held.last_opened.is_some_and(|at| Some(at) >= since)
        };
        let numbers = self.versions.values().filter(late);
        numbers.map(|held| held.version.number).min()
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
        let held = self.open(view, id, (keyring, version))?;
        self.versions.insert(version.kid, held);
        Ok(Found::Newly)
    }

    /// What may seal: whatever is active in the catalogue, and has not been halted.
    pub(super) fn sealing(&self, view: &View) -> Vec<Kid> {
        let names = self.policy.keyrings().iter().map(|rule| &rule.name);
        let active = names.filter_map(|name| view.record(name)?.active());
        let kids = active.map(|version| version.kid);
        kids.filter(|kid| !self.is_halted(*kid)).collect()
    }

    /// The snapshot that the catalogue and what is loaded make now. What may no longer open is unloaded by it.
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
        likeliest(closed, MOST_CLOSED)
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

    /// What can be loaded when something asks for it, whether or not it is loaded now.
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
                self.remains.insert(*kid, held.count.clone());
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

    fn open(
        &self,
        view: &View,
        id: KeyringId,
        (keyring, version): (&KeyringName, &catalogue::Version),
    ) -> Result<Held, KeyError> {
        let thirst = Arc::clone(&self.thirst);
        let budget = Budget::new(version.reserved, self.workers, thirst);
        let (reserved_before, sealed_before) = (version.reserved, version.sealed);
        let lanes_before = version.lanes;
        let lanes = match self.opens(keyring, version) {
            Opens::OnDemand => LaneMap::with_capacity(LANES_ON_DEMAND),
            Opens::Yes | Opens::ByPolicy | Opens::No => LaneMap::default(),
        };
        let version = Arc::new(Version {
            keyring: id,
            number: version.number,
            label: version.label.as_str().to_owned(),
            suite: version.suite,
            key: view.version_key(keyring, version.number)?,
            lanes,
            usage: Usage::new(self.workers),
            budget: Arc::new(budget),
        });
        Ok(Held {
            count: Count {
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
        })
    }

    /// Keeps a version that opens on demand, as the one asked for last.
    pub(super) fn remember(&mut self, kid: Kid) {
        self.on_demand.retain(|remembered| *remembered != kid);
        self.on_demand.push_back(kid);
        if u32::try_from(self.on_demand.len()).is_ok_and(|kept| kept > ON_DEMAND)
            && let Some(oldest) = self.on_demand.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }
}

/// At most so many: of those that are destroyed the latest, because their messages are the likeliest to come still.
fn likeliest(
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

impl Held {
    /// What counts against the limit: what was sealed, and what a process that was killed had reserved.
    pub(super) fn used(&self) -> Used {
        self.count.used()
    }

    /// What is known to have been sealed under the version.
    pub(super) fn sealed(&self) -> Used {
        self.count.sealed()
    }

    /// Lanes drawn under it.
    pub(super) fn lanes(&self) -> u64 {
        self.count.lanes()
    }

    /// See [`Version::is_settled`]: then [`Held::used`] is final.
    pub(super) fn is_settled(&self) -> bool {
        self.version.is_settled()
    }
}

impl Count {
    /// What counts against the limit: exact for this process, and what was reserved for those before it.
    pub(super) fn used(&self) -> Used {
        self.reserved_before.plus(self.usage.total())
    }

    /// What has been sealed at least: exact for this process, and what is known of those before it.
    pub(super) fn sealed(&self) -> Used {
        self.sealed_before.plus(self.usage.total())
    }

    /// What can have been sealed at most, also by a batch that is under way.
    pub(super) fn most(&self) -> Used {
        let total = self.usage.total();
        let held = self.budget.outstanding(total);
        self.reserved_before.plus(total).plus(held)
    }

    /// Whether [`Count::used`] is exact: nothing that was reserved by a process before this one was lost.
    pub(super) fn is_exact(&self) -> bool {
        self.reserved_before == self.sealed_before
    }

    /// Lanes drawn.
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
            let mut kept: Vec<u8> = likeliest(all(), most).keys().map(|kid| kid.0[0]).collect();
            kept.sort_unstable();
            kept
        };
        assert_eq!(kept(6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(3), [0, 4, 5]);
        assert_eq!(kept(1), [0]);
    }
}
