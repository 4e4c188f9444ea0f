//! A disk in memory for crash tests: what was not made durable may be lost, in part or as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::Files;

/// A disk in memory. `write`, `append`, `remove`, `rename` and `sync_dir` are counted steps, each of which can fail or lose
/// power. With a [`CrashDisk::capacity`] it fills up.
#[derive(Default)]
pub(crate) struct CrashDisk(Mutex<Inner>);

/// The fault at the armed step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskFault {
    /// This step fails, later ones work.
    Error(io::ErrorKind),
    /// Power loss: this step and all later ones fail, until [`CrashDisk::restart`].
    Crash,
    /// This step fails, and records cannot be read, until [`CrashDisk::make_readable`].
    Unreadable,
}

/// The disk's condition.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Ability {
    #[default]
    Whole,
    /// Records cannot be read.
    Blind,
    /// Every operation fails.
    Dead,
}

#[derive(Default)]
struct Inner {
    /// The files as a running process sees them.
    seen: BTreeMap<PathBuf, Vec<u8>>,
    /// The files that survive a power cut for certain.
    durable: BTreeMap<PathBuf, Vec<u8>>,
    /// Changes without an fsync, oldest first.
    pending: Vec<Change>,
    armed: Option<(usize, DiskFault)>,
    ability: Ability,
    log: Vec<String>,
    /// Bytes that fit; `None`: no limit.
    capacity: Option<usize>,
}

#[derive(Clone)]
enum Change {
    Put(PathBuf, Vec<u8>),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl CrashDisk {
    /// Arms a fault at the step with this index, counted from now.
    pub(crate) fn arm(&self, step: usize, trouble: DiskFault) {
        self.inner().armed = Some((step, trouble));
    }

    /// Restores power: of the changes that were not durable, the oldest `kept` survive.
    pub(crate) fn restart(&self, kept: usize) {
        let mut inner = self.inner();
        let pending = std::mem::take(&mut inner.pending);
        for change in pending.iter().take(kept) {
            change.apply(&mut inner.durable);
        }
        inner.seen = inner.durable.clone();
        inner.armed = None;
        inner.ability = Ability::Whole;
    }

    /// Restarts the process without a power cut.
    pub(crate) fn respawn(&self) {
        let mut inner = self.inner();
        inner.armed = None;
        inner.ability = Ability::Whole;
    }

    /// Records can be read again.
    pub(crate) fn make_readable(&self) {
        self.inner().ability = Ability::Whole;
    }

    /// Whether the disk has lost power.
    pub(crate) fn is_dead(&self) -> bool {
        self.inner().ability == Ability::Dead
    }

    /// The files that survive a power cut for certain.
    pub(crate) fn durable(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.inner().durable.clone()
    }

    /// How many changes are not durable yet.
    pub(crate) fn pending(&self) -> usize {
        self.inner().pending.len()
    }

    /// Whether the armed fault has happened.
    pub(crate) fn has_fired(&self) -> bool {
        self.inner().armed.is_none()
    }

    /// The steps taken since the last call: verb and file name.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().log)
    }

