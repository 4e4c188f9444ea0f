//! The immutable snapshot of keys valid at this instant, and the lanes that seal.
//!
//! ```text
//!  rotation ── install ──▶ Keys (arc-swap) ── load, once per batch ──▶ Snapshot ──▶ Version
//!     ▲                      │                                                       │
//!     └────── a miss ────────┘             Lanes (one per worker) draw a Sealer ◀────┤
//!                                   LaneCache (one per connection) ◀── LaneMap ◀─────┘
//! ```
//!
//! Readers take one [`Snapshot`] per batch and never wait for a writer; a writer replaces the whole snapshot. A lane that seals
//! belongs to one worker, so its counter is a plain integer. A lane that opens is read-only and shared.

mod keys;
mod lane_cache;
mod lane_map;
mod lanes;
mod opening;
mod snapshot;
mod usage;

pub use keys::{Keys, Miss, Verdict};
pub use lane_cache::LaneCache;
pub use lane_map::{LANES_PER_VERSION, LaneMap};
pub use lanes::{Lanes, SealRefused, WorkerId};
pub use opening::{OpenRefused, Opened, open};
pub use snapshot::{Ring, Snapshot, Version};
pub use usage::{Usage, Used};

#[cfg(test)]
mod tests;
