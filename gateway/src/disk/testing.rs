//! A disk that forgets: what was not made durable may be gone after a crash, in part or as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::Files;

/// A disk in memory. `write`, `rename` and `sync_dir` are counted steps, at any of which it can fail or lose power.
#[derive(Default)]
pub(crate) struct Forgetful(Mutex<Inner>);

/// What happens at the armed step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// This step fails, later ones work.
    Error(io::ErrorKind),
    /// The process is dead: this step and all later ones fail, until [`Forgetful::restart`].
    Death,
}

#[derive(Default)]
struct Inner {
    /// What a running process sees.
    seen: BTreeMap<PathBuf, Vec<u8>>,
    /// What survives a power cut for certain.
    durable: BTreeMap<PathBuf, Vec<u8>>,
    /// Changes of directories that no fsync covers yet, oldest first.
    pending: Vec<Change>,
    armed: Option<(usize, Trouble)>,
    dead: bool,
    log: Vec<String>,
}

#[derive(Clone)]
enum Change {
    Put(PathBuf, Vec<u8>),
    Rename(PathBuf, PathBuf),
}

impl Forgetful {
    /// Trouble at the step with this index, counted from now.
    pub(crate) fn arm(&self, step: usize, trouble: Trouble) {
        self.inner().armed = Some((step, trouble));
    }

    /// Power is back. Of the changes that were not durable yet, the oldest `kept` have survived.
    pub(crate) fn restart(&self, kept: usize) {
        let mut inner = self.inner();
        let pending = std::mem::take(&mut inner.pending);
        for change in pending.iter().take(kept) {
            change.apply(&mut inner.durable);
        }
        inner.seen = inner.durable.clone();
        inner.armed = None;
        inner.dead = false;
    }

    /// How many changes are not durable yet.
    pub(crate) fn pending(&self) -> usize {
        self.inner().pending.len()
    }

    /// Whether the armed step has come.
    pub(crate) fn struck(&self) -> bool {
        self.inner().armed.is_none()
    }

    /// The steps taken since the last call: verb and file name.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().log)
    }

    /// Everything that a running process sees.
    pub(crate) fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.inner().seen.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn alive(&self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        Ok(())
    }

    fn step(&mut self, verb: &str, path: &Path) -> io::Result<()> {
        self.alive()?;
        let name = path.file_name().unwrap().to_string_lossy();
        self.log.push(format!("{verb} {name}"));
        match self.armed {
            Some((0, Trouble::Error(kind))) => {
                self.armed = None;
                Err(kind.into())
            }
            Some((0, Trouble::Death)) => {
                self.armed = None;
                self.dead = true;
                Err(io::Error::other("no power"))
            }
            Some((left, trouble)) => {
                self.armed = Some((left.saturating_sub(1), trouble));
                Ok(())
            }
            None => Ok(()),
        }
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
            Self::Rename(from, path) => {
                let bytes = to.remove(from).unwrap();
                to.insert(path.clone(), bytes);
            }
        }
    }

    fn dir(&self) -> &Path {
        let (Self::Put(path, _) | Self::Rename(_, path)) = self;
        path.parent().unwrap()
    }
}

impl Files for Forgetful {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        inner.alive()?;
        let found = inner.seen.get(path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
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
        let done = inner.step("write", path);
        let written = match done {
            Ok(()) => bytes,
            // A write that fails leaves any part behind.
            Err(_) => bytes.get(..bytes.len().div_ceil(2)).unwrap(),
        };
        inner.change(Change::Put(path.to_owned(), written.to_vec()));
        done
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