    /// The files as a running process sees them.
    pub(crate) fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.inner().seen.clone()
    }

    /// Limits the sum of file sizes: a write or append beyond it fails, leaving a part.
    pub(crate) fn capacity(&self, bytes: Option<usize>) {
        self.inner().capacity = bytes;
    }

    /// The sum of file sizes.
    pub(crate) fn used(&self) -> usize {
        self.inner().seen.values().map(Vec::len).sum()
    }

    /// Changes a file durably, without counting a step.
    pub(crate) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let mut bytes = inner.seen.get(path).cloned().unwrap_or_default();
        change(&mut bytes);
        inner.seen.insert(path.to_owned(), bytes.clone());
        inner.durable.insert(path.to_owned(), bytes);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn alive(&self) -> io::Result<()> {
        if self.ability == Ability::Dead {
            return Err(io::Error::other("no power"));
        }
        Ok(())
    }

    fn step(&mut self, verb: &str, path: &Path) -> io::Result<()> {
        self.alive()?;
        let name = path.file_name().unwrap().to_string_lossy();
        self.log.push(format!("{verb} {name}"));
        match self.armed {
            Some((0, DiskFault::Error(kind))) => {
                self.armed = None;
                Err(kind.into())
            }
            Some((0, DiskFault::Crash)) => {
                self.armed = None;
                self.ability = Ability::Dead;
                Err(io::Error::other("no power"))
            }
            Some((0, DiskFault::Unreadable)) => {
                self.armed = None;
                self.ability = Ability::Blind;
                Err(io::Error::other("it is not confirmed"))
            }
            Some((left, trouble)) => {
                self.armed = Some((left.saturating_sub(1), trouble));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// [`Inner::step`] for one that makes the file `len` bytes long.
    fn step_with_room(&mut self, verb: &str, path: &Path, len: usize) -> io::Result<()> {
        self.step(verb, path)?;
        let others = self.seen.iter().filter(|(other, _)| *other != path);
        let used: usize = others.map(|(_, bytes)| bytes.len()).sum();
        // An empty file takes no room.
        let full = |most| len > 0 && used.saturating_add(len) > most;
        if self.capacity.is_some_and(full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The possible results of a failed append, in order: nothing, half, all of it.
    fn leave_torn(&mut self, path: &Path, whole: &[u8], at: usize) {
        let half = whole.len().saturating_add(at).div_ceil(2);
        for len in [at, half, whole.len()] {
            let stage = Change::Put(path.to_owned(), whole[..len].to_vec());
            self.pending.push(stage);
        }
        self.seen.insert(path.to_owned(), whole[..half].to_vec());
    }

    /// Makes the file's bytes durable, and its name too unless that still waits for an fsync of the directory.
    fn synced(&mut self, path: &Path, whole: Vec<u8>) {
        let earlier = |change: &Change| matches!(change, Change::Put(other, _) if other == path);
        self.pending.retain(|change| !earlier(change));
        let renamed = |change: &Change| matches!(change, Change::Rename(_, other) if other == path);
        if self.durable.contains_key(path) && !self.pending.iter().any(renamed) {
            self.durable.insert(path.to_owned(), whole.clone());
        } else {
            self.pending
                .push(Change::Put(path.to_owned(), whole.clone()));
        }
        self.seen.insert(path.to_owned(), whole);
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }
}

impl Change {
    fn apply(&self, to: &mut BTreeMap<PathBuf, Vec<u8>>) {
        match self {
            Self::Put(path, bytes) => {
                to.insert(path.clone(), bytes.clone());
            }
            Self::Remove(path) => {
                to.remove(path);
            }
            Self::Rename(from, path) => {
                let bytes = to.remove(from).unwrap();
                to.insert(path.clone(), bytes);
            }
        }
    }

    fn dir(&self) -> &Path {
        let (Self::Put(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        path.parent().unwrap()
    }
}

impl Files for CrashDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        inner.alive()?;
        let is_record = path.extension().is_some_and(|kind| kind == "json");
        if inner.ability == Ability::Blind && is_record {
            return Err(io::Error::other("it cannot be read"));
        }
        let found = inner.seen.get(path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(path)?;
        let from = usize::try_from(at).unwrap().min(bytes.len());
        let to = from.saturating_add(len).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(self.read(path)?.len().try_into().unwrap())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.inner();
        inner.alive()?;
        let inside = inner.seen.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        inner.alive()?;
        let done = inner.step_with_room("write", path, bytes.len());
        let written = match done {
            Ok(()) => bytes,
            // A write that fails leaves any part behind.
            Err(_) => bytes.get(..bytes.len().div_ceil(2)).unwrap(),
        };
        inner.change(Change::Put(path.to_owned(), written.to_vec()));
        done
    }

    fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        inner.alive()?;
        let found = inner.seen.get(path).cloned();
        let mut whole = found.ok_or(io::ErrorKind::NotFound)?;
        let at = usize::try_from(at).unwrap();
        if whole.len() < at {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        whole.truncate(at);
        whole.extend_from_slice(bytes);
        let done = inner.step_with_room("append", path, whole.len());
        match done {
            Ok(()) => inner.synced(path, whole),
            Err(_) => inner.leave_torn(path, &whole, at),
        }
        done
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step("remove", path)?;
        if !inner.seen.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step("rename", to)?;
        inner.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step("sync", dir)?;
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut inner.pending)
            .into_iter()
            .partition(|change| change.dir() == dir);
        inner.pending = rest;
        for change in synced {
            change.apply(&mut inner.durable);
        }
        Ok(())
    }
}
