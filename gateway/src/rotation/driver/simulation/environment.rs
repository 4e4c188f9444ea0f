//! The simulated environment of a driver: a disk that fails, a custodian that refuses, a bus that stores.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::faults::Faults;
use super::members::Members;
use super::oracle::Oracle;
use super::traffic::Traffic;
use crate::audit::{Log, LogDir, Signer};
use crate::catalogue::{Catalogue, View};
use crate::clock::{Clock, ManualClock};
use crate::custodian::{Custodian, Description, UnwrapFailed, WrapFailed, Wrapped};
use crate::custody::Custody;
use crate::disk::testing::CrashDisk;
use crate::disk::{Files, Lock, StateDir};
use crate::envelope::Kid;
use crate::later::{Later, ready};
use crate::retention::Inspector;
use crate::retention::{RetentionAnswer, RetentionQuestion};
use crate::rotation::driver::testing::Backlog;
use crate::secret::Secret;

/// 2026-11-23T10:00:00Z.
const START: Duration = Duration::from_secs(1_795_428_000);

/// The audit log's reserve for revocations, in bytes.
const RESERVE: usize = 4096;

/// Shared by all runs of a thread: a lock needs a real directory, and an empty catalogue takes a while to create.
pub(super) struct Fixture {
    _root: tempfile::TempDir,
    dir: StateDir,
    kek: Arc<dyn Custodian>,
    initial_files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with_log_at(audit_log_dir)
    }

    /// With another location of the audit log.
    pub(super) fn with_log_at(audit_log_dir: fn(Arc<dyn Files>, &StateDir) -> LogDir) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state")).unwrap();
        let lock = Lock::acquire(dir.clone()).unwrap();
        let kek = Custody::File
            .opener()
            .unwrap()
            .open_or_create(&lock)
            .unwrap();
        let disk = Arc::new(CrashDisk::default());
        let files: Arc<dyn Files> = Arc::<CrashDisk>::clone(&disk);
        let catalogue = Catalogue::create_on(lock, Arc::clone(&files), Arc::clone(&kek));
        let now = Timestamp::try_from(SystemTime::UNIX_EPOCH + START).unwrap();
        let place = audit_log_dir(files, &dir);
        drop(Log::create(place, signer(), catalogue.unwrap().id(), now).unwrap());
        let initial_files = disk.content();
        Self {
            _root: root,
            dir,
            kek,
            initial_files,
        }
    }

    /// A disk with an empty catalogue and audit log.
    pub(super) fn disk(&self) -> Arc<CrashDisk> {
        let disk = CrashDisk::default();
        for (path, content) in &self.initial_files {
            disk.tamper(path, |bytes| bytes.clone_from(content));
        }
        Arc::new(disk)
    }

    pub(super) fn clock() -> (Clock, ManualClock) {
        Clock::manual(SystemTime::UNIX_EPOCH + START)
    }

    pub(super) fn lock(&self) -> Lock {
        Lock::acquire(self.dir.clone()).unwrap()
    }

    pub(super) fn dir(&self) -> &StateDir {
        &self.dir
    }

    pub(super) fn custodian(
        &self,
        faults: &Faults,
        traffic: &Traffic,
        (manual_clock, backlog): (&ManualClock, &Backlog),
    ) -> Arc<dyn Custodian> {
        Arc::new(FaultyCustodian {
            kek: Arc::clone(&self.kek),
            backlog: backlog.clone(),
            faults: faults.clone(),
            traffic: traffic.clone(),
            manual_clock: manual_clock.clone(),
        })
    }

    /// The custodian without faults.
    pub(super) fn kek(&self) -> Arc<dyn Custodian> {
        Arc::clone(&self.kek)
    }

    /// The catalogue as another member reads it, on a disk that does not fail.
    pub(super) fn view(&self, disk: &Arc<CrashDisk>) -> Option<View> {
        let files: Arc<dyn Files> = Arc::<CrashDisk>::clone(disk);
        let kek: Arc<dyn Custodian> = Arc::clone(&self.kek);
        Catalogue::open_read_only_on(self.dir.clone(), files, kek).ok()
    }
}

pub(super) fn audit_log_dir(files: Arc<dyn Files>, dir: &StateDir) -> LogDir {
    LogDir::new(files, dir.join("audit")).with_reserve(RESERVE)
}

