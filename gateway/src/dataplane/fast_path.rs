//! The fast path: in a run of messages with identical control lines, what was decided for the first holds for all of a batch.

use std::ops::Range;

use crate::clock::Clock;
use crate::metrics::{BatchStage, Flow, Stopwatch};
use crate::policy::{KeyringId, Route};
use crate::wire::write::LineTemplate;
use crate::wire::{self, Buffer};

use super::buffer_pool::BATCH_OUTPUT;
use super::route_cache::RouteCache;

/// Longer lines take the slow path.
pub(super) const LONGEST: usize = 2 * 1024;

/// The current run in one direction of one session.
#[derive(Default)]
pub(super) struct FastPath {
    read: wire::LineRun,
    written: LineTemplate,
    decision: Option<Decision>,
    /// The longest payload for the fast path.
    most: usize,
}

/// What is done with the messages of a run.
#[derive(Clone)]
pub(super) enum Decision {
    /// They are forwarded unchanged.
    Pass,
    /// They are sealed or opened under this keyring; the range of the line is the normalised subject.
    Keyring(KeyringId, Range<usize>),
}

impl Decision {
    /// For a repeated `subject` of a keyring, which follows `verb` in the line.
    pub(super) fn for_repeated(routes: &RouteCache, verb: &[u8], subject: &[u8]) -> Option<Self> {
        let lookup = routes.repeated()?;
        let Route::Keyring(keyring) = lookup.route else {
            return None;
        };
        let end = verb.len().saturating_add(subject.len());
        let start = end.saturating_sub(lookup.normalise(subject).len());
        Some(Self::Keyring(keyring, start..end))
    }
}

impl FastPath {
    /// Begins a run of lines that start with `parts`, of at most `limit` bytes, with payloads of at most `most` bytes.
    pub(super) fn begin(
        &mut self,
        parts: &[&[u8]],
        decision: Decision,
        (most, limit): (usize, usize),
    ) {
        self.read.begin(parts, limit.min(LONGEST));
        self.written.end();
        self.decision = Some(decision);
        self.most = most;
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.read.bytes().saturating_add(self.written.bytes())
    }

    /// Ends the run.
    pub(super) fn end(&mut self) {
        self.read.end();
        self.decision = None;
    }

    /// `None` outside of a run.
    pub(super) fn decision(&self) -> Option<Decision> {
        self.decision.clone()
    }

    /// Appends the run at the start of `input` to `out` unchanged; returns its length in bytes.
    pub(super) fn pass(
        &mut self,
        (input, out): (&[u8], &mut Buffer),
        passed: &Flow,
        (watch, clock): (&mut Stopwatch, &Clock),
    ) -> usize {
        let room = BATCH_OUTPUT.saturating_sub(out.len());
        let mut row = self.read.reader();
        let mut taken = 0_usize;
        while taken < room
            && let Some(next) = row.next(input.get(taken..).unwrap_or_default(), self.most)
        {
            passed.add(next.payload.len());
            taken = taken.saturating_add(next.len);
        }
        watch.lap(BatchStage::Parse, clock);
        out.put(input.get(..taken).unwrap_or_default());
        watch.lap(BatchStage::Crypto, clock);
        taken
    }

    /// The messages of the run, and that part of their line.
    #[inline]
    pub(super) fn run(&mut self, part: Range<usize>) -> (&[u8], Run<'_>) {
        let read = self.read.reader();
        let part = read.start.get(part).unwrap_or_default();
        let row = Run {
            read,
            written: &mut self.written,
            decision: &mut self.decision,
            most: self.most,
        };
        (part, row)
    }
}

/// The messages of a run.
pub(super) struct Run<'s> {
    read: wire::LineRunReader<'s>,
    written: &'s mut LineTemplate,
    decision: &'s mut Option<Decision>,
    most: usize,
}

/// The output for one message of a run.
pub(super) struct MessageOutput<'s> {
    start: &'s [u8],
    written: &'s mut LineTemplate,
    out: &'s mut Buffer,
}

impl Run<'_> {
    /// Has `one` write each message of the run at the start of `input`; returns their length in bytes. The run ends at the first
    /// failure, which writes nothing: the slow path tries that message again, and reports it.
    #[inline]
    pub(super) fn each(
        mut self,
        (input, out): (&[u8], &mut Buffer),
        mut one: impl FnMut(&[u8], MessageOutput<'_>) -> Option<()>,
    ) -> usize {
        let mut taken = 0_usize;
        while out.len() < BATCH_OUTPUT
            && let Some(next) = self
                .read
                .next(input.get(taken..).unwrap_or_default(), self.most)
        {
            let before = out.len();
            let output = MessageOutput {
                start: self.read.start,
                written: self.written,
                out,
            };
            if one(next.payload, output).is_none() {
                out.truncate(before);
                *self.decision = None;
                break;
            }
            taken = taken.saturating_add(next.len);
        }
        taken
    }
}

impl<'s> MessageOutput<'s> {
    /// Writes the line; returns the space for `size` payload bytes.
    #[inline]
    pub(super) fn reserve(self, size: usize) -> &'s mut [u8] {
        self.written.frame(self.out, self.start, size)
    }
}
