//! Why the administration API did not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::TokenError;
use crate::fault::{Fault, faults};

/// Administration could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The TCP address could not be bound.
    #[error("cannot serve metrics and health on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The unix socket could not be made.
    #[error("cannot make the unix socket {}: {source}", path.display())]
    Socket {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process serves it.
    #[error("another process serves the unix socket {}", path.display())]
    Taken {
        /// The path asked for.
        path: PathBuf,
    },
    /// Something else than a socket is there.
    #[error("{} exists and is no socket", path.display())]
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// There is no directory for it.
    #[error("there is no directory {} for the unix socket", folder.display())]
    NoFolder {
        /// Where the socket is wanted.
        folder: PathBuf,
    },
    /// A token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

faults! { StartError {
    Self::Listen { .. } => Fault::operator("choose another address in `[admin] listen`, or \"off\""),
    Self::Socket { .. } => Fault::operator("choose another path in `[admin] socket`"),
    Self::Taken { .. } => Fault::operator("stop it, or choose another path in `[admin] socket`"),
    Self::NotASocket { .. } => Fault::operator("move it away, or choose another path in `[admin] socket`"),
    Self::NoFolder { .. } => Fault::operator("create it, or choose another path in `[admin] socket`"),
    Self::Token(error) => error.fault(),
} }
