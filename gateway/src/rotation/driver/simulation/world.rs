//! The simulated environment of a driver: a disk that fails, a custodian that refuses, a bus that stores.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::faults::Weather;
use super::members::Members;
use super::oracle::Oracle;
use super::traffic::Traffic;
use crate::audit::{Log, Place, Signer};
use crate::catalogue::{Catalogue, View};
use crate::clock::{Clock, Winder};
use crate::control::{Answer, Question};
use crate::custody::{Custodian, Description, UnwrapFailed, WrapFailed, Wrapped, local};
use crate::disk::testing::Forgetful;
use crate::disk::{Files, Lock, StateDir};
use crate::envelope::Kid;
use crate::rotation::seams::{Inspection, Inspector};
use crate::secret::Secret;

/// 2026-11-23T10:00:00Z.
const START: Duration = Duration::from_secs(1_795_428_000);

/// The audit log's reserve for revocations, in bytes.
const RESERVE: usize = 4096;

/// Shared by all runs of a thread: a lock needs a real directory, and an empty catalogue takes a while to create.
pub(super) struct Home {
    _root: tempfile::TempDir,
    dir: StateDir,
    kek: Arc<local::Kek>,
    blank: BTreeMap<PathBuf, Vec<u8>>,
}

impl Home {
    pub(super) fn new() -> Self {
        Self::with_log_at(place)
    }

    /// With another location of the audit log.
    pub(super) fn with_log_at(place: fn(Arc<dyn Files>, &StateDir) -> Place) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state")).unwrap();
        let lock = Lock::take(dir.clone()).unwrap();
        let kek = Arc::new(local::init(&lock, None).unwrap());
        let disk = Arc::new(Forgetful::default());
        let files: Arc<dyn Files> = Arc::<Forgetful>::clone(&disk);
        let catalogue =
            Catalogue::create_on(lock, Arc::clone(&files), Arc::<local::Kek>::clone(&kek));
        let now = Timestamp::try_from(SystemTime::UNIX_EPOCH + START).unwrap();
        let place = place(files, &dir);
        drop(Log::create(place, signer(), catalogue.unwrap().id(), now).unwrap());
        let blank = disk.content();
        Self {
            _root: root,
            dir,
            kek,
            blank,
        }
    }

    /// A disk with an empty catalogue and audit log.
    pub(super) fn disk(&self) -> Arc<Forgetful> {
        let disk = Forgetful::default();
        for (path, content) in &self.blank {
            disk.tamper(path, |bytes| bytes.clone_from(content));
        }
        Arc::new(disk)
    }

    pub(super) fn clock() -> (Clock, Winder) {
        Clock::by_hand(SystemTime::UNIX_EPOCH + START)
    }

    pub(super) fn lock(&self) -> Lock {
        Lock::take(self.dir.clone()).unwrap()
    }

    pub(super) fn dir(&self) -> &StateDir {
        &self.dir
    }

    pub(super) fn custodian(
        &self,
        weather: &Weather,
        traffic: &Traffic,
        winder: &Winder,
    ) -> Arc<dyn Custodian> {
        Arc::new(Moody {
            kek: Arc::clone(&self.kek),
            weather: weather.clone(),
            traffic: traffic.clone(),
            winder: winder.clone(),
        })
    }

    /// The custodian without faults.
    pub(super) fn kek(&self) -> Arc<dyn Custodian> {
        Arc::<local::Kek>::clone(&self.kek)
    }

    /// The catalogue as another member reads it, on a disk that does not fail.
    pub(super) fn view(&self, disk: &Arc<Forgetful>) -> Option<View> {
        let files: Arc<dyn Files> = Arc::<Forgetful>::clone(disk);
        let kek: Arc<dyn Custodian> = Arc::<local::Kek>::clone(&self.kek);
        Catalogue::open_read_only_on(self.dir.clone(), files, kek).ok()
    }
}

pub(super) fn place(files: Arc<dyn Files>, dir: &StateDir) -> Place {
    Place::new(files, dir.join("audit")).with_reserve(RESERVE)
}

