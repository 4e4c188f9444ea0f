//! Key version lifecycle (the states of NIST SP 800-57 part 1): when a version is generated, active, decrypt-only, destroyed.
//!
//! [`engine`] decides, from a state, the time and an event alone; the driver, on a thread of its own, carries that out; the
//! catalogue is written on another. Operators reach the driver through [`Rotation`], the message path through
//! [`Keys`](crate::keyring::Keys).
//!
//! ```text
//!  admin ──▶ Rotation ──▶ driver ── event ──▶ engine::decide
//!                          │  ▲ └──◀ action ──────┘
//!      catalogue, audit ◀──┤  └─ low budget, miss ─┐
//!                          └── install, extend ──▶ keyring::Keys ──▶ sessions
//! ```
//!
//! A file or folder uses those of lower ranks only.
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `drain` | what a draining process and the writer say to each other |
//! | 0 | `reason` | who wants something, and why |
//! | 0 | `terms` | the terms of a keyring |
//! | 0 | `message_path` | the message path's end of rotation |
//! | 1 | `config` | what rotation is configured with |
//! | 1 | `engine` | decides what is to be done |
//! | 1 | `protection` | which configurations weaken protection |
//! | 2 | `error` | errors of starting rotation and of orders |
//! | 3 | `report` | status for operators |
//! | 4 | `offline` | the catalogue while no gateway runs |
//! | 4 | `driver` | does what the engine decides |
//! | 5 | `handle` | start, orders and end, for the rest of the gateway |

mod config;
mod drain;
mod driver;
pub mod engine;
mod error;
mod handle;
mod message_path;
mod offline;
pub mod protection;
pub mod reason;
#[expect(
    clippy::large_stack_frames,
    reason = "schemas are derived once, for the OpenAPI document"
)]
pub mod report;
pub mod terms;

pub use config::{ProcessKind, Reload, RotationConfig, Stores};
pub use drain::DrainLink;
pub use engine::DestroyRequest;
pub use error::{OrderError, StartError};
pub use handle::{HandedOver, Rotation, Running, VersionRef, resume, start};
pub use message_path::{MessagePath, stop_sealing};
pub use offline::OfflineKeyring;
pub use reason::Reason;
pub use report::{
    Amount, Exposure, KeyringStatus, Overview, PublishStall, Rehearsal, RetentionReasons, Rotated,
    VersionStatus,
};
pub use terms::{DestroyApproval, Limit, OpenPolicy, Retain, Rotate, Terms};
