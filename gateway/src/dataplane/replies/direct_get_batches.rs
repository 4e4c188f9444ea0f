//! Direct gets of several messages (ADR-31), bounded by the bytes of plaintext.
//!
//! A direct get that is bounded by bytes asks the server for more than the client did (`wire/jetstream/pull.rs`), as envelopes
//! are larger than their plaintext. Messages beyond the client's bound are dropped, and the status that ends the batch gets the
//! numbers of the last message that was forwarded. A client with two subscriptions gets each message twice in a row.
//!
//! The headers by which a batch is counted can be forged, and no message says to which request it belongs. So only forwarded
//! messages count, and once batches have overlapped on a reply subject none there is bounded: messages for one must not use up
//! another.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::wire::header::DirectGetHeaders;
use crate::wire::jetstream::DirectGetBatch;

use super::table::{Entry, Hash, Table};

/// The batches that were asked for, by reply subject.
pub(super) type DirectGetBatches = Table<Counted>;

/// What was asked for on a reply subject, and what has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    progress: Progress,
    /// The latest batch. `None` once two have overlapped, until the reply subject is forgotten: everything is forwarded.
    batch: Option<DirectGetBatch>,
    /// The sequence of the last message from the server, forwarded or not.
    seen: u64,
    /// The bytes of the forwarded messages.
    bytes: u64,
    /// One more than the `Nats-Num-Pending` of the first message, which was pending itself.
    initial_pending: Option<NonZeroU64>,
    last: LastForwarded,
    /// Whether a message was dropped.
    surplus: bool,
}

/// The state of the latest batch.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    UnderWay,
    Ended,
}

/// The numbers of the last message that was forwarded.
#[derive(Clone, Copy, Default)]
struct LastForwarded {
    sequence: u64,
    pending: u64,
}

/// The numbers to be put in the status that ends a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct BatchEnd {
    /// `Nats-Num-Pending`.
    pub(in crate::dataplane) pending: u64,
    /// `Nats-Last-Sequence`.
    pub(in crate::dataplane) sequence: u64,
}

impl Entry for Counted {
    const LIFE: Duration = Duration::from_mins(10);
}

impl Counted {
    fn is_full_before(&self, sequence: u64) -> bool {
        let bound = self.batch.and_then(|batch| batch.max_bytes);
        let full = bound.is_some_and(|bound| self.bytes >= bound.get());
        full && self.last.sequence != sequence
    }

    /// With `no_hdr`, which the gateway removes, the server would say at the end what was pending at the beginning.
    fn end(&self) -> Option<BatchEnd> {
        let bare = self.batch?.without_headers;
        let pending = match self.initial_pending {
            Some(pending) if bare => pending.get(),
            Some(_) if self.surplus => self.last.pending,
            Some(_) | None => return None,
        };
        let sequence = self.last.sequence;
        Some(BatchEnd { pending, sequence })
    }
}

impl DirectGetBatches {
    pub(super) fn asked(&mut self, reply: Hash, batch: DirectGetBatch, now: Instant) {
        let before = self.live(reply, now);
        let is_alone =
            before.is_none_or(|one| one.progress == Progress::Ended && one.batch.is_some());
        let counted = Counted {
            batch: is_alone.then_some(batch),
            ..Counted::default()
        };
        self.insert(reply, counted, now);
    }

    /// A message comes: whether it exceeds the client's bound.
    pub(super) fn is_surplus(&mut self, reply: Hash, (sequence, pending): (u64, u64)) -> bool {
        let Some(counted) = self.get_mut(reply) else {
            return false;
        };
        counted.seen = sequence;
        let initial_pending = || NonZeroU64::MIN.saturating_add(pending);
        counted.initial_pending.get_or_insert_with(initial_pending);
        let is_surplus = counted.is_full_before(sequence);
        counted.surplus |= is_surplus;
        is_surplus
    }

