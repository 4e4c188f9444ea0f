//! The catalogue's own time: it counts what has passed, and nobody can set it.
//!
//! It began as the wall clock's at the first start, and goes on with the host's uptime. Another process of the same start of the host
//! goes on exactly where the one before was. After a start of the host it goes on from what was last written down: how long the host was
//! down is the wall clock's word alone, and does not count. So whatever ages by this time is never older than it is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

use crate::audit::Head;
use crate::clock::{Clock, STEP};
use crate::policy::KeyringName;

/// Both clocks agree when they are no further apart than reading one after the other takes.
const AGREED: Duration = Duration::from_millis(10);

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What people call it; may be wrong, and be set.
    pub wall: Timestamp,
    /// By the catalogue's own time.
    pub monotonic: Timestamp,
}

/// When a version entered its states by the catalogue's own time, where that is not what the wall clock has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Monotonic {
    /// Its present state.
    pub since: Option<Timestamp>,
    /// The first time that it was active.
    pub activated: Option<Timestamp>,
    /// The end of its sealing.
    pub deactivated: Option<Timestamp>,
}

/// What `clock.json` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Both clocks when it was written.
    pub(super) moment: Moment,
    /// How long the host had run then.
    pub(super) uptime: Duration,
    /// Since which start.
    pub(super) boot: Option<String>,
    /// Dates of the configuration that have passed, keyring by keyring.
    pub(super) passed: BTreeMap<KeyringName, Timestamp>,
    /// How far the audit log had come.
    pub(super) audited: Option<Head>,
}

/// Where time goes on from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    monotonic: Timestamp,
    uptime: Duration,
}

/// What has become of the clocks since the process before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Nothing that matters.
    Agrees,
    /// The wall clock was set by so much, at least.
    Set(SignedDuration),
    /// The host was started anew, and so long before that by the wall clock, which does not count, nobody was there.
    Uncounted(Duration),
}

impl Moment {
    /// The catalogue's time, if it is another than the wall clock's.
    pub(super) fn apart(self) -> Option<Timestamp> {
        let apart = self.monotonic.duration_since(self.wall).unsigned_abs();
        (apart > AGREED).then_some(self.monotonic)
    }

    /// In whole milliseconds, which is what records keep. `None` in a year that no calendar has.
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

impl Kept {
    /// How long ago that was; `None` after another start of the host.
    fn ago(&self, clock: &Clock) -> Option<Duration> {
        let same = self.boot.is_some() && self.boot == clock.boot();
        clock.uptime().checked_sub(self.uptime).filter(|_ago| same)
    }

    /// What has become of the wall clock since.
    pub(super) fn compare(&self, clock: &Clock) -> Resumed {
        let shown = wall(clock).duration_since(self.moment.wall);
        let Some(ago) = self.ago(clock) else {
            return match Duration::try_from(shown) {
                Ok(down) => Resumed::Uncounted(down),
                Err(_back) if shown.unsigned_abs() < STEP => Resumed::Agrees,
                Err(_back) => Resumed::Set(shown),
            };
        };
        let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
        let step = shown.saturating_sub(ago);
        if step.unsigned_abs() < STEP {
            Resumed::Agrees
        } else {
            Resumed::Set(step)
        }
    }
}

impl Anchor {
    /// Where time goes on from after what was written down. Where nothing was, it is no later than the records are.
    pub(super) fn after(kept: Option<&Kept>, newest: Option<Timestamp>, clock: &Clock) -> Self {
        let uptime = clock.uptime();
        let monotonic = match kept {
            Some(kept) => later(kept.moment.monotonic, kept.ago(clock).unwrap_or_default()),
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

    /// What records keep of it; `None` in a year that no calendar has.
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
