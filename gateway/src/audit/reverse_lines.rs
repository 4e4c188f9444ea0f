//! Reads the lines of a log from its end.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Action, Error, Files};

/// How much is read at a time, in bytes.
const CHUNK: u64 = 64 * 1024;

/// Reads whole lines, the last one first. An incomplete last line is skipped.
pub struct ReverseLines {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// Where `held` begins in the file.
    at: u64,
    held: Vec<u8>,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// What stands behind the last line end is yet to be skipped.
    Untrimmed,
    /// `held` ends where the next line does.
    Lines,
    /// The first line was read.
    Done,
}

impl ReverseLines {
    /// Begins at the end of the file as it is now.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn open(files: Arc<dyn Files>, path: PathBuf) -> Result<Self, Error> {
        let end = files.len(&path);
        let at = end.map_err(|e| Error::from_io(&path, Action::Read, e))?;
        Ok(Self::from(files, path, at))
    }

    /// Begins at a line end.
    pub(super) const fn from(files: Arc<dyn Files>, path: PathBuf, at: u64) -> Self {
        Self {
            files,
            path,
            at,
            held: Vec::new(),
            progress: Progress::Untrimmed,
        }
    }

    /// The line before the one that was read last, without its line end; `None` before the first.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while self.progress != Progress::Done {
            let (was, piece) = match memchr::memrchr(b'\n', &self.held) {
                Some(end) => (self.now(Progress::Lines), self.cut(end)),
                None if self.at == 0 => (self.now(Progress::Done), std::mem::take(&mut self.held)),
                None => {
                    self.fetch()?;
                    continue;
                }
            };
            if was == Progress::Lines {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    const fn now(&mut self, progress: Progress) -> Progress {
        std::mem::replace(&mut self.progress, progress)
    }

    /// Cuts off what stands behind this line end, and the line end.
    fn cut(&mut self, end: usize) -> Vec<u8> {
        let piece = self.held.split_off(end.saturating_add(1));
        self.held.truncate(end);
        piece
    }

    fn fetch(&mut self) -> Result<(), Error> {
        let from = self.at.saturating_sub(CHUNK);
        let len = usize::try_from(self.at.saturating_sub(from)).unwrap_or(0);
        let read = self.files.read_at(&self.path, from, len);
        let mut read = read.map_err(|e| Error::from_io(&self.path, Action::Read, e))?;
        read.append(&mut self.held);
        self.held = read;
        self.at = from;
        Ok(())
    }
}
