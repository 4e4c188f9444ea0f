//! Workers that seal at any moment, and the ledger of everything sealed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::faults::Rng;
use crate::clock::Clock;
use crate::disk::testing::CrashDisk;
use crate::envelope::{Binding, Header, Kid, LaneId, OVERHEAD, Volume};
use crate::keyring::{Keys, LaneCache, Lanes, OpenRefused, SealRefused, Snapshot, WorkerId, open};
use crate::policy::{KeyringId, Policy};
use crate::rotation::terms::Limit;

/// A version: its keyring's index, and its number.
pub(super) type VersionId = (usize, u32);

/// A sealed message and the subject that it was sealed for.
pub(super) type Message = (Vec<u8>, Vec<u8>);

/// The simulated message path, shared with the disk, which lets workers seal before each write.
#[derive(Clone)]
pub(super) struct Traffic(Arc<Mutex<MessagePath>>);

pub(super) struct MessagePath {
    rng: Rng,
    clock: Clock,
    disk: Arc<CrashDisk>,
    keyrings: Vec<(KeyringId, Vec<u8>)>,
    keys: Option<Arc<Keys>>,
    workers: Vec<SealingWorker>,
    pub(super) ledger: Ledger,
}

struct SealingWorker {
    lanes: Lanes,
    cache: LaneCache,
    /// The snapshot of an unfinished batch.
    open_batch: Option<Arc<Snapshot>>,
}

/// Everything that was ever sealed, by any process.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) ids: HashMap<Kid, VersionId>,
    pub(super) sealed: BTreeMap<VersionId, Volume>,
    /// The limit in force, for each keyring.
    pub(super) limits: Vec<Limit>,
    /// What was reserved before the limit was lowered.
    pub(super) caps: BTreeMap<VersionId, Volume>,
    nonces: HashSet<(Kid, LaneId, u32)>,
    lanes: HashSet<(Kid, LaneId)>,
    /// Messages that streams hold.
    pub(super) stored: BTreeMap<VersionId, Vec<Message>>,
    /// Versions revoked in this process, and whether for good.
    pub(super) revoked: BTreeSet<(VersionId, bool)>,
}

impl Traffic {
    pub(super) fn new(
        seed: u64,
        (policy, limits): (&Policy, Vec<Limit>),
        clock: &Clock,
        disk: &Arc<CrashDisk>,
    ) -> Self {
        let keyring = |rule: &crate::policy::Rule| {
            let subject = format!("{}.a", rule.name).into_bytes();
            (policy.by_name(rule.name.as_str()).unwrap(), subject)
        };
        Self(Arc::new(Mutex::new(MessagePath {
            rng: Rng::new(seed, 2),
            clock: clock.clone(),
            disk: Arc::clone(disk),
            keyrings: policy.keyrings().iter().map(keyring).collect(),
            keys: None,
            workers: Vec::new(),
            ledger: Ledger {
                limits,
                ..Ledger::default()
            },
        })))
    }

    /// A random worker seals some messages, at random.
    pub(super) fn seal_at_random(&self) {
        let mut path = self.path();
        if path.keys.is_some() && path.rng.one_in(2) {
            let count = path.rng.between(1, 3);
            path.burst(count).ok();
        }
    }

    pub(super) fn path(&self) -> MutexGuard<'_, MessagePath> {
        self.0.lock().unwrap()
    }
}

impl MessagePath {
    /// A process starts.
    pub(super) fn begin(&mut self, keys: Arc<Keys>, workers: usize) {
        let now = self.clock.instant();
        let worker = |index| SealingWorker {
            lanes: Lanes::new(WorkerId(index), now),
            cache: LaneCache::new(WorkerId(index)),
            open_batch: None,
        };
        self.workers = (0..workers).map(worker).collect();
        self.keys = Some(keys);
    }

    /// The process has ended.
    pub(super) fn end(&mut self) {
        self.keys = None;
        self.workers.clear();
        self.ledger.revoked.clear();
    }

    /// Ends all unfinished batches.
    pub(super) fn finish_batches(&mut self) {
        for worker in &mut self.workers {
            worker.open_batch = None;
        }
    }

    /// A random worker seals up to `count` messages of a random keyring.
    pub(super) fn burst(&mut self, count: u64) -> Result<(), SealRefused> {
        let (worker, keyring) = (
            self.rng.index(self.workers.len()),
            self.rng.index(self.keyrings.len()),
        );
        self.burst_of(worker, keyring, count)
    }

