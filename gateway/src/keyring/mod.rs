//! The immutable snapshot of the keys valid now, and the lanes that seal and open.
//!
//! ```text
//!  rotation ── install ──▶ Keys (arc-swap) ── load, once per batch ──▶ Snapshot ──▶ Version
//!     ▲                      │                                                       │
//!     └────── a miss ────────┘             Lanes (one per worker) draw a Sealer ◀────┤
//!                                   LaneCache (one per connection) ◀── LaneMap ◀─────┤
//!                                      Grant (one per sealing lane) ◀── Budget ◀─────┘
//! ```
//!
//! Readers load one [`Snapshot`] per batch and never wait for a writer, which replaces the whole snapshot. A lane that seals
//! belongs to one worker, so its counter is a plain integer. Lanes that open are read-only and shared. A sealing lane takes large
//! grants from its version's [`Budget`], which rotation extends after reserving durably.

mod budget;
mod grant;
mod keys;
mod lane_cache;
mod lane_map;
mod lanes;
mod opening;
mod pool;
mod rate_limiter;
mod snapshot;
mod sync;
mod usage;

pub use budget::Budget;
pub use keys::{Changes, Keys, Miss, MissRequest, Verdict};
pub use lane_cache::LaneCache;
pub use lane_map::{LANES_PER_VERSION, LaneMap};
pub use lanes::{BoundLane, Lanes, SealRefused, Sealed};
pub use opening::{OpenRefused, Opened, Opener, flags, keyring_of, open};
pub use rate_limiter::RateLimiter;
pub use snapshot::{Closed, Snapshot, Version};
pub use usage::{Usage, WorkerId};

pub use crate::envelope::Volume;

#[cfg(test)]
mod tests;
