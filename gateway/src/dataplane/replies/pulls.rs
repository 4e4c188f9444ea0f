//! Pulls that are bounded by bytes: `Nats-Pending-Bytes` in their statuses, in bytes of plaintext.
//!
//! Such a pull is widened (`wire/jetstream/pull.rs`) by an envelope's overhead for each message that it may bring, so that a
//! status counts the overhead of messages that have not come. Messages without an envelope, or small ones that brought more than
//! was asked for, are corrected for in the next status on the same reply subject: clients add up what these say, often of several
//! pulls at a time.

use std::time::{Duration, Instant};

use crate::envelope::OVERHEAD;
use crate::wire::jetstream::{BoundedPull, Pending};

use super::table::{Entry, Hash, Table};

/// How many pulls are told apart on a reply subject.
const GRANTS: usize = 3;

/// The pulls that are bounded by bytes, by reply subject.
pub(super) type Pulls = Table<Granted>;

/// The pulls on a reply subject.
#[derive(Clone, Copy, Default)]
pub(super) struct Granted {
    /// The widened bounds, latest first.
    grants: [Option<BoundedPull>; GRANTS],
    /// Bytes to be subtracted from the next statuses, besides overheads.
    correction: u64,
}

impl Entry for Granted {
    const LIFE: Duration = Duration::from_mins(10);
}

impl Granted {
    /// The bytes that are left, in plaintext; `None` if the status may be that of a pull that was forgotten.
    fn left(&mut self, told: Pending) -> Option<u64> {
        let mut grants = self.grants.iter().flatten();
        let room = grants.find_map(|grant| grant.room_left(overhead(1), told));
        let more = overhead(room.unwrap_or(told.messages));
        let is_known = room.is_some() || self.grants == [None; GRANTS];
        if !is_known && more > told.bytes {
            return None;
        }
        let correction = more.saturating_add(self.correction);
        self.correction = correction.saturating_sub(told.bytes);
        Some(told.bytes.saturating_sub(correction))
    }
}

impl Pulls {
    /// The client has published a pull. `grant`: its bounds as widened, where its statuses do not have them.
    pub(super) fn pulled(&mut self, reply: Hash, grant: Option<BoundedPull>, now: Instant) {
        let mut granted = self.live(reply, now).copied().unwrap_or_default();
        if let Some(grant) = grant {
            granted.grants.rotate_right(1);
            granted.grants[0] = Some(grant);
        }
        self.insert(reply, granted, now);
    }

    /// A message came without an envelope, so without overhead.
    pub(super) fn count_unsealed(&mut self, reply: Hash) {
        if let Some(granted) = self.get_mut(reply) {
            granted.correction = granted.correction.saturating_add(overhead(1));
        }
    }

    /// The bytes that are left of a pull, in plaintext; `None` if that is not known.
    pub(super) fn left(&mut self, reply: Hash, told: Pending) -> Option<u64> {
        match self.get_mut(reply) {
            Some(granted) => granted.left(told),
            None => told.bytes.checked_sub(overhead(told.messages)),
        }
    }
}

/// The overhead of so many envelopes.
fn overhead(messages: u64) -> u64 {
    let one = u64::try_from(OVERHEAD).unwrap_or_default();
    messages.saturating_mul(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::memory::{MOST, MemoryPool};
    use crate::wire::jetstream::bounded_pull;

    const INBOX: Hash = 7;

    struct Pulling {
        pulls: Pulls,
        now: Instant,
    }

    impl Pulling {
        fn new() -> Self {
            let pulls = Pulls::new(MemoryPool::new(MOST).open());
            let now = Clock::system().instant();
            Self { pulls, now }
        }

        fn pull(&mut self, batch: u64, max_bytes: u64) {
            let body = format!("{{\"batch\":{batch},\"max_bytes\":{max_bytes}}}");
            let grant = bounded_pull(body.as_bytes()).unwrap();
            self.pulls.pulled(INBOX, grant, self.now);
        }

        fn left(&mut self, messages: u64, bytes: u64) -> Option<u64> {
            self.pulls.left(INBOX, Pending { messages, bytes })
        }
    }

    #[test]
    fn pull_that_brought_nothing_is_told_with_what_it_asked_for() {
        let mut pulling = Pulling::new();
        pulling.pull(100, 65_536);
        assert_eq!(pulling.left(100, 65_536 + 4_800), Some(65_536));
        pulling.pull(1_000_000, 4_000);
        assert_eq!(pulling.left(1_000_000, 4_000 + 101 * 48), Some(4_000));
    }

    #[test]
    fn what_has_come_has_its_own_overhead() {
        let mut pulling = Pulling::new();
        pulling.pull(100, 65_536);
        // Ten messages of 1,000 bytes.
        let sealed = 65_536 + 4_800 - 10_480;
        assert_eq!(pulling.left(90, sealed), Some(55_536));
        pulling.pull(1_000_000, 65_536);
        let granted = 65_536 + 1_639 * 48;
        assert_eq!(pulling.left(999_990, granted - 10_480), Some(55_536));
    }

    #[test]
    fn statuses_of_several_pulls_are_told_apart() {
        let mut pulling = Pulling::new();
        pulling.pull(1_000_000, 4_000);
        pulling.pull(2_000_000, 8_000);
        pulling.pull(100, 5_000);
        assert_eq!(pulling.left(100, 9_800), Some(5_000));
        assert_eq!(pulling.left(1_000_000, 4_000 + 101 * 48), Some(4_000));
        assert_eq!(pulling.left(2_000_000, 8_000 + 201 * 48), Some(8_000));
    }

    #[test]
    fn what_came_in_the_clear_or_beyond_is_made_up_for() {
        let mut pulling = Pulling::new();
        pulling.pull(10, 10_000);
        pulling.pulls.count_unsealed(INBOX);
        // One message of 1,000 bytes without an envelope.
        assert_eq!(pulling.left(9, 10_480 - 1_000), Some(9_000));
        // Small ones brought 200 bytes more than was asked for.
        pulling.pull(26, 1_000);
        assert_eq!(pulling.left(16, 2_248 - 10 * 168), Some(0));
        for left in [800, 1_000] {
            pulling.pull(26, 1_000);
            assert_eq!(pulling.left(26, 2_248), Some(left));
        }
    }

    #[test]
    fn status_of_a_pull_that_is_not_known_stays() {
        let mut pulling = Pulling::new();
        assert_eq!(pulling.left(1_000_000, 8_848), None);
        assert_eq!(pulling.left(10, 580), Some(100));
    }
}
