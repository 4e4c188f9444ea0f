//! The engine's view of a key version, of the time, and of members of the fleet.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::{self, Proposal, State};
use crate::clock::STEP;
use crate::envelope::{Kid, Suite};

/// A version that became active this far in the future means a wrong clock. Smaller differences are tolerated.
const CLOCK_AHEAD: Duration = Duration::from_secs(60);

/// A key version as its record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionView {
    /// Its number in the keyring.
    pub number: u32,
    /// Its key id in envelopes.
    pub kid: Kid,
    /// The suite it seals with.
    pub suite: Suite,
    /// Its lifecycle state.
    pub state: State,
    /// When it entered its state, by the wall clock.
    pub since: Timestamp,
    /// When it first became active, by the wall clock.
    pub activated: Option<Timestamp>,
    /// When it entered its state, by the catalogue's own time.
    pub entered: Timestamp,
    /// When it first became active, by the catalogue's own time.
    pub began: Option<Timestamp>,
    /// When it stopped sealing for good.
    pub deactivated: Option<Timestamp>,
    /// The request for its destruction that waits for a second person.
    pub proposed: Option<Proposal>,
}

/// The time, on three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock; may jump. It can make a rotation earlier, and decides nothing else.
    pub wall: Timestamp,
    /// The catalogue's own time, which survives restarts and only grows. Overlap, hold and destruction go by it.
    pub monotonic: Timestamp,
    /// Since the engine's start; only grows. Retries and rates go by it.
    pub elapsed: Duration,
}

impl VersionView {
    /// Generated and not yet active.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, State::PreActive | State::Ready)
    }

    /// How long it has been in its state.
    #[must_use]
    pub fn age(&self, now: Now) -> Duration {
        now.ago(self.entered)
    }

    /// The wall-clock time at which it will have been in its state for so long.
    pub(super) fn ends(&self, after: Duration, now: Now) -> Timestamp {
        now.wall_after(self.entered, self.since, after)
    }

    /// How far in the future it became active by the wall clock, which was ahead then or is behind now.
    #[must_use]
    pub fn ahead(&self, now: Now) -> Option<Duration> {
        let ahead = between(now.wall, self.activated?);
        (ahead >= CLOCK_AHEAD).then_some(ahead)
    }
}

impl Now {
    /// How long ago that was, by the catalogue's own time.
    #[must_use]
    pub fn ago(self, then: Timestamp) -> Duration {
        between(then, self.monotonic)
    }

    /// The wall-clock time at which so long has passed since a moment known by both clocks: the recorded time plus `after`,
    /// unless the clock was set meanwhile.
    fn wall_after(self, monotonic: Timestamp, wall: Timestamp, after: Duration) -> Timestamp {
        let left = later(monotonic, after).duration_since(self.monotonic);
        let counted = self.wall.saturating_add(left).unwrap_or(Timestamp::MAX);
        let written = later(wall, after);
        let apart = counted.duration_since(written).unsigned_abs();
        if apart < STEP { written } else { counted }
    }

    /// The wall-clock time at which a version that became active then has sealed for so long; the earlier of the two clocks.
    pub(super) fn due(self, began: Timestamp, activated: Timestamp, after: Duration) -> Timestamp {
        self.wall_after(began, activated, after)
            .min(later(activated, after))
    }

    /// The wall-clock times between which a version sealed, for comparison with time stamps of JetStream: widened by changes of
    /// this host's clock, and without a start where the clock was ahead.
    #[must_use]
    pub fn sealing_span(
        self,
        version: &catalogue::Version,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let counted = |monotonic: Option<Timestamp>, wall: Option<Timestamp>| {
            Some(self.wall_after(monotonic?, wall?, Duration::ZERO))
        };
        let began = counted(version.monotonic_activated(), version.activated);
        let ceased = counted(version.monotonic_deactivated(), version.deactivated);
        (
            version
                .activated
                .filter(|activated| began >= Some(*activated)),
            version.deactivated.max(ceased),
        )
    }
}

impl From<&catalogue::Version> for VersionView {
    fn from(version: &catalogue::Version) -> Self {
        Self {
            number: version.number,
            kid: version.kid,
            suite: version.suite,
            state: version.state,
            since: version.since,
            activated: version.activated,
            entered: version.monotonic_since(),
            began: version.monotonic_activated(),
            deactivated: version.deactivated,
            proposed: version.proposed.clone(),
        }
    }
}

/// The time from one to the other; zero when the clock has gone back.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// So much later, saturating.
pub(super) fn later(from: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
