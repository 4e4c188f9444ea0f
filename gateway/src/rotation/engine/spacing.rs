//! The least time between two rotations of a keyring. A rotation after a revocation does not wait.

use std::time::Duration;

use jiff::Timestamp;

use super::version::{Now, VersionView, between};

/// No version of a keyring is replaced sooner than this after it became active.
const LEAST: Duration = Duration::from_secs(1);

/// Rotations by thresholds are held back for this long at most.
const MOST: Duration = Duration::from_mins(1);

/// The past rotations of a keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RotationSpacing {
    /// How many versions have ever become active.
    activations: usize,
    /// The least time until the next rotation by thresholds.
    apart: Duration,
    /// How long ago the last was, and the time of that measurement; `None` before the first.
    seen: Option<(Duration, Duration)>,
}

impl RotationSpacing {
    /// From the record, so that a restart forgets no rotation.
    pub(super) fn of(versions: &[VersionView]) -> Self {
        let times = activations(versions);
        let gaps = times
            .iter()
            .zip(times.iter().skip(1))
            .map(|(from, to)| between(*from, *to));
        Self {
            activations: times.len(),
            apart: gaps.fold(LEAST, next),
            seen: None,
        }
    }

    /// Notices a version that has become active, independently of the wall clock.
    pub(super) fn look(&mut self, now: Now, versions: &[VersionView]) {
        if self.seen.is_none() {
            let last = activations(versions).last().copied();
            let ago = last.map_or(MOST, |last| between(last, now.monotonic));
            self.seen = Some((ago, now.elapsed));
        }
        let count = versions
            .iter()
            .filter(|version| version.activated.is_some())
            .count();
        if count > self.activations {
            if self.activations != 0 {
                self.apart = next(self.apart, self.ago(now));
            }
            self.seen = Some((Duration::ZERO, now.elapsed));
        }
        self.activations = count;
    }

    /// How long a requested rotation still has to wait.
    pub(super) fn wait_if_asked(&self, now: Now) -> Duration {
        self.wait_for(LEAST, now)
    }

    /// How long a rotation by thresholds still has to wait.
    pub(super) fn wait(&self, now: Now) -> Duration {
        self.wait_for(self.apart, now)
    }

    fn wait_for(&self, apart: Duration, now: Now) -> Duration {
        if self.activations == 0 {
            return Duration::ZERO;
        }
        apart.saturating_sub(self.ago(now))
    }

    fn ago(&self, now: Now) -> Duration {
        self.seen.map_or(Duration::ZERO, |(ago, at)| {
            ago.saturating_add(now.elapsed.saturating_sub(at))
        })
    }
}

/// Exponential back-off: a rotation that comes nearly as soon as permitted doubles the distance; any other resets it.
fn next(apart: Duration, gap: Duration) -> Duration {
    let twice = apart.saturating_mul(2);
    if gap < twice { twice.min(MOST) } else { LEAST }
}

/// When versions became active, sorted, by the catalogue's own time.
fn activations(versions: &[VersionView]) -> Vec<Timestamp> {
    let mut times: Vec<_> = versions
        .iter()
        .filter_map(|version| version.began)
        .collect();
    times.sort_unstable();
    times
}
