//! Checks after every action and every start of a process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::simulated_run::SimulatedRun;
use super::traffic::VersionId;
use crate::audit::{LogFiles, verify};
use crate::catalogue::{Opens, Record, State, Version};
use crate::envelope::{Kid, Volume};
use crate::keyring::Verdict;
use crate::later::wait;

/// Observations that later checks rely on.
#[derive(Default)]
pub(super) struct Observed {
    /// The records' bytes and epochs at the last check.
    pub(super) records: BTreeMap<usize, (Vec<u8>, u64)>,
    destroyed: BTreeSet<VersionId>,
    admitted: BTreeSet<VersionId>,
    /// Wrapped secrets, as records have them.
    wrapped: BTreeMap<VersionId, String>,
    /// Versions that an operator ordered to be destroyed whatever is stored.
    pub(super) forced: BTreeSet<VersionId>,
    /// Keyrings that were configured at some time to destroy versions whatever is stored.
    pub(super) shredding: BTreeSet<usize>,
    /// Keyrings in which destruction needed no approval at some time.
    pub(super) automatic: BTreeSet<usize>,
    /// Versions whose destruction a second person approved.
    pub(super) approved: BTreeSet<VersionId>,
    /// The shortest hold after the overlap that was configured.
    pub(super) hold: BTreeMap<usize, Duration>,
    /// The shortest overlap that was configured.
    pub(super) overlap: BTreeMap<usize, Duration>,
    /// When versions became decrypt-only and archived, by elapsed time.
    entered: BTreeMap<(VersionId, State), Duration>,
    /// Versions whose overlap an operator may have cut short.
    pub(super) overlap_cut: BTreeSet<VersionId>,
    /// Versions that an operator asked to destroy.
    pub(super) destruction_ordered: BTreeSet<VersionId>,
    /// Versions whose revocation was confirmed.
    pub(super) compromised: BTreeSet<VersionId>,
    /// When versions were seen to have become active.
    activated: BTreeMap<VersionId, Timestamp>,
    /// The last activation in each keyring.
    last: BTreeMap<usize, Activation>,
}

/// The activation of a version.
struct Activation {
    id: VersionId,
    /// By elapsed time.
    at: Duration,
    /// How far ahead of that the wall clock was.
    ahead: Duration,
    /// The number of the process that saw it.
    start: u64,
}

