//! Deliveries in a row that differ in their payloads alone: what holds for the first of them in a batch holds for all.

use std::ops::Range;

use crate::dataplane::route_cache::RouteCache;
use crate::envelope::{OVERHEAD, looks_sealed};
use crate::keyring::{self, Snapshot};
use crate::metrics::{Direction, Stage};
use crate::policy::{KeyringId, Route};
use crate::wire::{self, Alike, Buffer, Limits, Message, write};

use super::batch::{BATCH_OUTPUT, DeliverPath};

/// A streak of deliveries, and what becomes of them.
#[derive(Default)]
pub(super) struct Streak {
    line: wire::Streak,
    fate: Option<Fate>,
    /// The longest payload that is taken.
    most: usize,
}

#[derive(Clone)]
enum Fate {
    Pass,
    /// Sealed under this keyring, for the subject in that part of the line.
    Open(KeyringId, Range<usize>),
}

impl Streak {
    pub(super) fn end(&mut self) {
        self.line.end();
        self.fate = None;
    }

    fn next<'b>(&self, input: &'b [u8]) -> Option<Alike<'b>> {
        self.line.next(input, self.most)
    }
}

const VERB: &[u8] = b"MSG ";

impl DeliverPath<'_> {
    /// After a message that was delivered as it should, opened under `keyring` for its own subject if it was opened: those behind it may be like it.
    pub(super) fn expect_alike(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        keyring: Option<KeyringId>,
    ) {
        if message.reply.is_some() || message.headers.is_some() {
            return;
        }
        let config = &self.worker.shared.config;
        let fate = if config.relay_only {
            Some(Fate::Pass)
        } else if self.deaf.any() || snapshot.policy().awaits_acknowledgements() {
            None
        } else {
            keyring.and_then(|keyring| opened(&self.routes, message.subject, keyring))
        };
        if fate.is_some() {
            let parts = [VERB, message.subject, b" ", message.sid, b" "];
            let limit = Limits::default().max_server_line;
            self.streak.line.begin(&parts, limit);
            self.streak.most = config.max_message;
            self.streak.fate = fate;
        }
    }

    /// Carries what is alike at the start of `input`; says how many bytes of it that was.
    pub(super) fn alike(&mut self, snapshot: &Snapshot, input: &[u8], out: &mut Buffer) -> usize {
        match self.streak.fate.clone() {
            None => 0,
            Some(Fate::Pass) => self.pass_alike(input, out),
            Some(Fate::Open(keyring, subject)) => {
                self.open_alike(snapshot, (keyring, subject), input, out)
            }
        }
    }

    fn pass_alike(&mut self, input: &[u8], out: &mut Buffer) -> usize {
        let room = BATCH_OUTPUT.saturating_sub(out.len());
        let passed = self.worker.meters.passed(Direction::Deliver);
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

    fn open_alike(
        &mut self,
        snapshot: &Snapshot,
        (keyring, subject): (KeyringId, Range<usize>),
        input: &[u8],
        out: &mut Buffer,
    ) -> usize {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        let lanes = &mut *self.lanes.borrow_mut();
        let start = self.streak.line.start();
        let subject = start.get(subject).unwrap_or_default();
        let mut taken = 0_usize;
        while out.len() < BATCH_OUTPUT
            && let Some(next) = self.streak.next(input.get(taken..).unwrap_or_default())
            && looks_sealed(next.payload)
            && let Some(len) = next.payload.len().checked_sub(OVERHEAD)
        {
            self.watch.lap(Stage::Parse, &self.worker.shared.clock);
            let before = out.len();
            let message = (next.payload, write::frame(out, start, len));
            let Ok(opened) = keyring::open(snapshot, lanes, Some(keyring), subject, message) else {
                // Said and counted where it is tried again.
                out.truncate(before);
                self.streak.end();
                break;
            };
            self.worker.meters.lane_lookup(opened.source);
            meters.opened.add(len);
            taken = taken.saturating_add(next.len);
            self.watch.lap(Stage::Crypto, &self.worker.shared.clock);
        }
        taken
    }
}

/// What becomes of envelopes on this subject, which is repeated, whatever else is said on the connection.
fn opened(routes: &RouteCache, subject: &[u8], keyring: KeyringId) -> Option<Fate> {
    let look = routes.repeated()?;
    if look.route != Route::Keyring(keyring) {
        return None;
    }
    let end = VERB.len().saturating_add(subject.len());
    let start = end.saturating_sub(look.bare(subject).len());
    Some(Fate::Open(keyring, start..end))
}
