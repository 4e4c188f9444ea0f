//! Replacing the binary without refusing a connection: a second process takes over sockets, keys and audit log.
//!
//! ```text
//!  new process                                  running gateway
//!  checks what it can without the lock
//!  ── take-over 2 ─────────────────────────▶    accepts no more (connections wait in the kernel), stops administration,
//!                                               releases keys and audit log
//!  ◀───────────── sockets […] + descriptors ──
//!  locks the state directory, starts, accepts
//!  ── serving ─────────────────────────────▶    drains its connections with budgets from the new process, and ends
//! ```
//!
//! One of the descriptors is an end of a socket pair: over it the draining process gets budgets and stop orders for key versions
//! from the new one (`rotation/drain.rs`). The ends of processes that drain already are passed on, too.
//!
//! They meet at `handover.sock` in the state directory, mode 0600, each line ended by a line feed. If the connection ends before
//! `serving`, the running gateway takes everything back.

mod listener;
mod message;
mod take_over;

use std::os::unix::net::UnixStream;
use std::path::Path;

pub(super) use listener::{Answer, HandoverListener, Offer, TakeOverRequest};
pub(super) use message::{Label, Purpose};
pub use take_over::{TakeOver, TakeOverError, take_over};

/// Whether a gateway runs on this state directory: its hand-over socket accepts connections.
#[must_use]
pub fn is_gateway_running(state: &Path) -> bool {
    UnixStream::connect(state.join(SOCKET)).is_ok()
}

/// File name of the hand-over socket in the state directory.
const SOCKET: &str = "handover.sock";
