//! What must be true after every action, and whenever a process has begun.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::play::Play;
use super::traffic::Id;
use crate::audit::{Source, verify};
use crate::catalogue::{Opens, Record, State, Version};
use crate::envelope::{Kid, Used};
use crate::keyring::Verdict;

/// What was seen to be so, and stays so.
#[derive(Default)]
pub(super) struct Known {
    /// The bytes of the records at the last look, and their epochs.
    pub(super) records: BTreeMap<usize, (Vec<u8>, u64)>,
    destroyed: BTreeSet<Id>,
    admitted: BTreeSet<Id>,
    /// How secrets are written in records.
    wrapped: BTreeMap<Id, String>,
    /// Versions that may be destroyed whatever is stored.
    pub(super) forced: BTreeSet<Id>,
    /// Keyrings whose versions were, at some time, to be destroyed whatever is stored.
    pub(super) shredding: BTreeSet<usize>,
    /// Keyrings in which a destruction has, at some time, taken one person.
    pub(super) automatic: BTreeSet<usize>,
    /// Versions whose destruction two have agreed on, or that somebody has approved of.
    pub(super) approved: BTreeSet<Id>,
    /// How long after its overlap a version has been held, at least.
    pub(super) hold: BTreeMap<usize, Duration>,
    /// How long the overlap was, at least.
    pub(super) overlap: BTreeMap<usize, Duration>,
    /// Since when versions are decrypt-only, and archived, by time that does not jump.
    entered: BTreeMap<(Id, State), Duration>,
    /// Versions whose overlap an operator may have ended.
    pub(super) hastened: BTreeSet<Id>,
    /// Versions that an operator wants destroyed.
    pub(super) wanted: BTreeSet<Id>,
    /// What an operator was told is done.
    pub(super) compromised: BTreeSet<Id>,
    /// When versions were seen to have become active.
    activated: BTreeMap<Id, Timestamp>,
    /// The last of them in each keyring.
    last: BTreeMap<usize, Last>,
}

/// A version that became active.
struct Last {
    id: Id,
    /// On a clock that does not jump.
    at: Duration,
    /// How far ahead of that the wall clock was.
    ahead: Duration,
    /// By which process.
    start: u64,
}