    /// A message was forwarded: subject, headers and plaintext have so many bytes.
    pub(super) fn forwarded(&mut self, reply: Hash, stored: &DirectGetHeaders<'_>, bytes: usize) {
        let (Some(counted), Some(pending)) = (self.get_mut(reply), stored.pending) else {
            return;
        };
        if counted.last.sequence == stored.sequence {
            return;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        counted.bytes = counted.bytes.saturating_add(bytes);
        counted.last = LastForwarded {
            sequence: stored.sequence,
            pending,
        };
    }

    /// A status ends a batch: the latest one only if `sequence`, its last message by the status, was the last to come. The end of
    /// an earlier batch may come again, on another subscription.
    pub(super) fn ended(&mut self, reply: Hash, sequence: Option<u64>) -> Option<BatchEnd> {
        let counted = self.get_mut(reply)?;
        if sequence.unwrap_or_default() == counted.seen {
            counted.progress = Progress::Ended;
        }
        counted.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::memory::{MOST, MemoryPool};
    use crate::wire::jetstream::batch;

    const INBOX: Hash = 7;

    struct Getting {
        batches: DirectGetBatches,
        now: Instant,
        /// The sequence in the server's next status.
        seen: u64,
    }

    impl Getting {
        fn new() -> Self {
            let batches = DirectGetBatches::new(MemoryPool::new(MOST).open());
            let now = Clock::system().instant();
            Self {
                batches,
                now,
                seen: 0,
            }
        }

        fn ask(&mut self, body: &str) {
            let batch = batch(body.as_bytes()).unwrap();
            self.batches.asked(INBOX, batch, self.now);
        }

        /// Sends messages of 100 bytes, with `left` pending behind the first; the sequences of those that are forwarded.
        fn come(&mut self, sequences: std::ops::RangeInclusive<u64>, left: u64) -> Vec<u64> {
            let come = sequences.zip((0..=left).rev());
            let gone_on = come.filter(|&(sequence, pending)| self.goes_on(sequence, pending));
            gone_on.map(|(sequence, _pending)| sequence).collect()
        }

        fn goes_on(&mut self, sequence: u64, pending: u64) -> bool {
            self.seen = sequence;
            let surplus = self.batches.is_surplus(INBOX, (sequence, pending));
            if !surplus {
                let stored = DirectGetHeaders {
                    stream: b"S",
                    subject: b"s",
                    sequence,
                    pending: Some(pending),
                    stored_len: 0,
                };
                self.batches.forwarded(INBOX, &stored, 100);
            }
            !surplus
        }

        fn end(&mut self) -> Option<(u64, u64)> {
            let end = self.batches.ended(INBOX, Some(self.seen))?;
            Some((end.pending, end.sequence))
        }
    }

    #[test]
    fn batch_ends_with_the_message_that_brings_what_was_asked_for() {
        for (max_bytes, last) in [(1, 1), (100, 1), (101, 2), (300, 3)] {
            let mut getting = Getting::new();
            getting.ask(&format!(
                "{{\"seq\":1,\"batch\":9,\"max_bytes\":{max_bytes}}}"
            ));
            let expected: Vec<_> = (1..=last).collect();
            assert_eq!(getting.come(1..=5, 10), expected);
            assert_eq!(getting.end(), Some((11 - last, last)));
        }
    }

    #[test]
    fn batch_that_comes_on_two_subscriptions_is_counted_once() {
        let mut getting = Getting::new();
        for _ in 0..2 {
            getting.ask(r#"{"batch":9,"max_bytes":200}"#);
            let twice = (1..=4).flat_map(|sequence| {
                let left = 11 - sequence;
                let mut come = || getting.come(sequence..=sequence, left);
                [come(), come()].concat()
            });
            assert_eq!(twice.collect::<Vec<_>>(), [1, 1, 2, 2]);
            assert_eq!([getting.end(), getting.end()], [Some((9, 2)); 2]);
        }
    }

    #[test]
    fn batch_that_is_not_cut_short_ends_as_the_server_says() {
        let mut getting = Getting::new();
        for body in [r#"{"batch":2,"max_bytes":200}"#, r#"{"batch":2}"#] {
            getting.ask(body);
            assert_eq!(getting.come(1..=2, 10), [1, 2]);
            assert_eq!(getting.end(), None);
        }
        assert_eq!(getting.end(), None);
    }

    #[test]
    fn batch_without_headers_ends_with_what_was_pending_at_its_beginning() {
        let mut getting = Getting::new();
        getting.ask(r#"{"batch":2,"no_hdr":true}"#);
        assert_eq!(getting.come(4..=5, 10), [4, 5]);
        assert_eq!(getting.end(), Some((11, 5)));
    }

    #[test]
    fn batches_that_have_overlapped_on_a_reply_subject_go_on_whole_and_so_do_those_behind_them() {
        let mut getting = Getting::new();
        let body = r#"{"batch":9,"max_bytes":1}"#;
        getting.ask(body);
        getting.ask(body);
        for _ in 0..2 {
            assert_eq!(getting.come(1..=2, 10), [1, 2]);
            assert_eq!(getting.end(), None);
        }
        getting.ask(body);
        assert_eq!(getting.come(1..=2, 10), [1, 2]);
        assert_eq!(getting.end(), None);
    }

    #[test]
    fn reply_subject_on_which_batches_have_overlapped_is_bounded_again_when_that_is_long_ago() {
        let mut getting = Getting::new();
        let body = r#"{"batch":9,"max_bytes":1}"#;
        getting.ask(body);
        getting.ask(body);
        getting.now += Counted::LIFE * 2;
        getting.ask(body);
        assert_eq!(getting.come(1..=2, 10), [1]);
    }

    #[test]
    fn batch_is_not_counted_for_one_that_is_asked_while_it_is_under_way_however_often_an_end_comes()
    {
        let mut getting = Getting::new();
        let body = r#"{"batch":9,"max_bytes":100}"#;
        // Two at a time on two subscriptions: each end comes twice.
        getting.ask(body);
        getting.ask(body);
        assert_eq!(getting.come(1..=1, 10), [1]);
        getting.end();
        getting.end();
        getting.ask(body);
        assert_eq!(getting.come(1..=1, 10), [1]);
        assert_eq!(getting.come(7..=7, 10), [7]);
    }

    #[test]
    fn end_of_a_batch_that_comes_once_more_does_not_end_the_next() {
        let mut getting = Getting::new();
        let body = r#"{"batch":9,"max_bytes":100}"#;
        getting.ask(body);
        assert_eq!(getting.come(1..=2, 10), [1]);
        getting.end();
        getting.ask(body);
        getting.end();
        // The second has not ended.
        getting.ask(body);
        assert_eq!(getting.come(3..=3, 10), [3]);
        assert_eq!(getting.come(1..=1, 10), [1]);
    }
}