/// The same key in every run.
pub(super) fn signer() -> Signer {
    Signer::new(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

/// A disk on which workers seal before each write, and faults occur.
pub(super) struct FaultyFiles {
    pub(super) disk: Arc<CrashDisk>,
    pub(super) faults: Faults,
    pub(super) traffic: Traffic,
    pub(super) members: Members,
    pub(super) oracle: Oracle,
}

impl FaultyFiles {
    fn before_write(&self) {
        if self.disk.is_dead() {
            return;
        }
        self.traffic.seal_at_random();
        if let Some(trouble) = self.faults.write_fault() {
            self.disk.arm(0, trouble);
        }
    }

    fn before_read(&self) -> io::Result<()> {
        if self.faults.read_fails() {
            return Err(io::Error::other("it cannot be read"));
        }
        Ok(())
    }
}

impl Files for FaultyFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.before_read()?;
        self.disk.read(path)
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        self.before_read()?;
        self.disk.read_at(path, at, len)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.before_read()?;
        self.disk.len(path)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.before_read()?;
        self.disk.names(dir)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.before_write();
        self.disk.write(path, bytes)
    }

    fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.before_write();
        self.disk.append(path, at, bytes)?;
        self.oracle.appended(path, bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.before_write();
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.members.before_replace();
        self.before_write();
        self.disk.rename(from, to)?;
        self.oracle.renamed(to);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.before_write();
        self.disk.sync_dir(dir)
    }
}

/// A custodian that is slow or refuses at times.
struct FaultyCustodian {
    kek: Arc<dyn Custodian>,
    backlog: Backlog,
    faults: Faults,
    traffic: Traffic,
    manual_clock: ManualClock,
}

impl FaultyCustodian {
    fn wait(&self) {
        let delay = self.faults.delay();
        if delay != 0 {
            self.traffic.path().finish_batches();
            self.manual_clock.advance(Duration::from_millis(delay));
        }
        self.traffic.seal_at_random();
    }
}

impl Custodian for FaultyCustodian {
    fn wrap<'a>(
        &'a self,
        secret: &'a Secret,
        context: &'a [u8],
    ) -> Later<'a, Result<Wrapped, WrapFailed>> {
        self.wait();
        let turn = self.backlog.ask(|| ());
        Box::pin(async move {
            turn.await;
            if self.faults.custodian_refuses() {
                return Err(WrapFailed::Cipher);
            }
            self.kek.wrap(secret, context).await
        })
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a [u8],
    ) -> Later<'a, Result<Secret, UnwrapFailed>> {
        self.wait();
        let turn = self.backlog.ask(|| ());
        Box::pin(async move {
            turn.await;
            if self.faults.custodian_refuses() {
                return Err(UnwrapFailed::Damaged);
            }
            self.kek.unwrap(wrapped, context).await
        })
    }

    fn describe(&self) -> Description {
        self.kek.describe()
    }
}

/// Whether an answer arrives.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerDelivery {
    Arrives,
    /// The answer is [`RetentionAnswer::Unknown`].
    Lost,
}

/// The bus; the messages that it stores are in the ledger.
#[derive(Clone)]
pub(super) struct Bus {
    traffic: Traffic,
    state: Arc<Mutex<BusState>>,
}

#[derive(Default)]
struct BusState {
    /// Whether answers come at once.
    at_once: bool,
    waiting: Vec<(Kid, oneshot::Sender<RetentionAnswer>)>,
}

impl Bus {
    pub(super) fn new(traffic: &Traffic) -> Self {
        Self {
            traffic: traffic.clone(),
            state: Arc::default(),
        }
    }

    pub(super) fn answer_at_once(&self) {
        self.state().at_once = true;
    }

    /// Answers the oldest question; returns whether there was one.
    pub(super) fn deliver(&self, delivery: AnswerDelivery) -> bool {
        let mut state = self.state();
        if state.waiting.is_empty() {
            return false;
        }
        let (kid, sender) = state.waiting.remove(0);
        drop(state);
        let answer = match delivery {
            AnswerDelivery::Lost => unknown(),
            AnswerDelivery::Arrives => self.answer(kid),
        };
        // The asking process may have ended.
        sender.send(answer).ok();
        true
    }

    fn answer(&self, kid: Kid) -> RetentionAnswer {
        let path = self.traffic.path();
        let id = path.ledger.ids.get(&kid);
        match id {
            Some(id) if path.ledger.stores(*id) => RetentionAnswer::Stored(Vec::new()),
            _ => RetentionAnswer::NothingStored { streams: 1 },
        }
    }

    fn state(&self) -> MutexGuard<'_, BusState> {
        self.state.lock().unwrap()
    }
}

fn unknown() -> RetentionAnswer {
    RetentionAnswer::Unknown("the bus did not answer".to_owned().into())
}

impl Inspector for Bus {
    fn inspect(&self, question: RetentionQuestion) -> Later<'static, RetentionAnswer> {
        if self.state().at_once {
            return ready(self.answer(question.kid));
        }
        let (sender, receiver) = oneshot::channel();
        self.state().waiting.push((question.kid, sender));
        Box::pin(async move { receiver.await.unwrap_or_else(|_gone| unknown()) })
    }
}
