//! The fast path of delivering: runs of `MSG` with identical control lines, but for the size.

use std::ops::Range;

use crate::dataplane::streak::Fate;
use crate::envelope::{Binding, OVERHEAD, looks_sealed};
use crate::keyring::{Opener, Snapshot};
use crate::metrics::{Direction, Stage};
use crate::policy::KeyringId;
use crate::wire::{Buffer, Limits, Message};

use super::batch::DeliverPath;

const VERB: &[u8] = b"MSG ";

impl DeliverPath<'_> {
    /// Begins a run behind a message without headers and reply subject that was forwarded. `keyring` is the one under which it
    /// opened, for its own subject.
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
            Fate::of_repeated(&self.routes, VERB, message.subject)
                .filter(|fate| matches!(fate, Fate::Keyring(route, _) if keyring == Some(*route)))
        };
        if let Some(fate) = fate {
            let parts = [VERB, message.subject, b" ", message.sid, b" "];
            let limit = Limits::default().max_server_line;
            self.streak.begin(&parts, fate, (config.max_message, limit));
        }
    }

    /// Forwards the messages at the start of `input` that belong to the run; how many bytes of input those were.
    pub(super) fn alike(&mut self, snapshot: &Snapshot, input: &[u8], out: &mut Buffer) -> usize {
        match self.streak.fate() {
            None => 0,
            Some(Fate::Pass) => self.streak.pass(
                (input, out),
                self.worker.meters.passed(Direction::Deliver),
                (&mut self.watch, &self.worker.shared.clock),
            ),
            Some(Fate::Keyring(keyring, subject)) => {
                self.open_alike(snapshot, (keyring, subject), input, out)
            }
        }
    }

    fn open_alike(
        &mut self,
        snapshot: &Snapshot,
        (keyring, subject): (KeyringId, Range<usize>),
        input: &[u8],
        out: &mut Buffer,
    ) -> usize {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        let clock = &self.worker.shared.clock;
        let lanes = &mut *self.lanes.borrow_mut();
        let watch = &mut self.watch;
        let (subject, row) = self.streak.row(subject);
        let mut opener = Opener::new(snapshot, lanes, Some(keyring), Binding::to(Some(subject)));
        row.each((input, out), |payload, place| {
            if !looks_sealed(payload) {
                return None;
            }
            let len = payload.len().checked_sub(OVERHEAD)?;
            watch.lap(Stage::Parse, clock);
            let opened = opener.open(payload, place.of(len)).ok()?;
            self.worker.meters.lane_lookup(opened.source);
            meters.opened.add(len);
            watch.lap(Stage::Crypto, clock);
            Some(())
        })
    }
}
