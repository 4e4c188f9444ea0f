//! Which streams the client has asked to deliver to which subjects, and on which subjects it awaits answers.
//!
//! Each is remembered for the subject and for its prefixes, as a subscription with wildcards matches more than one subject.

use std::time::{Duration, Instant};

use super::table::{Entry, Hash, Table};

/// What the client expects, by the hash of a subject or prefix, and by the hash of such a one and a stream together.
pub(super) type Sources = Table<Expected>;

/// What is expected on a subject or prefix; for one and a stream together: that this stream delivers there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Answers of clients.
    pub(super) answers: bool,
    /// Messages of some stream.
    pub(super) streams: Option<ConsumerKind>,
}

/// The kind of consumer that is to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dataplane) enum ConsumerKind {
    /// A pull consumer, in answer to a request.
    Pull,
    /// A push consumer, until it is deleted.
    Push,
}

impl Entry for Expected {
    /// A consumer delivers until it is deleted.
    const LIFE: Duration = Duration::MAX;

    fn is_pending(&self) -> bool {
        self.streams == Some(ConsumerKind::Push)
    }
}

impl Sources {
    /// Answers are expected on these subjects, the longest first: most requests of a client share it.
    pub(super) fn awaits_answers(&mut self, places: impl Iterator<Item = Hash>, now: Instant) {
        for place in places {
            if self.at(place, now).answers {
                return;
            }
            self.expect(place, now, |expected| expected.answers = true);
        }
    }

    /// A stream is to deliver to these subjects: each is a pair of the subject's hash and that of the subject and the stream
    /// together.
    pub(super) fn delivers(
        &mut self,
        places: impl Iterator<Item = [Hash; 2]>,
        delivers: ConsumerKind,
        now: Instant,
    ) {
        for key in places.flatten() {
            self.expect(key, now, |expected| {
                expected.streams = expected.streams.max(Some(delivers));
            });
        }
    }

    fn expect(&mut self, key: Hash, now: Instant, change: impl FnOnce(&mut Expected)) {
        let mut expected = self.at(key, now);
        change(&mut expected);
        self.insert(key, expected, now);
    }

    /// What is expected under a key.
    pub(super) fn at(&self, key: Hash, now: Instant) -> Expected {
        self.live(key, now).copied().unwrap_or_default()
    }
}
