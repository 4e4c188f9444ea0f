//! What the engine knows: of a key version, of the time, of the members.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::{self, Proposal, State};
use crate::clock::STEP;
use crate::envelope::{Kid, Suite};

/// Became active so far in the future: a clock was wrong. Less is put right by itself.
const AHEAD: Duration = Duration::from_secs(60);

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
    /// Since when, as the wall clock had it.
    pub since: Timestamp,
    /// When it first became active, as the wall clock had it.
    pub activated: Option<Timestamp>,
    /// Since when it is in its state, by the catalogue's own time.
    pub entered: Timestamp,
    /// When it first became active, by the catalogue's own time.
    pub began: Option<Timestamp>,
    /// When it stopped sealing for good.
    pub deactivated: Option<Timestamp>,
    /// That somebody has asked for its destruction, which takes a second person.
    pub proposed: Option<Proposal>,
}

/// The time, on three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What records and people say; may jump. Can make a rotation early, and nothing else.
    pub wall: Timestamp,
    /// The catalogue's own time, which counts what has passed; only grows. What is put off, held or destroyed goes by it.
    pub monotonic: Timestamp,
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
        now.ago(self.entered)
    }

    /// When it will have been in its state for so long, as the wall clock will have it if nobody sets it.
    pub(super) fn ends(&self, after: Duration, now: Now) -> Timestamp {
        now.shows(self.entered, self.since, after)
    }

    /// How far in the future it became active, by the wall clock: that was ahead then, or is behind now.
    #[must_use]
    pub fn ahead(&self, now: Now) -> Option<Duration> {
        let ahead = between(now.wall, self.activated?);
        (ahead >= AHEAD).then_some(ahead)
    }
}

impl Now {
    /// How long ago that was, by the catalogue's own time.
    #[must_use]
    pub fn ago(self, then: Timestamp) -> Duration {
        between(then, self.monotonic)
    }

    /// What the wall clock will show when so long has passed since a moment that both clocks have a time for. That is what it showed
    /// then and so much more, unless it has been set meanwhile.
    fn shows(self, monotonic: Timestamp, wall: Timestamp, after: Duration) -> Timestamp {
        let left = later(monotonic, after).duration_since(self.monotonic);
        let counted = self.wall.saturating_add(left).unwrap_or(Timestamp::MAX);
        let written = later(wall, after);
        let apart = counted.duration_since(written).unsigned_abs();
        if apart < STEP { written } else { counted }
    }

    /// What the wall clock will show when a version that became active then has sealed for so long. It is followed where it says
    /// that this is earlier.
    pub(super) fn due(self, began: Timestamp, activated: Timestamp, after: Duration) -> Timestamp {
        self.shows(began, activated, after)
            .min(later(activated, after))
    }

    /// The times between which a version sealed, as others may have them: widened by what this host's clock was set, and none at all
    /// where it was ahead.
    #[must_use]
    pub fn span(self, version: &catalogue::Version) -> (Option<Timestamp>, Option<Timestamp>) {
        let counted = |monotonic: Option<Timestamp>, wall: Option<Timestamp>| {
            Some(self.shows(monotonic?, wall?, Duration::ZERO))
        };
        let began = counted(version.began(), version.activated);
        let ceased = counted(version.ceased(), version.deactivated);
        (
            version
                .activated
                .filter(|activated| began >= Some(*activated)),
            version.deactivated.max(ceased),
        )
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
            entered: version.entered(),
            began: version.began(),
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
