//! What the engine knows: of a key version, of the time, of the members.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::{self, Proposal, State};
use crate::envelope::{Kid, Suite};

/// A key version as its record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its number in the keyring.
    pub number: u32,
    /// The name that envelopes have for it.
    pub kid: Kid,
    /// The suite it seals with.
    pub suite: Suite,
    /// Where it is in its life.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// When it stopped sealing for good.
    pub deactivated: Option<Timestamp>,
    /// That somebody has asked for its destruction, which takes a second person.
    pub proposed: Option<Proposal>,
}

/// The time, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What records and people say; may jump. Moves soft reasons and the end of an overlap, nothing else.
    pub wall: Timestamp,
    /// Since the engine's start; only grows. Moves retries and rates.
    pub elapsed: Duration,
}

/// A gateway of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub String);

impl Life {
    /// Made and not yet active.
    #[must_use]
    pub const fn waits(&self) -> bool {
        matches!(self.state, State::PreActive | State::Ready)
    }

    /// How long it has been in its state.
    #[must_use]
    pub fn age(&self, now: Now) -> Duration {
        between(self.since, now.wall)
    }
}

impl From<&catalogue::Version> for Life {
    fn from(version: &catalogue::Version) -> Self {
        Self {
            number: version.number,
            kid: version.kid,
            suite: version.suite,
            state: version.state,
            since: version.since,
            activated: version.activated,
            deactivated: version.deactivated,
            proposed: version.proposed.clone(),
        }
    }
}

/// The time from one to the other; none when the clock has gone back.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// So much later; the end of time when there is no such time.
pub(super) fn later(from: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
