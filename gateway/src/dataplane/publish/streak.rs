//! The fast path of publishing: runs of `PUB` with identical control lines, but for the size.

use std::ops::Range;

use crate::dataplane::replies::{self, Answer};
use crate::dataplane::streak::Fate;
use crate::envelope::{Binding, OVERHEAD};
use crate::keyring::Snapshot;
use crate::metrics::{Direction, Stage};
use crate::policy::{KeyringId, Policy};
use crate::wire::{Buffer, Publish};

use super::batch::{PublishPath, binds};

const VERB: &[u8] = b"PUB ";

/// The largest payload that a key version of the keyring may seal.
fn longest(policy: &Policy, fate: &Fate) -> usize {
    let longest = match fate {
        Fate::Pass => None,
        Fate::Keyring(keyring, _subject) => policy.keyring(*keyring).map(|rule| rule.longest),
    };
    longest.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

impl PublishPath<'_> {
    /// Begins a run behind a publish without headers and reply subject that has been forwarded.
    pub(super) fn expect_alike(&mut self, snapshot: &Snapshot, publish: &Publish<'_>) {
        if publish.reply.is_some() || publish.headers.is_some() {
            return;
        }
        let most = self.most_payload();
        let limit = self.worker.shared.config.max_control_line;
        let parts = [VERB, publish.subject, b" "];
        if self.worker.shared.config.relay_only {
            self.streak.begin(&parts, Fate::Pass, (most, limit));
        } else if let Some(fate) = self.fate_of_repeated(publish) {
            let most = most.min(self.most_sealed().saturating_sub(OVERHEAD));
            let most = most.min(longest(snapshot.policy(), &fate));
            self.streak.begin(&parts, fate, (most, limit));
        }
    }

    /// The decision for further publishes on this subject; `None` for answers, which are bound to their requests one by one.
    fn fate_of_repeated(&self, publish: &Publish<'_>) -> Option<Fate> {
        let look = self.routes.repeated()?;
        let is_answer = replies::are_answers(look)
            && self.link.borrow_mut().replies.answer_to(publish.subject) != Answer::Unknown;
        Fate::of_repeated(&self.routes, VERB, publish.subject).filter(|_| !is_answer)
    }

    /// Forwards the messages at the start of `input` that belong to the run; how many bytes of input those were.
    pub(super) fn alike(&mut self, snapshot: &Snapshot, input: &[u8], out: &mut Buffer) -> usize {
        match self.streak.fate() {
            None => 0,
            Some(Fate::Pass) => self.streak.pass(
                (input, out),
                self.worker.meters.passed(Direction::Publish),
                (&mut self.watch, &self.worker.shared.clock),
            ),
            Some(Fate::Keyring(keyring, subject)) => {
                self.seal_alike(snapshot, (keyring, subject), input, out)
            }
        }
    }

    fn seal_alike(
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
        let (subject, row) = self.streak.row(subject);
        let binding = Binding::to(binds(snapshot, keyring).then_some(subject));
        let Some(mut lane) = lanes.on(snapshot, keyring, binding) else {
            return 0;
        };
        row.each((input, out), |payload, place| {
            watch.lap(Stage::Parse, clock);
            let room = place.of(payload.len().saturating_add(OVERHEAD));
            lane.seal(payload, room)?;
            meters.sealed.add(payload.len());
            watch.lap(Stage::Crypto, clock);
            Some(())
        })
    }
}
