//! The fast path: in a run of messages with identical control lines, what was decided for the first holds for all of a batch.

use std::ops::Range;

use crate::clock::Clock;
use crate::metrics::{Flow, Stage, Stopwatch};
use crate::policy::{KeyringId, Route};
use crate::wire::write::Lines;
use crate::wire::{self, Buffer};

use super::pool::BATCH_OUTPUT;
use super::route_cache::RouteCache;

/// Longer lines take the slow path.
pub(super) const LONGEST: usize = 2 * 1024;

/// The current run in one direction of one session.
#[derive(Default)]
pub(super) struct Streak {
    read: wire::Streak,
    written: Lines,
    fate: Option<Fate>,
    /// The longest payload for the fast path.
    most: usize,
}

/// What is done with the messages of a run.
#[derive(Clone)]
pub(super) enum Fate {
    /// They are forwarded unchanged.
    Pass,
    /// They are sealed or opened under this keyring; the range of the line is the normalised subject.
    Keyring(KeyringId, Range<usize>),
}

impl Fate {
    /// For a repeated `subject` of a keyring, which follows `verb` in the line.
    pub(super) fn of_repeated(routes: &RouteCache, verb: &[u8], subject: &[u8]) -> Option<Self> {
        let look = routes.repeated()?;
        let Route::Keyring(keyring) = look.route else {
            return None;
        };
        let end = verb.len().saturating_add(subject.len());
        let start = end.saturating_sub(look.bare(subject).len());
        Some(Self::Keyring(keyring, start..end))
    }
}

impl Streak {
    /// Begins a run of lines that start with `parts`, of at most `limit` bytes, with payloads of at most `most` bytes.
    pub(super) fn begin(&mut self, parts: &[&[u8]], fate: Fate, (most, limit): (usize, usize)) {
        self.read.begin(parts, limit.min(LONGEST));
        self.written.end();
        self.fate = Some(fate);
        self.most = most;
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.read.bytes().saturating_add(self.written.bytes())
    }

    /// Ends the run.
    pub(super) fn end(&mut self) {
        self.read.end();
        self.fate = None;
    }

    /// `None` outside of a run.
    pub(super) fn fate(&self) -> Option<Fate> {
        self.fate.clone()
    }

    /// Appends the run at the start of `input` to `out` unchanged; returns its length in bytes.
    pub(super) fn pass(
        &mut self,
        (input, out): (&[u8], &mut Buffer),
        passed: &Flow,
        (watch, clock): (&mut Stopwatch, &Clock),
    ) -> usize {
        let room = BATCH_OUTPUT.saturating_sub(out.len());
        let mut row = self.read.row();
        let mut taken = 0_usize;
        while taken < room
            && let Some(next) = row.next(input.get(taken..).unwrap_or_default(), self.most)
        {
            passed.add(next.payload.len());
            taken = taken.saturating_add(next.len);
        }
        watch.lap(Stage::Parse, clock);
        out.put(input.get(..taken).unwrap_or_default());
        watch.lap(Stage::Crypto, clock);
        taken
    }

    /// The messages of the run, and that part of their line.
    #[inline]
    pub(super) fn row(&mut self, part: Range<usize>) -> (&[u8], Row<'_>) {
        let read = self.read.row();
        let part = read.start.get(part).unwrap_or_default();
        let row = Row {
            read,
            written: &mut self.written,
            fate: &mut self.fate,
            most: self.most,
        };
        (part, row)
    }
}

/// The messages of a run.
pub(super) struct Row<'s> {
    read: wire::Row<'s>,
    written: &'s mut Lines,
    fate: &'s mut Option<Fate>,
    most: usize,
}

/// The output for one message of a run.
pub(super) struct Place<'s> {
    start: &'s [u8],
    written: &'s mut Lines,
    out: &'s mut Buffer,
}

impl Row<'_> {
    /// Has `one` write each message of the run at the start of `input`; returns their length in bytes. The run ends at the first
    /// failure, which writes nothing: the slow path tries that message again, and reports it.
    #[inline]
    pub(super) fn each(
        mut self,
        (input, out): (&[u8], &mut Buffer),
        mut one: impl FnMut(&[u8], Place<'_>) -> Option<()>,
    ) -> usize {
        let mut taken = 0_usize;
        while out.len() < BATCH_OUTPUT
            && let Some(next) = self
                .read
                .next(input.get(taken..).unwrap_or_default(), self.most)
        {
            let before = out.len();
            let place = Place {
                start: self.read.start,
                written: self.written,
                out,
            };
            if one(next.payload, place).is_none() {
                out.truncate(before);
                *self.fate = None;
                break;
            }
            taken = taken.saturating_add(next.len);
        }
        taken
    }
}

impl<'s> Place<'s> {
    /// Writes the line; returns the space for `size` payload bytes.
    #[inline]
    pub(super) fn of(self, size: usize) -> &'s mut [u8] {
        self.written.frame(self.out, self.start, size)
    }
}
