//! What people and scripts may order of a gateway, and ask it: one list of orders, one set of reports. The API and the commands are
//! views of it.

mod error;
mod order;
#[expect(
    clippy::large_stack_frames,
    reason = "what describes them for OpenAPI is generated, and runs when somebody asks for it"
)]
mod report;
mod service;

pub use error::Error;
pub use order::{Change, Destroy, Event, Order, Reason, Revoke, Rotate, VersionPath};
pub use report::{Mistake, Problem, Readiness, Reloaded, Report, Revoked, Status, Tail};
pub use service::{Caller, Operations};
