//! Fixtures for the catalogue's tests: a state directory, a KEK and a clock.

mod crash;
mod damage;
mod rules;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::records::Remember;
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::custodian::Custodian;
use crate::custody::Custody;
use crate::disk::testing::CrashDisk;
use crate::disk::{Lock, StateDir};
use crate::envelope::{Suite, Volume};
use crate::later::wait;
use crate::policy::KeyringName;

/// 2026-11-23T10:00:00Z.
const START: Duration = Duration::from_secs(1_795_428_000);
const SUITE: Suite = Suite::Aes256Gcm;

/// The outcome of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Switched {
    active: u32,
    predecessor: Option<u32>,
}

/// Changes made and set at once, and a switch in one call; rotation takes its steps one by one.
impl Catalogue {
    fn compare_and_set(&mut self, expected: u64, record: Record) -> Result<&Record, SetError> {
        self.set(RecordChange {
            expected,
            record,
            remember: Remember::Now,
            proven: None,
        })
    }

    fn make_change(
        &mut self,
        change: Result<RecordChange, RotateError>,
    ) -> Result<(), RotateError> {
        self.set(change?)?;
        Ok(())
    }

    fn make(
        &mut self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<u32, RotateError> {
        let drawn = self.draw(keyring, suite, clock)?;
        let wrapped = wait(drawn.wrap(keyring, &*self.custodian()))?;
        let change = self.generated(keyring, wrapped);
        self.set(change)?;
        Ok(drawn.version().number)
    }

    fn prepare(
        &mut self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<u32, RotateError> {
        let waits = |v: &&Version| matches!(v.state, State::PreActive | State::Ready);
        let versions = self
            .record(keyring)
            .into_iter()
            .flat_map(|record| &record.versions);
        let waiting = versions.filter(waits).map(|v| v.number).next();
        waiting.map_or_else(|| self.make(keyring, suite, clock), Ok)
    }

    fn set_state(
        &mut self,
        keyring: &KeyringName,
        number: u32,
        state: State,
        clock: &Clock,
    ) -> Result<(), RotateError> {
        self.make_change(self.in_state(keyring, number, state, clock))
    }

    fn rotate(
        &mut self,
        keyring: &KeyringName,
        suite: Suite,
        clock: &Clock,
    ) -> Result<Switched, RotateError> {
        let number = self.prepare(keyring, suite, clock)?;
        let record = self.record(keyring).unwrap();
        let predecessor = record.active().map(|version| version.number);
        if record.version(number).unwrap().state == State::PreActive {
            self.set_state(keyring, number, State::Ready, clock)?;
        }
        self.make_change(self.activated(keyring, number, clock))?;
        Ok(Switched {
            active: number,
            predecessor,
        })
    }
}

struct Fixture {
    _root: tempfile::TempDir,
    dir: StateDir,
    custodian: Arc<dyn Custodian>,
    clock: Clock,
    manual_clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state")).unwrap();
        let lock = Lock::acquire(dir.clone()).unwrap();
        let custodian = Custody::File
            .opener()
            .unwrap()
            .open_or_create(&lock)
            .unwrap();
        let (clock, manual_clock) =
            Clock::manual(SystemTime::UNIX_EPOCH.checked_add(START).unwrap());
        Self {
            _root: root,
            dir,
            custodian,
            clock,
            manual_clock,
        }
    }

    fn lock(&self) -> Lock {
        Lock::acquire(self.dir.clone()).unwrap()
    }

    fn create(&self) -> Catalogue {
        Catalogue::create(self.lock(), Arc::clone(&self.custodian)).unwrap()
    }

    fn open(&self) -> Result<Catalogue, LoadError> {
        Catalogue::open(self.lock(), Arc::clone(&self.custodian))
    }

    fn create_on(&self, files: &Arc<CrashDisk>) -> Result<Catalogue, CreateError> {
        let files = Arc::<CrashDisk>::clone(files);
        Catalogue::create_on(self.lock(), files, Arc::clone(&self.custodian))
    }

    fn open_on(&self, files: &Arc<CrashDisk>) -> Result<Catalogue, LoadError> {
        let files = Arc::<CrashDisk>::clone(files);
        Catalogue::open_on(self.lock(), files, Arc::clone(&self.custodian))
    }

    fn view(&self) -> View {
        Catalogue::open_read_only(self.dir.clone(), Arc::clone(&self.custodian)).unwrap()
    }

    /// Every file with its bytes, except the lock, which holds the process id.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        [self.dir.path().to_owned(), self.dir.join("catalogue")]
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && !path.ends_with("lock"))
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }
}

fn agents() -> KeyringName {
    "agents".parse().unwrap()
}

fn states(view: &View, keyring: &KeyringName) -> Vec<(u32, State)> {
    let record = view.record(keyring).unwrap();
    record
        .versions
        .iter()
        .map(|v| (v.number, v.state))
        .collect()
}