impl SimulatedRun<'_> {
    /// The safety checks.
    pub(super) fn check(&mut self) {
        for index in 0..self.names.len() {
            let record = self.driver().record(index);
            if let Some(record) = record {
                self.check_record(index, &record);
                self.check_rotation_interval(index, &record);
                self.check_snapshot(index, &record);
            }
            self.check_record_on_disk(index);
        }
        for unproven in self.oracle.unproven() {
            self.check_unproven(unproven);
        }
    }

    /// A destruction without evidence was forced, as the log says, or its keyring shreds.
    fn check_unproven(&self, (kid, forced): (Kid, bool)) {
        let Some(id) = self.traffic.path().ledger.ids.get(&kid).copied() else {
            return;
        };
        let right = if forced {
            self.observed.forced.contains(&id)
        } else {
            self.observed.shredding.contains(&id.0)
        };
        assert!(right, "{id:?} is destroyed, and forced is {forced}");
    }

    /// Checks the record in the driver's memory.
    fn check_record(&mut self, index: usize, record: &Record) {
        assert_one_active(record);
        for version in &record.versions {
            let id = (index, version.number);
            self.check_version(id, version);
            if let Some(wrapped) = &version.wrapped {
                self.observed
                    .wrapped
                    .entry(id)
                    .or_insert_with(|| wrapped.to_string());
            }
            if matches!(version.state, State::DecryptOnly | State::Archived) {
                let at = self.elapsed_at(version.since);
                self.observed
                    .entered
                    .entry((id, version.state))
                    .or_insert(at);
            } else if version.state != State::Destroyed {
                self.observed
                    .entered
                    .retain(|(known, _state), _at| *known != id);
            }
            if version.state == State::Destroyed {
                self.check_destroyed(id, version);
            }
        }
    }

    /// No version is replaced within a second, unless it was revoked, or the clock was set forward between two processes.
    fn check_rotation_interval(&mut self, index: usize, record: &Record) {
        let ahead = self.ahead();
        let start = self.counts.starts;
        let active = record
            .versions
            .iter()
            .filter_map(|version| Some((version.activated?, (index, version.number))));
        let mut new: Vec<_> = active
            .filter(|(at, id)| self.observed.activated.get(id) != Some(at))
            .collect();
        new.sort_unstable();
        for (activated, id) in new {
            let at = self.elapsed_at(activated);
            let last = self.observed.last.get(&index);
            // Not one that a power cut has undone.
            let last = last.filter(|last| last.id != id && self.was_replaced(record, last.id));
            if let Some(last) = last
                && (last.start == start || ahead <= last.ahead)
            {
                // Records have whole milliseconds. A write in doubt may be seen only after the wall clock was set: catalogue time
                // decides then.
                let own = monotonic_activation(record, id.1)
                    .duration_since(monotonic_activation(record, last.id.1));
                let own = Duration::try_from(own).unwrap_or_default();
                let gap = at.saturating_sub(last.at).max(own) + Duration::from_millis(1);
                assert!(
                    gap >= Duration::from_secs(1),
                    "{id:?} became active {gap:?} after {:?}",
                    last.id
                );
            }
            self.observed.activated.insert(id, activated);
            let last = Activation {
                id,
                at,
                ahead,
                start,
            };
            self.observed.last.insert(index, last);
        }
    }

    /// Whether a version became active when it was seen to, and was replaced, not revoked.
    fn was_replaced(&self, record: &Record, id: VersionId) -> bool {
        record.version(id.1).is_some_and(|version| {
            version.activated == self.observed.activated.get(&id).copied()
                && matches!(version.state, State::DecryptOnly | State::Archived)
        })
    }

    fn check_version(&self, id: VersionId, version: &Version) {
        let state = version.state;
        let path = self.traffic.path();
        let sealed = path.ledger.sealed.get(&id).copied().unwrap_or_default();
        let over = sealed.minus(version.reserved);
        assert_eq!(
            over,
            Volume::default(),
            "{id:?} has sealed {sealed:?}, {:?} is written down",
            version.reserved
        );
        let unknown = version.sealed.minus(sealed);
        assert_eq!(
            unknown,
            Volume::default(),
            "{id:?} has sealed {sealed:?}, and {:?} is said",
            version.sealed
        );
        let destroyed = state == State::Destroyed;
        assert!(
            destroyed || !self.observed.destroyed.contains(&id),
            "{id:?} was destroyed and is {state}"
        );
        let compromised = matches!(state, State::Compromised | State::Destroyed);
        assert!(
            compromised || !self.observed.compromised.contains(&id),
            "{id:?} was compromised and is {state}"
        );
    }

    fn check_destroyed(&mut self, id: VersionId, version: &Version) {
        let snapshot = self.traffic.path().snapshot();
        let loaded = snapshot.is_some_and(|snapshot| snapshot.by_kid(version.kid).is_some());
        assert!(!loaded, "{id:?} is destroyed and still loaded");
        assert!(
            self.driver()
                .shared(|shared| shared.loaded.get(version.kid).is_none()),
            "{id:?} is destroyed and its secret is in memory"
        );
        if !self.observed.destroyed.insert(id) {
            return;
        }
        if let Some(wrapped) = self.observed.wrapped.get(&id) {
            for disk in [self.disk.content(), self.disk.durable()] {
                let holds =
                    |bytes: &&Vec<u8>| memchr::memmem::find(bytes, wrapped.as_bytes()).is_some();
                assert!(
                    !disk.values().any(|bytes| holds(&bytes)),
                    "{id:?} is destroyed and its wrapped secret is on the disk"
                );
            }
        }
        // A version that was never active is discarded without approval.
        let agreed =
            self.observed.automatic.contains(&id.0) || self.observed.approved.contains(&id);
        assert!(
            agreed || version.activated.is_none(),
            "{id:?} is destroyed, and nobody has approved"
        );
        self.check_overlap_and_hold(id, version);
        let free = self.observed.forced.contains(&id) || self.observed.shredding.contains(&id.0);
        let held = self.traffic.path().ledger.stores(id);
        assert!(
            free || !held,
            "{id:?} is destroyed, and something stored needs it"
        );
    }

    /// A version destroyed without an order has had its overlap and hold; in whole milliseconds, as records have them.
    fn check_overlap_and_hold(&self, id: VersionId, version: &Version) {
        if self.observed.destruction_ordered.contains(&id) {
            return;
        }
        let gone = self.elapsed_at(version.since) + Duration::from_millis(1);
        let least = |of: &BTreeMap<usize, Duration>| of.get(&id.0).copied().unwrap_or_default();
        let since = |state| self.observed.entered.get(&(id, state));
        if let Some(replaced) = since(State::DecryptOnly)
            && !self.observed.overlap_cut.contains(&id)
        {
            // A write in doubt may be seen only after the wall clock was set: catalogue time decides then.
            let own = version
                .monotonic_deactivated()
                .map(|ceased| version.monotonic_since().duration_since(ceased));
            let own = own.and_then(|own| Duration::try_from(own).ok());
            let lasted = gone.checked_sub(*replaced).or(own).unwrap_or_default();
            let overlap = least(&self.observed.overlap);
            assert!(
                lasted >= overlap,
                "{id:?} is destroyed {lasted:?} after its successor came"
            );
        }
        if let Some(archived) = since(State::Archived)
            && !self.observed.shredding.contains(&id.0)
            && let Some(held) = gone.checked_sub(*archived)
        {
            let hold = least(&self.observed.hold);
            assert!(
                held >= hold,
                "{id:?} is destroyed {held:?} after its overlap"
            );
        }
    }

    /// A recent time of the wall clock as elapsed time.
    fn elapsed_at(&self, wall: Timestamp) -> Duration {
        let at = Duration::try_from(wall.duration_since(Timestamp::UNIX_EPOCH)).unwrap();
        at.saturating_sub(self.ahead())
    }

    fn check_snapshot(&self, index: usize, record: &Record) {
        let path = self.traffic.path();
        let Some(snapshot) = path.snapshot() else {
            return;
        };
        if let Some(active) = snapshot.active(path.keyring(index)) {
            let written = record.active().map(|version| version.number);
            assert_eq!(
                written,
                Some(active.number),
                "keyring {index} seals under another version than is written down"
            );
        }
        let keyring = path.keyring(index);
        for loaded in snapshot
            .versions()
            .filter(|version| version.keyring == keyring)
        {
            let version = record.version(loaded.number).unwrap();
            let opens = self
                .driver()
                .shared(|shared| shared.loaded.opens(&record.keyring, version));
            assert!(
                matches!(opens, Opens::Yes | Opens::OnDemand),
                "version {} of keyring {index} is loaded and {}",
                version.number,
                version.state
            );
        }
    }

    /// Checks the record on the disk, as another member reads it.
    fn check_record_on_disk(&mut self, index: usize) {
        let path = self
            .fixture
            .dir()
            .join("catalogue")
            .join(format!("{}.json", self.names[index]));
        let Ok(bytes) = crate::disk::Files::read(&*self.disk, &path) else {
            return;
        };
        let (before, epoch) = self.observed.records.entry(index).or_default();
        if *before == bytes {
            return;
        }
        self.view.refresh().unwrap();
        let record = self.view.record(&self.names[index]).unwrap();
        assert!(record.epoch >= *epoch, "the epoch has gone back");
        *epoch = record.epoch;
        *before = bytes;
        assert_one_active(record);
        // As soon as it can be read, even if this gateway does not know yet: a member that joins later need not prove anything.
        for version in &record.versions {
            let id = (index, version.number);
            let admitted = matches!(version.state, State::Ready | State::Active);
            assert!(
                !admitted
                    || !self.observed.admitted.insert(id)
                    || self.members.were_all_proven(version.kid),
                "{id:?} is {} and not every member has it",
                version.state
            );
        }
    }

    /// Stored messages open unless their version may not, for this gateway and for another member.
    pub(super) fn check_opens(&mut self) {
        let ids: Vec<VersionId> = self.traffic.path().ledger.stored.keys().copied().collect();
        for id in ids {
            self.check_opens_of(id);
        }
    }

    fn check_opens_of(&mut self, id: VersionId) {
        let name = self.names[id.0].clone();
        let driver = self.driver();
        let record = driver.record(id.0).unwrap();
        let version = record.version(id.1).unwrap().clone();
        let opens = driver.shared(|shared| shared.loaded.opens(&name, &version));
        let verdict = self.driver_mut().look_for(version.kid);
        let messages = self
            .traffic
            .path()
            .ledger
            .stored
            .get(&id)
            .cloned()
            .unwrap_or_default();
        let read = self.view.refresh();
        let unread = read.as_ref().err().map(ToString::to_string);
        let key = read.ok().map(|()| wait(self.view.version_key(&name, id.1)));
        for message in messages {
            let mut path = self.traffic.path();
            let opened = path.open(&message);
            match opens {
                Opens::Yes | Opens::OnDemand => {
                    assert_eq!(verdict, Verdict::Loaded, "{id:?}, {}", version.state);
                    opened.unwrap_or_else(|error| panic!("{id:?}, {}: {error}", version.state));
                    assert!(
                        matches!(&key, Some(Ok(key)) if opens_with(key, &message)),
                        "{id:?}: another member cannot open it: {unread:?}"
                    );
                }
                Opens::No | Opens::ByPolicy => {
                    assert!(opened.is_err(), "{id:?} opens, and is {}", version.state);
                }
            }
        }
        let destroyed = version.state == State::Destroyed;
        assert_eq!(
            destroyed,
            !matches!(key, Some(Ok(_))),
            "{id:?} is {}",
            version.state
        );
    }

    /// The audit log verifies, without open intents.
    pub(super) fn check_audit(&self) {
        let files: std::sync::Arc<dyn crate::disk::Files> =
            std::sync::Arc::<crate::disk::testing::CrashDisk>::clone(&self.disk);
        let place = super::environment::audit_log_dir(files, self.fixture.dir());
        let (log, checkpoints) = (place.log(), place.checkpoints());
        let source = LogFiles {
            files: &*self.disk,
            log: &log,
            checkpoints: &checkpoints,
        };
        let verified =
            verify(&source, super::environment::signer().verifier(), (&[], &[])).unwrap();
        assert_eq!(verified.open, [], "intents are open");
        self.oracle.check_all_effects_logged();
        assert_eq!(
            verified.covered, verified.lines,
            "lines without a checkpoint"
        );
    }
}

fn assert_one_active(record: &Record) {
    let active = record
        .versions
        .iter()
        .filter(|version| version.state == State::Active);
    assert!(active.count() <= 1, "two active versions: {record:?}");
}

fn opens_with(
    key: &crate::envelope::VersionKey,
    (envelope, subject): &super::traffic::Message,
) -> bool {
    let header = crate::envelope::Header::parse(envelope).unwrap();
    let mut out = vec![0; envelope.len() - crate::envelope::OVERHEAD];
    let lane = key.lane(header.suite, header.lane);
    let known = crate::envelope::Binding::to(Some(subject));
    lane.open(&header, known, envelope, &mut out).is_ok()
}

/// When a version became active, by catalogue time.
fn monotonic_activation(record: &Record, number: u32) -> Timestamp {
    let version = record.version(number).unwrap();
    version.monotonic.activated.or(version.activated).unwrap()
}
