//! The fast path of delivering: runs of `MSG` with identical control lines, but for the size.

use std::ops::Range;

use crate::dataplane::fast_path::Decision;
use crate::envelope::{Binding, OVERHEAD, looks_sealed};
use crate::keyring::{Opener, Snapshot};
use crate::metrics::{BatchStage, Direction};
use crate::policy::KeyringId;
use crate::wire::{Buffer, Limits, Message};

use super::path::DeliverPath;

const VERB: &[u8] = b"MSG ";

impl DeliverPath<'_> {
    /// Begins a run behind a message without headers and reply subject that was forwarded. `keyring` is the one under which it
    /// opened, for its own subject.
    pub(super) fn begin_run(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        keyring: Option<KeyringId>,
    ) {
        if message.reply.is_some() || message.headers.is_some() {
            return;
        }
        let config = &self.worker.shared.config;
        let decision = if config.relay_only {
            Some(Decision::Pass)
        } else if self.state.borrow().identity.deliver_denied.any()
            || snapshot.policy().awaits_pub_acks()
        {
            None
        } else {
            Decision::for_repeated(&self.routes, VERB, message.subject)
                .filter(|decision| matches!(decision, Decision::Keyring(route, _) if keyring == Some(*route)))
        };
        if let Some(decision) = decision {
            let parts = [VERB, message.subject, b" ", message.sid, b" "];
            let limit = Limits::default().max_server_line;
            self.fast_path
                .begin(&parts, decision, (config.max_message, limit));
        }
    }

    /// Forwards the messages at the start of `input` that belong to the run; how many bytes of input those were.
    pub(super) fn forward_run(
        &mut self,
        snapshot: &Snapshot,
        input: &[u8],
        out: &mut Buffer,
    ) -> usize {
        match self.fast_path.decision() {
            None => 0,
            Some(Decision::Pass) => self.fast_path.pass(
                (input, out),
                self.worker.meters.passed(Direction::Deliver),
                (&mut self.watch, &self.worker.shared.clock),
            ),
            Some(Decision::Keyring(keyring, subject)) => {
                self.open_run(snapshot, (keyring, subject), input, out)
            }
        }
    }

    fn open_run(
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
        let (subject, row) = self.fast_path.run(subject);
        let mut opener = Opener::new(snapshot, lanes, Some(keyring), Binding::to(Some(subject)));
        row.each((input, out), |payload, output| {
            if !looks_sealed(payload) {
                return None;
            }
            let len = payload.len().checked_sub(OVERHEAD)?;
            watch.lap(BatchStage::Parse, clock);
            let opened = opener.open(payload, output.reserve(len)).ok()?;
            self.worker.meters.lane_lookup(opened.source);
            meters.opened.add(len);
            watch.lap(BatchStage::Crypto, clock);
            Some(())
        })
    }
}
