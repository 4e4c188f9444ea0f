//! Publishes in a row that differ in their payloads alone: what holds for the first of them in a batch holds for all.

use std::ops::Range;

use crate::dataplane::route_cache::RouteCache;
use crate::envelope::OVERHEAD;
use crate::keyring::Snapshot;
use crate::metrics::{Direction, Stage};
use crate::policy::{Bind, KeyringId, Route};
use crate::wire::{self, Alike, Buffer, Publish, write};

use super::batch::{BATCH_OUTPUT, PublishPath};

/// A streak of publishes, and what becomes of them.
#[derive(Default)]
pub(super) struct Streak {
    line: wire::Streak,
    fate: Option<Fate>,
    /// The longest payload that goes out without a question.
    most: usize,
}

#[derive(Clone)]
enum Fate {
    Pass,
    /// Sealed under this keyring, bound to that part of the line.
    Seal(KeyringId, Option<Range<usize>>),
}

impl Streak {
    pub(super) fn end(&mut self) {
        self.line.end();
        self.fate = None;
    }

    fn next<'b>(&self, input: &'b [u8]) -> Option<Alike<'b>> {
        self.line.next(input, self.most)
    }

    fn begin(&mut self, subject: &[u8], fate: Fate, (most, limit): (usize, usize)) {
        self.line.begin(&[VERB, subject, b" "], limit);
        self.fate = Some(fate);
        self.most = most;
    }
}

const VERB: &[u8] = b"PUB ";

impl PublishPath<'_> {
    /// After a publish that went out as it should: those behind it may be like it.
    pub(super) fn expect_alike(&mut self, snapshot: &Snapshot, publish: &Publish<'_>) {
        if publish.reply.is_some() || publish.headers.is_some() {
            return;
        }
        let most = self.most_payload();
        let limit = self.worker.shared.config.max_control_line;
        if self.worker.shared.config.relay_only {
            self.streak
                .begin(publish.subject, Fate::Pass, (most, limit));
        } else if let Some((keyring, bound)) = sealed(&self.routes, snapshot, publish.subject) {
            let most = most.min(self.most_sealed().saturating_sub(OVERHEAD));
            let fate = Fate::Seal(keyring, bound);
            self.streak.begin(publish.subject, fate, (most, limit));
        }
    }

    /// Carries what is alike at the start of `input`; says how many bytes of it that was.
    pub(super) fn alike(&mut self, snapshot: &Snapshot, input: &[u8], out: &mut Buffer) -> usize {
        match self.streak.fate.clone() {
            None => 0,
            Some(Fate::Pass) => self.pass_alike(input, out),
            Some(Fate::Seal(keyring, bound)) => {
                self.seal_alike(snapshot, (keyring, bound), input, out)
            }
        }
    }

    fn pass_alike(&mut self, input: &[u8], out: &mut Buffer) -> usize {
        let room = BATCH_OUTPUT.saturating_sub(out.len());
        let passed = self.worker.meters.passed(Direction::Publish);
        let mut taken = 0_usize;
        while taken < room
            && let Some(next) = self.streak.next(input.get(taken..).unwrap_or_default())
        {
            passed.add(next.payload.len());
            taken = taken.saturating_add(next.len);
        }
        self.watch.lap(Stage::Parse, &self.worker.shared.clock);
        out.put(input.get(..taken).unwrap_or_default());
        self.watch.lap(Stage::Crypto, &self.worker.shared.clock);
        taken
    }

    fn seal_alike(
        &mut self,
        snapshot: &Snapshot,
        (keyring, bound): (KeyringId, Option<Range<usize>>),
        input: &[u8],
        out: &mut Buffer,
    ) -> usize {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        let lanes = &mut *self.worker.lanes.borrow_mut();
        let start = self.streak.line.start();
        let bound = bound.and_then(|part| start.get(part));
        let mut taken = 0_usize;
        while out.len() < BATCH_OUTPUT
            && let Some(next) = self.streak.next(input.get(taken..).unwrap_or_default())
        {
            self.watch.lap(Stage::Parse, &self.worker.shared.clock);
            let before = out.len();
            let room = write::frame(out, start, next.payload.len().saturating_add(OVERHEAD));
            let Ok(drawn) = lanes.seal(snapshot, keyring, bound, (next.payload, room)) else {
                // Said and counted where it is tried again.
                out.truncate(before);
                self.streak.end();
                break;
            };
            meters.lanes_started.add(u64::from(drawn));
            meters.sealed.add(next.payload.len());
            taken = taken.saturating_add(next.len);
            self.watch.lap(Stage::Crypto, &self.worker.shared.clock);
        }
        taken
    }
}

/// What publishes on this subject, which is repeated, are sealed under, whatever else is said on the connection; and where in the line
/// stands what they are bound to.
fn sealed(
    routes: &RouteCache,
    snapshot: &Snapshot,
    subject: &[u8],
) -> Option<(KeyringId, Option<Range<usize>>)> {
    let look = routes.repeated()?;
    let Route::Keyring(keyring) = look.route else {
        return None;
    };
    let end = VERB.len().saturating_add(subject.len());
    let start = end.saturating_sub(look.bare(subject).len());
    let bound = match snapshot.policy().keyring(keyring)?.bind {
        Bind::Keyring => None,
        Bind::Subject { .. } => Some(start..end),
    };
    Some((keyring, bound))
}
