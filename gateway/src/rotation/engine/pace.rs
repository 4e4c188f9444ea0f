//! How soon after one rotation of a keyring the next may come, whatever it is for; but that of a version that was revoked.

use std::time::Duration;

use jiff::Timestamp;

use super::life::{Life, Now, between};

/// No version of a keyring is replaced sooner than this after it became active.
const LEAST: Duration = Duration::from_secs(1);

/// The gateway's own reasons are never held back for longer than this.
const MOST: Duration = Duration::from_mins(1);

/// What is known of the rotations that there have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// How many versions have ever become active.
    activations: usize,
    /// How far the last is to be from the next that the gateway's own rules ask for.
    apart: Duration,
    /// How long ago the last was, and when that was so; `None` before the first look at the clock.
    seen: Option<(Duration, Duration)>,
}

impl Pace {
    /// As the record has it: a restart forgets no rotation.
    pub(super) fn of(lives: &[Life]) -> Self {
        let times = activations(lives);
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

    /// Takes notice of a version that has become active. The wall clock has no say in it.
    pub(super) fn look(&mut self, now: Now, lives: &[Life]) {
        if self.seen.is_none() {
            let last = activations(lives).last().copied();
            let ago = last.map_or(MOST, |last| between(last, now.monotonic));
            self.seen = Some((ago, now.elapsed));
        }
        let count = lives.iter().filter(|life| life.activated.is_some()).count();
        if count > self.activations {
            if self.activations != 0 {
                self.apart = next(self.apart, self.ago(now));
            }
            self.seen = Some((Duration::ZERO, now.elapsed));
        }
        self.activations = count;
    }

    /// How long a rotation that was asked for has to wait still.
    pub(super) fn wait_if_asked(&self, now: Now) -> Duration {
        self.wait_for(LEAST, now)
    }

    /// The same of one that thresholds ask for.
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

/// A rotation that comes nearly as soon as it may doubles the distance; any other sets it back.
fn next(apart: Duration, gap: Duration) -> Duration {
    let twice = apart.saturating_mul(2);
    if gap < twice { twice.min(MOST) } else { LEAST }
}

/// When versions became active, in turn, by the catalogue's own time.
fn activations(lives: &[Life]) -> Vec<Timestamp> {
    let mut times: Vec<_> = lives.iter().filter_map(|life| life.began).collect();
    times.sort_unstable();
    times
}
