//! Replacing the binary without refusing a connection: a second process takes over what only one may have.
//!
//! ```text
//!  new process                                  running gateway
//!  checks what it can without the lock
//!  ── take-over 2 ─────────────────────────▶    accepts no more (connections wait in the kernel), closes the doors of operators,
//!                                               lets go of keys and audit log
//!  ◀───────────── sockets […] + descriptors ──
//!  locks the state directory, starts, accepts
//!  ── serving ─────────────────────────────▶    drains its connections under what the new process says, and ends
//! ```
//!
//! Among the descriptors is one end of a socket pair, over which the one that drains asks the other for budgets, and is told what seals
//! (`rotation/drain.rs`); where others drain still, their ends are passed on, too.
//!
//! They meet at `handover.sock` in the state directory, mode 0600, each line ended by a line feed. If the connection ends before
//! `serving`, the running gateway takes everything back.

mod claim;
mod door;
mod message;

use std::os::unix::net::UnixStream;
use std::path::Path;

pub use claim::{Claim, ClaimError, claim};
pub(super) use door::{Answer, Door, Offer, Petition};
pub(super) use message::{Label, Purpose};

/// Whether a gateway runs on this state directory, wherever its other sockets are.
#[must_use]
pub fn is_served(state: &Path) -> bool {
    UnixStream::connect(state.join(SOCKET)).is_ok()
}

/// The socket at which the two processes meet.
const SOCKET: &str = "handover.sock";
