//! How much of a budget is reserved at a time, and what is left of it.

use std::time::{Duration, Instant};

use crate::envelope::Volume;
use crate::rotation::engine::LimitHeadroom;

use super::loaded::LoadedVersion;

/// The first reservation, where thresholds are large.
pub(super) const FIRST: Volume = Volume {
    messages: 1 << 16,
    bytes: 64 << 20,
};
/// A first reservation, which a kill would lose, is at most this fraction (1/16) of the soft threshold.
const SHARE: u64 = 16;
/// The least reservation, to bound the rate of disk writes.
pub(super) const LEAST: Volume = Volume {
    messages: 1 << 12,
    bytes: 4 << 20,
};
/// The largest reservation.
const MOST: Volume = Volume {
    messages: 1 << 24,
    bytes: 16 << 30,
};

/// A reservation that was used up faster than this was too small: the next is doubled.
const FAST: Duration = Duration::from_millis(500);
/// One that lasted longer than this was too large: the next is halved.
pub(super) const SLOW: Duration = Duration::from_secs(10);

/// The size of the next reservation, which is to last some seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReservationSize {
    pub(super) part: Volume,
    pub(super) last: Option<Instant>,
    /// After a failure, when to try again.
    pub(super) again: Option<Instant>,
}

impl Default for ReservationSize {
    fn default() -> Self {
        Self {
            part: FIRST,
            last: None,
            again: None,
        }
    }
}

impl ReservationSize {
    /// The next part: at most a quarter of what is left of the limit, so that workers can share the rest, and about a quarter of
    /// the soft threshold, because usage is compared with it at each reservation.
    pub(super) fn next(&mut self, now: Instant, left: Volume, soft: Volume) -> Volume {
        if let Some(last) = self.last {
            let lasted = now.saturating_duration_since(last);
            if lasted < FAST {
                self.part = self.part.plus(self.part);
            } else if lasted > SLOW {
                self.part = halved(self.part);
            }
        }
        self.part = self.planned_part(soft);
        self.last = Some(now);
        let least = least(soft);
        self.part = Volume {
            messages: self.part.messages.clamp(least.messages, MOST.messages),
            bytes: self.part.bytes.clamp(least.bytes, MOST.bytes),
        };
        fair(self.part, left, soft)
    }

    /// The next part before bounds: small until something has been used up, because a kill loses it.
    pub(super) fn planned_part(&self, soft: Volume) -> Volume {
        if self.last.is_some() {
            return self.part;
        }
        Volume {
            messages: self.part.messages.min((soft.messages / SHARE).max(1)),
            bytes: self.part.bytes.min((soft.bytes / SHARE).max(1)),
        }
    }
}

/// Bounds `part` so that something is left for others.
pub(super) fn fair(part: Volume, left: Volume, soft: Volume) -> Volume {
    let fair = |part: u64, least: u64, left: u64, soft: u64| {
        part.min((left / 4).min(soft / 4).max(least)).min(left)
    };
    let least = least(soft);
    Volume {
        messages: fair(part.messages, least.messages, left.messages, soft.messages),
        bytes: fair(part.bytes, least.bytes, left.bytes, soft.bytes),
    }
}

/// The least that is reserved of a version with these thresholds.
pub(super) fn least(soft: Volume) -> Volume {
    Volume {
        messages: LEAST.messages.min((soft.messages / SHARE).max(1)),
        bytes: LEAST.bytes.min((soft.bytes / SHARE).max(1)),
    }
}

/// Spent once all messages or bytes of the limit are reserved and little is left while lanes ask for more, or nothing at all is
/// left. Grants may lie in idle lanes, so that the soft threshold is never reached.
pub(super) fn headroom(held: &LoadedVersion, limit: Volume) -> LimitHeadroom {
    let budget = &held.version.budget;
    let (reserved, left) = (budget.reserved(), budget.left());
    let granted = budget.outstanding(held.version.usage.total());
    let low = budget.needs_refill();
    let spent = |reserved, limit, left, granted, least| {
        let gone = if low {
            left < least
        } else {
            left == 0 && granted == 0
        };
        reserved >= limit && gone
    };
    let messages = spent(
        reserved.messages,
        limit.messages,
        left.messages,
        granted.messages,
        LEAST.messages,
    );
    let bytes = spent(
        reserved.bytes,
        limit.bytes,
        left.bytes,
        granted.bytes,
        LEAST.bytes,
    );
    if messages || bytes {
        LimitHeadroom::Spent
    } else {
        LimitHeadroom::Enough
    }
}

const fn halved(used: Volume) -> Volume {
    Volume {
        messages: used.messages / 2,
        bytes: used.bytes / 2,
    }
}
