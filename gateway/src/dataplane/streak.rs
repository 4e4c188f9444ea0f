//! Messages in a row that differ in their payloads alone: what was decided for the first of them in a batch holds for all.

use std::ops::Range;

use crate::clock::Clock;
use crate::metrics::{Flow, Stage, Stopwatch};
use crate::policy::{KeyringId, Route};
use crate::wire::{self, Alike, Buffer};

use super::pool::BATCH_OUTPUT;
use super::route_cache::RouteCache;

/// A streak in one direction of one session, and what becomes of it.
#[derive(Default)]
pub(super) struct Streak {
    line: wire::Streak,
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
        self.line.begin(parts, limit);
        self.fate = Some(fate);
        self.most = most;
    }

    /// What comes is like nothing that was.
    pub(super) fn end(&mut self) {
        self.line.end();
        self.fate = None;
    }

    /// What becomes of what is alike; `None` outside of a streak.
    pub(super) fn fate(&self) -> Option<Fate> {
        self.fate.clone()
    }

    /// Appends what is alike at the start of `input` as it is; says how many bytes of it that was.
    pub(super) fn pass(
        &self,
        (input, out): (&[u8], &mut Buffer),
        passed: &Flow,
        (watch, clock): (&mut Stopwatch, &Clock),
    ) -> usize {
        let room = BATCH_OUTPUT.saturating_sub(out.len());
        let mut taken = 0_usize;
        while taken < room
            && let Some(next) = self.next(input.get(taken..).unwrap_or_default())
        {
            passed.add(next.payload.len());
            taken = taken.saturating_add(next.len);
        }
        watch.lap(Stage::Parse, clock);
        out.put(input.get(..taken).unwrap_or_default());
        watch.lap(Stage::Crypto, clock);
        taken
    }

    /// Has `one` append each payload at the start of `input` that is alike, given how its line begins and the part of that which is `subject`; says
    /// how many bytes of `input` that was. The streak ends at the first for which that fails, which leaves nothing: it is said and
    /// counted where it is tried again.
    #[inline]
    pub(super) fn each(
        &mut self,
        (input, out): (&[u8], &mut Buffer),
        subject: Range<usize>,
        mut one: impl FnMut((&[u8], &[u8]), &[u8], &mut Buffer) -> Option<()>,
    ) -> usize {
        let start = self.line.start();
        let subject = start.get(subject).unwrap_or_default();
        let mut taken = 0_usize;
        while out.len() < BATCH_OUTPUT
            && let Some(next) = self.next(input.get(taken..).unwrap_or_default())
        {
            let before = out.len();
            if one((start, subject), next.payload, out).is_none() {
                out.truncate(before);
                self.end();
                break;
            }
            taken = taken.saturating_add(next.len);
        }
        taken
    }

    fn next<'b>(&self, input: &'b [u8]) -> Option<Alike<'b>> {
        self.line.next(input, self.most)
    }
}