    pub(super) fn burst_of(
        &mut self,
        worker: usize,
        keyring: usize,
        count: u64,
    ) -> Result<(), SealRefused> {
        let Some(keys) = self.keys.clone() else {
            return Err(SealRefused::NoActiveVersion);
        };
        if self.disk.is_dead() || self.workers.is_empty() {
            return Err(SealRefused::NoActiveVersion);
        }
        let open_batch = self.workers[worker].open_batch.take();
        let late = open_batch.is_some();
        let snapshot = open_batch.unwrap_or_else(|| Arc::clone(&keys.load()));
        if self.rng.one_in(8) {
            self.workers[worker].open_batch = Some(Arc::clone(&keys.load()));
        }
        let now = self.clock.instant();
        self.workers[worker].lanes.begin(&snapshot, now);
        let done = (0..count).try_for_each(|_| self.seal(worker, keyring, (&snapshot, late)));
        self.workers[worker].lanes.report();
        done
    }

    fn seal(
        &mut self,
        worker: usize,
        keyring: usize,
        (snapshot, late): (&Snapshot, bool),
    ) -> Result<(), SealRefused> {
        let text = vec![b'x'; usize::try_from(self.rng.between(1, 30)).unwrap()];
        let mut out = vec![0; text.len() + OVERHEAD];
        let (id, subject) = &self.keyrings[keyring];
        self.workers[worker].lanes.seal(
            snapshot,
            *id,
            Binding::to(Some(subject)),
            (&text, &mut out),
        )?;
        let number = snapshot.active(*id).unwrap().number;
        let store = self.rng.one_in(4);
        let message = (out, subject.clone());
        self.ledger
            .note((keyring, number), &text, message, (store, late));
        Ok(())
    }

    /// Opens a message with the current snapshot.
    pub(super) fn open(&mut self, message: &Message) -> Result<(), OpenRefused> {
        let keys = self.keys.clone().unwrap();
        let snapshot = Arc::clone(&keys.load());
        let worker = self.rng.index(self.workers.len());
        let cache = &mut self.workers[worker].cache;
        cache.refresh(&snapshot);
        let (envelope, subject) = message;
        let mut out = vec![0; envelope.len() - OVERHEAD];
        open(
            &snapshot,
            cache,
            None,
            Binding::to(Some(subject)),
            (envelope, &mut out),
        )?;
        assert!(
            out.iter().all(|byte| *byte == b'x'),
            "it opened to something else"
        );
        Ok(())
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let keys = self.keys.as_ref()?;
        Some(Arc::clone(&keys.load()))
    }

    pub(super) fn keyring(&self, index: usize) -> KeyringId {
        self.keyrings[index].0
    }
}

impl Ledger {
    fn note(&mut self, id: VersionId, text: &[u8], message: Message, (store, late): (bool, bool)) {
        let header = Header::parse(&message.0).unwrap();
        let nonce = (header.kid, header.lane, header.counter);
        assert!(self.nonces.insert(nonce), "{id:?}: nonce {nonce:?} twice");
        let known = *self.ids.entry(header.kid).or_insert(id);
        assert_eq!(known, id, "kid {} names two versions", header.kid);
        assert!(
            late || !(self.revoked.contains(&(id, true)) || self.revoked.contains(&(id, false))),
            "{id:?} has sealed after it was revoked"
        );
        let sealed = self.sealed.entry(id).or_default();
        let bytes = u64::try_from(text.len()).unwrap();
        *sealed = sealed.plus(Volume { messages: 1, bytes });
        let cap = cap(&self.limits, &self.caps, id);
        assert!(
            sealed.messages <= cap.messages && sealed.bytes <= cap.bytes,
            "{id:?} has sealed {sealed:?}, its limit is {cap:?}"
        );
        let first = self.lanes.insert((header.kid, header.lane));
        if store || first {
            self.stored.entry(id).or_default().push(message);
        }
    }

    /// Whether streams hold messages sealed under it.
    pub(super) fn stores(&self, id: VersionId) -> bool {
        self.stored.get(&id).is_some_and(|held| !held.is_empty())
    }
}

/// The most that may be sealed under a version: its limit, or what was reserved before the limit was lowered.
fn cap(limits: &[Limit], caps: &BTreeMap<VersionId, Volume>, id: VersionId) -> Volume {
    let limit = limits[id.0];
    let before = caps.get(&id).copied().unwrap_or_default();
    Volume {
        messages: limit.messages.max(before.messages),
        bytes: limit.bytes.max(before.bytes),
    }
}
