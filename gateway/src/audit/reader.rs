//! The lines of a file of any length, one at a time.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::disk::{Action, Error, Files};

/// The longest line that is believed to be one, in bytes; ours have a few kilobytes.
const MAX_LINE: u64 = 4 * 1024 * 1024;

/// A piece of a file.
pub(super) enum Piece {
    /// A line with its line end.
    Line(Vec<u8>),
    /// What stands behind the last line end.
    Rest(Vec<u8>),
}

/// Reads a file from its start, as far as it reached when reading began: a gateway may be adding to it.
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

impl<'a> Pieces<'a> {
    pub(super) fn open(files: &'a dyn Files, path: &'a Path) -> Result<Self, Error> {
        let end = files.len(path);
        let end = end.map_err(|e| Error::from_io(path, Action::Read, e))?;
        let reader = Reader {
            files,
            path,
            at: 0,
            end,
        };
        Ok(Self {
            path,
            reader: BufReader::with_capacity(64 * 1024, reader),
        })
    }

    /// The next piece; `None` at the end. A line that is far too long comes in pieces without a line end.
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
        let read = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        self.at = self.at.saturating_add(read);
        Ok(bytes.len())
    }
}
