//! The fast path of publishing: runs of `PUB` with identical control lines, but for the size.

use std::ops::Range;

use crate::dataplane::fast_path::Decision;
use crate::dataplane::replies::{self, Answer};
use crate::envelope::{Binding, OVERHEAD};
use crate::keyring::Snapshot;
use crate::metrics::{BatchStage, Direction};
use crate::policy::{KeyringId, Policy};
use crate::wire::{Buffer, Publish};

use super::decision::binds;
use super::path::PublishPath;

const VERB: &[u8] = b"PUB ";

/// The largest payload that a key version of the keyring may seal.
fn longest(policy: &Policy, decision: &Decision) -> usize {
    let longest = match decision {
        Decision::Pass => None,
        Decision::Keyring(keyring, _subject) => {
            policy.keyring(*keyring).map(|rule| rule.max_payload_len)
        }
    };
    longest.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

impl PublishPath<'_> {
    /// Begins a run behind a publish without headers and reply subject that has been forwarded.
    pub(super) fn begin_run(&mut self, snapshot: &Snapshot, publish: &Publish<'_>) {
        if publish.reply.is_some() || publish.headers.is_some() {
            return;
        }
        let most = self.most_payload();
        let limit = self.worker.shared.config.max_control_line;
        let parts = [VERB, publish.subject, b" "];
        if self.worker.shared.config.relay_only {
            self.fast_path.begin(&parts, Decision::Pass, (most, limit));
        } else if let Some(decision) = self.decision_for_repeated(publish) {
            let most = most.min(self.most_sealed().saturating_sub(OVERHEAD));
            let most = most.min(longest(snapshot.policy(), &decision));
            self.fast_path.begin(&parts, decision, (most, limit));
        }
    }

    /// The decision for further publishes on this subject; `None` for answers, which are bound to their requests one by one.
    fn decision_for_repeated(&self, publish: &Publish<'_>) -> Option<Decision> {
        let lookup = self.routes.repeated()?;
        let is_answer = replies::is_answer_subject(lookup)
            && self.state.borrow_mut().replies.answer_to(publish.subject) != Answer::Unknown;
        Decision::for_repeated(&self.routes, VERB, publish.subject).filter(|_| !is_answer)
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
                self.worker.meters.passed(Direction::Publish),
                (&mut self.watch, &self.worker.shared.clock),
            ),
            Some(Decision::Keyring(keyring, subject)) => {
                self.seal_run(snapshot, (keyring, subject), input, out)
            }
        }
    }

    fn seal_run(
        &mut self,
        snapshot: &Snapshot,
        (keyring, subject): (KeyringId, Range<usize>),
        input: &[u8],
        out: &mut Buffer,
    ) -> usize {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        let clock = &self.worker.shared.clock;
        let lanes = &mut *self.worker.lanes.borrow_mut();
        let watch = &mut self.watch;
        let (subject, row) = self.fast_path.run(subject);
        let binding = Binding::to(binds(snapshot.policy(), keyring).then_some(subject));
        let Some(mut lane) = lanes.bound(snapshot, keyring, binding) else {
            return 0;
        };
        row.each((input, out), |payload, output| {
            watch.lap(BatchStage::Parse, clock);
            let room = output.reserve(payload.len().saturating_add(OVERHEAD));
            lane.seal(payload, room)?;
            meters.sealed.add(payload.len());
            watch.lap(BatchStage::Crypto, clock);
            Some(())
        })
    }
}
