//! Where a log is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Action, Error, Files};

/// The lines.
pub const LOG: &str = "log.jsonl";
/// The signed checkpoints over them.
pub const CHECKPOINTS: &str = "checkpoints";
/// Space that is kept for revocations.
const RESERVE: &str = "reserve";
/// How much of it, in bytes.
const RESERVE_LEN: usize = 1024 * 1024;

/// A log's directory, on a disk. Whoever writes there holds the state directory's lock.
#[derive(Clone)]
pub struct Place {
    pub(super) files: Arc<dyn Files>,
    dir: PathBuf,
    reserve: usize,
}

/// The files of a log that is only read.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The disk.
    pub files: &'a dyn Files,
    /// The lines.
    pub log: &'a Path,
    /// The checkpoints that were written beside it; `None`: only those that are kept elsewhere count.
    pub checkpoints: Option<&'a Path>,
}

impl Place {
    /// The log in this directory, which must be there.
    #[must_use]
    pub const fn new(files: Arc<dyn Files>, dir: PathBuf) -> Self {
        Self {
            files,
            dir,
            reserve: RESERVE_LEN,
        }
    }

    /// The same with a reserve of so many bytes: a simulation has smaller disks.
    #[must_use]
    pub const fn with_reserve(mut self, bytes: usize) -> Self {
        self.reserve = bytes;
        self
    }

    /// Where the lines are.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// Where the checkpoints are.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join(CHECKPOINTS)
    }

    /// Where the reserve is.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }

    pub(super) fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let done = self.files.append(path, at, bytes);
        done.map_err(|e| Error::from_io(path, Action::Append, e))
    }

    /// Whether the reserve is there, whole.
    pub(super) fn has_reserve(&self) -> bool {
        let len = self.files.len(&self.reserve());
        len.is_ok_and(|len| u64::try_from(self.reserve).is_ok_and(|wanted| len >= wanted))
    }

    /// Writes the reserve: real blocks, which no file system saves by knowing their content.
    pub(super) fn fill_reserve(&self) -> Result<(), Error> {
        let path = self.reserve();
        let mut bytes = vec![0; self.reserve];
        if aws_lc_rs::rand::fill(&mut bytes).is_err() {
            tracing::debug!("the audit log's reserve holds zeros: no random bytes");
        }
        let written = self
            .files
            .write(&path, &bytes)
            .map_err(|e| Error::from_io(&path, Action::Write, e))
            .and_then(|()| self.sync());
        if written.is_err() && self.files.remove(&path).is_ok() {
            tracing::debug!("a part of the audit log's reserve was removed again");
        }
        written
    }

    /// Gives the reserve's space back.
    pub(super) fn release_reserve(&self) -> Result<(), Error> {
        let path = self.reserve();
        let removed = self.files.remove(&path);
        removed.map_err(|e| Error::from_io(&path, Action::Remove, e))?;
        self.sync()
    }

    /// Puts the first bytes of a file in its place.
    pub(super) fn begin(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        disk::replace(&*self.files, path, bytes)
    }

    fn sync(&self) -> Result<(), Error> {
        let done = self.files.sync_dir(&self.dir);
        done.map_err(|e| Error::from_io(&self.dir, Action::SyncDir, e))
    }
}
