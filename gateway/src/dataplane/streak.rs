//! Messages in a row that differ in their payloads alone: what was decided for the first of them in a batch holds for all.

use std::ops::Range;

use crate::clock::Clock;
use crate::metrics::{Flow, Stage, Stopwatch};
use crate::policy::{KeyringId, Route};
use crate::wire::write::Lines;
use crate::wire::{self, Buffer};

use super::pool::BATCH_OUTPUT;
use super::route_cache::RouteCache;

/// Longer lines are none of a streak.
pub(super) const LONGEST: usize = 2 * 1024;

/// A streak in one direction of one session, and what becomes of it.
#[derive(Default)]
pub(super) struct Streak {
    read: wire::Streak,
    written: Lines,
    fate: Option<Fate>,
    /// The longest payload that is taken without a question.
    most: usize,
}

/// What becomes of the messages of a streak.
#[derive(Clone)]
pub(super) enum Fate {
    /// They go through as they are.
    Pass,
    /// They are sealed or opened under this keyring; in that part of the line stands the normalised subject.
    Keyring(KeyringId, Range<usize>),
}

impl Fate {
    /// That of what goes by a keyring on `subject`, which is repeated, whatever else is said on the connection. It stands behind `verb`.
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
    /// Lines that begin with `parts`, of at most `limit` bytes, with payloads of at most `most`.
    pub(super) fn begin(&mut self, parts: &[&[u8]], fate: Fate, (most, limit): (usize, usize)) {
        self.read.begin(parts, limit.min(LONGEST));
        self.written.end();
        self.fate = Some(fate);
        self.most = most;
    }

    /// What it holds, in bytes.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.read.bytes().saturating_add(self.written.bytes())
    }

    /// What comes is like nothing that was.
    pub(super) fn end(&mut self) {
        self.read.end();
        self.fate = None;
    }

    /// What becomes of what is alike; `None` outside of a streak.
    pub(super) fn fate(&self) -> Option<Fate> {
        self.fate.clone()
    }

    /// Appends what is alike at the start of `input` as it is; says how many bytes of it that was.
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

    /// The messages that come, and that part of how their lines begin.
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

/// The messages of a streak.
pub(super) struct Row<'s> {
    read: wire::Row<'s>,
    written: &'s mut Lines,
    fate: &'s mut Option<Fate>,
    most: usize,
}

/// Where a message of a streak goes.
pub(super) struct Place<'s> {
    start: &'s [u8],
    written: &'s mut Lines,
    out: &'s mut Buffer,
}

impl Row<'_> {
    /// Has `one` put each payload at the start of `input` that is alike in its place; says how many bytes of `input` that was. The
    /// streak ends at the first for which that fails, which leaves nothing: it is said and counted where it is tried again.
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
    /// The line, and room for `size` bytes behind it.
    #[inline]
    pub(super) fn of(self, size: usize) -> &'s mut [u8] {
        self.written.frame(self.out, self.start, size)
    }
}