impl Play<'_> {
    /// Everything that holds at every moment.
    pub(super) fn check(&mut self) {
        for index in 0..self.names.len() {
            let record = self.driver().catalogue.record(&self.names[index]).cloned();
            if let Some(record) = record {
                self.check_record(index, &record);
                self.check_pace(index, &record);
                self.check_snapshot(index, &record);
            }
            self.check_visible(index);
        }
        for unproven in self.oracle.unproven() {
            self.check_unproven(unproven);
        }
    }

    /// What was destroyed without evidence was forced, if the log says so, or was to be shredded.
    fn check_unproven(&self, (kid, forced): (Kid, bool)) {
        let Some(id) = self.traffic.path().ledger.ids.get(&kid).copied() else {
            return;
        };
        let right = if forced {
            self.known.forced.contains(&id)
        } else {
            self.known.shredding.contains(&id.0)
        };
        assert!(right, "{id:?} is destroyed, and forced is {forced}");
    }

    /// What the driver knows, it has written down.
    fn check_record(&mut self, index: usize, record: &Record) {
        one_active(record);
        for version in &record.versions {
            let id = (index, version.number);
            self.check_version(id, version);
            if let Some(wrapped) = &version.wrapped {
                self.known
                    .wrapped
                    .entry(id)
                    .or_insert_with(|| wrapped.to_string());
            }
            if matches!(version.state, State::DecryptOnly | State::Archived) {
                let at = self.truly(version.since);
                self.known.entered.entry((id, version.state)).or_insert(at);
            } else if version.state != State::Destroyed {
                self.known
                    .entered
                    .retain(|(known, _state), _at| *known != id);
            }
            if version.state == State::Destroyed {
                self.check_destroyed(id, version);
            }
        }
    }

    /// No version is replaced within a second, unless it was revoked; or a clock has gone on between two processes.
    fn check_pace(&mut self, index: usize, record: &Record) {
        let ahead = self.ahead();
        let start = self.tally.starts;
        let active = record
            .versions
            .iter()
            .filter_map(|version| Some((version.activated?, (index, version.number))));
        let mut new: Vec<_> = active
            .filter(|(at, id)| self.known.activated.get(id) != Some(at))
            .collect();
        new.sort_unstable();
        for (activated, id) in new {
            let at = self.truly(activated);
            let last = self.known.last.get(&index);
            // What did not survive a power cut has never been.
            let last = last.filter(|last| last.id != id && self.was_replaced(record, last.id));
            if let Some(last) = last
                && (last.start == start || ahead <= last.ahead)
            {
                // Records keep whole milliseconds. What was in doubt may be seen only after the wall clock was set: the catalogue's own
                // time tells then.
                let own = own_time(record, id.1).duration_since(own_time(record, last.id.1));
                let own = Duration::try_from(own).unwrap_or_default();
                let gap = at.saturating_sub(last.at).max(own) + Duration::from_millis(1);
                assert!(
                    gap >= Duration::from_secs(1),
                    "{id:?} became active {gap:?} after {:?}",
                    last.id
                );
            }
            self.known.activated.insert(id, activated);
            let last = Last {
                id,
                at,
                ahead,
                start,
            };
            self.known.last.insert(index, last);
        }
    }

    /// Whether a version became active when that was seen, and has only been replaced since.
    fn was_replaced(&self, record: &Record, id: Id) -> bool {
        record.version(id.1).is_some_and(|version| {
            version.activated == self.known.activated.get(&id).copied()
                && matches!(version.state, State::DecryptOnly | State::Archived)
        })
    }

    fn check_version(&self, id: Id, version: &Version) {
        let state = version.state;
        let path = self.traffic.path();
        let sealed = path.ledger.sealed.get(&id).copied().unwrap_or_default();
        let over = sealed.minus(version.reserved);
        assert_eq!(
            over,
            Used::default(),
            "{id:?} has sealed {sealed:?}, {:?} is written down",
            version.reserved
        );
        let unknown = version.sealed.minus(sealed);
        assert_eq!(
            unknown,
            Used::default(),
            "{id:?} has sealed {sealed:?}, and {:?} is said",
            version.sealed
        );
        let destroyed = state == State::Destroyed;
        assert!(
            destroyed || !self.known.destroyed.contains(&id),
            "{id:?} was destroyed and is {state}"
        );
        let compromised = matches!(state, State::Compromised | State::Destroyed);
        assert!(
            compromised || !self.known.compromised.contains(&id),
            "{id:?} was compromised and is {state}"
        );
    }

    fn check_destroyed(&mut self, id: Id, version: &Version) {
        let snapshot = self.traffic.path().snapshot();
        let loaded = snapshot.is_some_and(|snapshot| snapshot.by_kid(version.kid).is_some());
        assert!(!loaded, "{id:?} is destroyed and still loaded");
        assert!(
            self.driver().loaded.get(version.kid).is_none(),
            "{id:?} is destroyed and its secret is in memory"
        );
        if !self.known.destroyed.insert(id) {
            return;
        }
        if let Some(wrapped) = self.known.wrapped.get(&id) {
            for disk in [self.disk.content(), self.disk.durable()] {
                let holds =
                    |bytes: &&Vec<u8>| memchr::memmem::find(bytes, wrapped.as_bytes()).is_some();
                assert!(
                    !disk.values().any(|bytes| holds(&bytes)),
                    "{id:?} is destroyed and its wrapped secret is on the disk"
                );
            }
        }
        // One that has never sealed is discarded.
        let agreed = self.known.automatic.contains(&id.0) || self.known.approved.contains(&id);
        assert!(
            agreed || version.activated.is_none(),
            "{id:?} is destroyed, and nobody has approved"
        );
        self.check_lasted(id, version);
        let free = self.known.forced.contains(&id) || self.known.shredding.contains(&id.0);
        let held = self.traffic.path().ledger.holds(id);
        assert!(
            free || !held,
            "{id:?} is destroyed, and something stored needs it"
        );
    }

    /// A version that nobody wanted destroyed has had its overlap, and was held; in whole milliseconds, as records keep them.
    fn check_lasted(&self, id: Id, version: &Version) {
        if self.known.wanted.contains(&id) {
            return;
        }
        let gone = self.truly(version.since) + Duration::from_millis(1);
        let least = |of: &BTreeMap<usize, Duration>| of.get(&id.0).copied().unwrap_or_default();
        let since = |state| self.known.entered.get(&(id, state));
        if let Some(replaced) = since(State::DecryptOnly)
            && !self.known.hastened.contains(&id)
        {
            // What was in doubt may be seen only after the wall clock was set: the catalogue's own time tells then.
            let own = version
                .ceased()
                .map(|ceased| version.entered().duration_since(ceased));
            let own = own.and_then(|own| Duration::try_from(own).ok());
            let lasted = gone.checked_sub(*replaced).or(own).unwrap_or_default();
            let overlap = least(&self.known.overlap);
            assert!(
                lasted >= overlap,
                "{id:?} is destroyed {lasted:?} after its successor came"
            );
        }
        if let Some(archived) = since(State::Archived)
            && !self.known.shredding.contains(&id.0)
            && let Some(held) = gone.checked_sub(*archived)
        {
            let hold = least(&self.known.hold);
            assert!(
                held >= hold,
                "{id:?} is destroyed {held:?} after its overlap"
            );
        }
    }

    /// What the wall clock has just said, by a clock that does not jump.
    fn truly(&self, wall: Timestamp) -> Duration {
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
            let opens = self.driver().loaded.opens(&record.keyring, version);
            assert!(
                matches!(opens, Opens::Yes | Opens::OnDemand),
                "version {} of keyring {index} is loaded and {}",
                version.number,
                version.state
            );
        }
    }

    /// What another member reads now.
    fn check_visible(&mut self, index: usize) {
        let path = self
            .home
            .dir()
            .join("catalogue")
            .join(format!("{}.json", self.names[index]));
        let Ok(bytes) = crate::disk::Files::read(&*self.disk, &path) else {
            return;
        };
        let (before, epoch) = self.known.records.entry(index).or_default();
        if *before == bytes {
            return;
        }
        self.view.refresh().unwrap();
        let record = self.view.record(&self.names[index]).unwrap();
        assert!(record.epoch >= *epoch, "the epoch has gone back");
        *epoch = record.epoch;
        *before = bytes;
        one_active(record);
        // As soon as it can be read, even if this gateway does not know yet: a member that comes later has nothing to prove.
        for version in &record.versions {
            let id = (index, version.number);
            let admitted = matches!(version.state, State::Ready | State::Active);
            assert!(
                !admitted
                    || !self.known.admitted.insert(id)
                    || self.members.all_proven(version.kid),
                "{id:?} is {} and not every member has it",
                version.state
            );
        }
    }

    /// Everything stored opens, or its version may not; for this gateway and for another member.
    pub(super) fn check_opens(&mut self) {
        let ids: Vec<Id> = self.traffic.path().ledger.stored.keys().copied().collect();
        for id in ids {
            self.check_opens_of(id);
        }
    }

    fn check_opens_of(&mut self, id: Id) {
        let name = self.names[id.0].clone();
        let driver = self.driver();
        let version = driver
            .catalogue
            .record(&name)
            .unwrap()
            .version(id.1)
            .unwrap()
            .clone();
        let opens = driver.loaded.opens(&name, &version);
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
        let key = read.ok().map(|()| self.view.version_key(&name, id.1));
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

    /// The audit log is whole, and nothing is open.
    pub(super) fn check_audit(&self) {
        let files: std::sync::Arc<dyn crate::disk::Files> =
            std::sync::Arc::<crate::disk::testing::Forgetful>::clone(&self.disk);
        let place = super::world::place(files, self.home.dir());
        let (log, checkpoints) = (place.log(), place.checkpoints());
        let source = Source {
            files: &*self.disk,
            log: &log,
            checkpoints: Some(&checkpoints),
        };
        let verified = verify(&source, super::world::signer().verifier(), (&[], &[])).unwrap();
        assert_eq!(verified.open, [], "intents are open");
        self.oracle.check_that_all_is_said();
        assert_eq!(
            verified.covered, verified.lines,
            "lines without a checkpoint"
        );
    }
}

fn one_active(record: &Record) {
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

/// When a version became active, by the catalogue's own time.
fn own_time(record: &Record, number: u32) -> Timestamp {
    let version = record.version(number).unwrap();
    version.monotonic.activated.or(version.activated).unwrap()
}
