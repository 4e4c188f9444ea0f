//! The lines of a file of any length, one at a time.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::disk::{Action, Error, Files};

/// The longest line that is read as one, in bytes; those that keyway writes have a few kilobytes.
const MAX_LINE: u64 = 4 * 1024 * 1024;

pub(super) enum Piece {
    Line(Vec<u8>),
    /// Bytes without a line end: what stands behind the last one, or a part of a line that is too long.
    Rest(Vec<u8>),
}

/// Reads a file from its start to its end at the time of opening: a gateway may be appending to it.
pub(super) struct Pieces<'a> {
    path: &'a Path,
    reader: BufReader<Reader<'a>>,
}

struct Reader<'a> {
    files: &'a dyn Files,
    path: &'a Path,
    at: u64,
    end: u64,
}

impl Piece {
    pub(super) fn line(&self) -> Option<&[u8]> {
        match self {
            Self::Line(line) => Some(line),
            Self::Rest(_) => None,
        }
    }
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl<'a> Pieces<'a> {
    pub(super) fn open(files: &'a dyn Files, path: &'a Path) -> Result<Self, Error> {
        let end = files.len(path);
        let end = end.map_err(|e| Error::from_io(path, Action::Read, e))?;
        let at = 0;
        let reader = Reader {
            files,
            path,
            at,
            end,
        };
        let reader = BufReader::with_capacity(64 * 1024, reader);
        Ok(Self { path, reader })
    }

    /// The next piece; `None` at the end. A line longer than [`MAX_LINE`] comes in several.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Error> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.reader).take(MAX_LINE);
        limited
            .read_until(b'\n', &mut bytes)
            .map_err(|e| Error::from_io(self.path, Action::Read, e))?;
        Ok(match bytes.last() {
            None => None,
            Some(b'\n') => Some(Piece::Line(bytes)),
            Some(_) => Some(Piece::Rest(bytes)),
        })
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let bytes = self
            .files
            .read_at(self.path, self.at, into.len().min(left))?;
        for (to, from) in into.iter_mut().zip(&bytes) {
            *to = *from;
        }
        self.at = self.at.saturating_add(length(&bytes));
        Ok(bytes.len())
    }
}
