//! Catalogue time: monotonic across processes and reboots, and nobody can set it.
//!
//! It begins with the wall clock at the first start and advances with the host's uptime. The next process on the same boot
//! continues exactly. After a reboot it continues from the last saved time: the downtime does not count, because only the wall
//! clock knows it. So no age by this time is ever too high.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

use crate::audit::Head;
use crate::clock::{Clock, STEP};
use crate::policy::KeyringName;

/// Clocks this close agree: reading one after the other takes some time.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(10);

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, which may be wrong or set.
    pub wall: Timestamp,
    /// Catalogue time.
    pub monotonic: Timestamp,
}

/// A version's times by catalogue time, where they differ from the wall clock's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Monotonic {
    /// When it entered its present state.
    pub since: Option<Timestamp>,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// When it stopped sealing for good.
    pub deactivated: Option<Timestamp>,
}

/// The catalogue's own time, as `clock.json` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// Both clocks when it was written.
    pub(super) moment: Moment,
    /// The host's uptime then.
    pub(super) uptime: Duration,
    /// The host's boot id.
    pub(super) boot: Option<String>,
    /// The latest configured date that has passed, for each keyring.
    pub(super) passed: BTreeMap<KeyringName, Timestamp>,
    /// How far the audit log had come.
    pub(super) audited: Option<Head>,
}

/// From where catalogue time continues in this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    monotonic: Timestamp,
    uptime: Duration,
}

/// How the clocks changed since the last process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockChange {
    /// No change that matters.
    Agrees,
    /// The wall clock was set, by at least this.
    Set(SignedDuration),
    /// The host was rebooted; by the wall clock it was down for this long, which does not count.
    UncountedDowntime(Duration),
}

impl Moment {
    /// Catalogue time, if it differs from the wall clock.
    pub(super) fn monotonic_if_different(self) -> Option<Timestamp> {
        let apart = self.monotonic.duration_since(self.wall).unsigned_abs();
        (apart > CLOCK_TOLERANCE).then_some(self.monotonic)
    }

    /// In whole milliseconds, as records have it. `None` beyond the year 9999.
    fn rounded(self) -> Option<Self> {
        let round = TimestampRound::new()
            .smallest(Unit::Millisecond)
            .mode(RoundMode::Trunc);
        Some(Self {
            wall: self.wall.round(round).ok()?,
            monotonic: self.monotonic.round(round).ok()?,
        })
    }
}

/// A moment at which both clocks agree.
impl From<Timestamp> for Moment {
    fn from(wall: Timestamp) -> Self {
        Self {
            wall,
            monotonic: wall,
        }
    }
}

impl ClockState {
    /// How long ago that was; `None` after a reboot.
    fn ago(&self, clock: &Clock) -> Option<Duration> {
        let same = self.boot.is_some() && self.boot == clock.boot();
        clock.uptime().checked_sub(self.uptime).filter(|_ago| same)
    }

    /// How the wall clock has changed since.
    pub(super) fn compare(&self, clock: &Clock) -> ClockChange {
        let shown = wall(clock).duration_since(self.moment.wall);
        let Some(ago) = self.ago(clock) else {
            return match Duration::try_from(shown) {
                Ok(down) => ClockChange::UncountedDowntime(down),
                Err(_back) if shown.unsigned_abs() < STEP => ClockChange::Agrees,
                Err(_back) => ClockChange::Set(shown),
            };
        };
        let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
        let step = shown.saturating_sub(ago);
        if step.unsigned_abs() < STEP {
            ClockChange::Agrees
        } else {
            ClockChange::Set(step)
        }
    }
}

impl Anchor {
    /// Continues from the saved time; without one, from the latest time in the records or the wall clock, whichever is earlier.
    pub(super) fn after(
        clock_state: Option<&ClockState>,
        newest: Option<Timestamp>,
        clock: &Clock,
    ) -> Self {
        let uptime = clock.uptime();
        let monotonic = match clock_state {
            Some(clock_state) => later(
                clock_state.moment.monotonic,
                clock_state.ago(clock).unwrap_or_default(),
            ),
            None => newest.unwrap_or(Timestamp::MAX).min(wall(clock)),
        };
        Self { monotonic, uptime }
    }

    pub(super) fn now(&self, clock: &Clock) -> Moment {
        let passed = clock.uptime().saturating_sub(self.uptime);
        Moment {
            wall: wall(clock),
            monotonic: later(self.monotonic, passed),
        }
    }

    /// Now, as records have it; `None` beyond the year 9999.
    pub(super) fn stamp(&self, clock: &Clock) -> Option<Moment> {
        Timestamp::try_from(clock.wall()).ok()?;
        self.now(clock).rounded()
    }
}

fn wall(clock: &Clock) -> Timestamp {
    Timestamp::try_from(clock.wall()).unwrap_or(Timestamp::MAX)
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
