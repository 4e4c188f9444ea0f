//! Why a session gives up one of its sockets.

use std::io;

/// Why a session gives up one of its sockets.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// The socket's own error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer has read nothing for too long.
    #[error("timed out")]
    Stalled,
    /// The peer was slow while others waited for the memory that its bytes occupy.
    #[error("given up: it was slow while others waited for memory")]
    Shed,
}