/// The same key in every run.
pub(super) fn signer() -> Signer {
    Signer::new(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

/// A disk on which workers seal before each write, and faults occur.
pub(super) struct Busy {
    pub(super) disk: Arc<Forgetful>,
    pub(super) weather: Weather,
    pub(super) traffic: Traffic,
    pub(super) members: Members,
    pub(super) oracle: Oracle,
}

impl Busy {
    fn step(&self) {
        if self.disk.is_dead() {
            return;
        }
        self.traffic.pulse();
        if let Some(trouble) = self.weather.strikes() {
            self.disk.arm(0, trouble);
        }
    }

    fn look(&self) -> io::Result<()> {
        if self.weather.blinds() {
            return Err(io::Error::other("it cannot be read"));
        }
        Ok(())
    }
}

impl Files for Busy {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.look()?;
        self.disk.read(path)
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        self.look()?;
        self.disk.read_at(path, at, len)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.look()?;
        self.disk.len(path)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look()?;
        self.disk.names(dir)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step();
        self.disk.write(path, bytes)
    }

    fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.step();
        self.disk.append(path, at, bytes)?;
        self.oracle.appended(path, bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step();
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.members.admits();
        self.step();
        self.disk.rename(from, to)?;
        self.oracle.renamed(to);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step();
        self.disk.sync_dir(dir)
    }
}

/// A custodian that is slow or refuses at times.
struct Moody {
    kek: Arc<local::Kek>,
    weather: Weather,
    traffic: Traffic,
    winder: Winder,
}

impl Moody {
    fn wait(&self) {
        let delay = self.weather.delay();
        if delay != 0 {
            self.traffic.path().settle();
            self.winder.advance(Duration::from_millis(delay));
        }
        self.traffic.pulse();
    }
}

impl Custodian for Moody {
    fn wrap(&self, secret: &Secret, context: &[u8]) -> Result<Wrapped, WrapFailed> {
        self.wait();
        if self.weather.refuses() {
            return Err(WrapFailed::Cipher);
        }
        self.kek.wrap(secret, context)
    }

    fn unwrap(&self, wrapped: &Wrapped, context: &[u8]) -> Result<Secret, UnwrapFailed> {
        self.wait();
        if self.weather.refuses() {
            return Err(UnwrapFailed::Damaged);
        }
        self.kek.unwrap(wrapped, context)
    }

    fn describe(&self) -> Description {
        self.kek.describe()
    }
}

/// Whether an answer arrives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Told,
    /// The answer is [`Answer::Unknown`].
    Lost,
}

/// The bus; the messages that it stores are in the ledger.
#[derive(Clone)]
pub(super) struct Bus {
    traffic: Traffic,
    post: Arc<Mutex<Post>>,
}

#[derive(Default)]
struct Post {
    /// Whether answers come at once.
    prompt: bool,
    waiting: Vec<(Kid, oneshot::Sender<Answer>)>,
}

impl Bus {
    pub(super) fn new(traffic: &Traffic) -> Self {
        Self {
            traffic: traffic.clone(),
            post: Arc::default(),
        }
    }

    pub(super) fn be_prompt(&self) {
        self.post().prompt = true;
    }

    /// Answers the oldest question; returns whether there was one.
    pub(super) fn deliver(&self, fate: Fate) -> bool {
        let mut post = self.post();
        if post.waiting.is_empty() {
            return false;
        }
        let (kid, sender) = post.waiting.remove(0);
        drop(post);
        let answer = match fate {
            Fate::Lost => unknown(),
            Fate::Told => self.answer(kid),
        };
        // The asking process may have ended.
        sender.send(answer).ok();
        true
    }

    fn answer(&self, kid: Kid) -> Answer {
        let path = self.traffic.path();
        let id = path.ledger.ids.get(&kid);
        match id {
            Some(id) if path.ledger.holds(*id) => Answer::Held(Vec::new()),
            _ => Answer::Clear { streams: 1 },
        }
    }

    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap()
    }
}

fn unknown() -> Answer {
    Answer::Unknown("the bus did not answer".to_owned())
}

impl Inspector for Bus {
    fn inspect(&self, question: Question) -> Inspection {
        if self.post().prompt {
            return Inspection::Answered(self.answer(question.kid));
        }
        let (sender, receiver) = oneshot::channel();
        self.post().waiting.push((question.kid, sender));
        Inspection::Later(Box::pin(async move {
            receiver.await.unwrap_or_else(|_gone| unknown())
        }))
    }
}
