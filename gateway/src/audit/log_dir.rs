//! The directory of an audit log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Action, Error, Files};

/// The file of the lines.
pub const LOG: &str = "log.jsonl";
/// The file of the signed checkpoints over them.
pub const CHECKPOINTS: &str = "checkpoints";
/// The file that reserves disk space for revocations.
const RESERVE: &str = "reserve";
/// Its size, in bytes.
const RESERVE_LEN: usize = 1024 * 1024;

/// A log's directory. Its writer holds the lock of the state directory.
#[derive(Clone)]
pub struct LogDir {
    pub(super) files: Arc<dyn Files>,
    dir: PathBuf,
    reserve: usize,
}

/// The files of a log, for reading.
#[derive(Clone, Copy)]
pub struct LogFiles<'a> {
    /// The disk.
    pub files: &'a dyn Files,
    /// The lines.
    pub log: &'a Path,
    /// The checkpoints beside it.
    pub checkpoints: &'a Path,
}

impl LogDir {
    /// The log in this directory, which must exist.
    #[must_use]
    pub const fn new(files: Arc<dyn Files>, dir: PathBuf) -> Self {
        Self {
            files,
            dir,
            reserve: RESERVE_LEN,
        }
    }

    /// Changes the size of the reserve, for the smaller disks of simulations.
    #[must_use]
    pub const fn with_reserve(mut self, bytes: usize) -> Self {
        self.reserve = bytes;
        self
    }

    /// The path of the lines.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// The path of the checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join(CHECKPOINTS)
    }

    /// The path of the reserve.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }

    pub(super) fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let done = self.files.append(path, at, bytes);
        done.map_err(|e| Error::from_io(path, Action::Append, e))
    }

    /// Whether the reserve exists in its full size.
    pub(super) fn has_reserve(&self) -> bool {
        let len = self.files.len(&self.reserve());
        len.is_ok_and(|len| u64::try_from(self.reserve).is_ok_and(|wanted| len >= wanted))
    }

    /// Writes the reserve, with random bytes, so that no file system compresses or deduplicates it.
    pub(super) fn fill_reserve(&self) -> Result<(), Error> {
        let path = self.reserve();
        let mut bytes = vec![0; self.reserve];
        if aws_lc_rs::rand::fill(&mut bytes).is_err() {
            tracing::debug!("the audit log's reserve holds zeros: no random bytes");
        }
        let written = self.files.write(&path, &bytes);
        let written = written.map_err(|e| Error::from_io(&path, Action::Write, e));
        let written = written.and_then(|()| self.sync());
        if written.is_err() && self.files.remove(&path).is_ok() {
            tracing::debug!("a part of the audit log's reserve was removed again");
        }
        written
    }

    pub(super) fn release_reserve(&self) -> Result<(), Error> {
        let path = self.reserve();
        let removed = self.files.remove(&path);
        removed.map_err(|e| Error::from_io(&path, Action::Remove, e))?;
        self.sync()
    }

    /// Creates a file with these first bytes, atomically.
    pub(super) fn begin(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        disk::replace(&*self.files, path, bytes)
    }

    fn sync(&self) -> Result<(), Error> {
        disk::sync(&*self.files, &self.dir)
    }
}
