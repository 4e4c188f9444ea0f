//! Starts the real programs that the tests, the load test and `keyway demo` work with, and waits until they serve.
//!
//! Nothing here panics or prints: everything that can fail returns an [`Error`]. The tests' harness (`tests/src`) panics with it, the
//! load test and the demo pass it on. A program is ready when it says so; ports come from the operating system.
//!
//! There is no NATS client here, for the four that exist have little in common but a socket:
//!
//! | client | why it is as it is |
//! |---|---|
//! | the demo's agents | the official client, unchanged: that it notices nothing is what the demo shows |
//! | `keyway doctor` | TLS, PROXY header and `proxy_sig` as the gateway has them, read by the gateway's careful parser |
//! | the load test's | keeps up with the gateway: non-blocking, on the gateway's own parser |
//! | the tests' `RawClient` | keeps every byte, and shares no parser with the gateway that it judges |
#![expect(
    clippy::disallowed_methods,
    clippy::missing_errors_doc,
    reason = "programs live in real time; an error is always that the system refused, or a program did not do its part"
)]

mod error;
pub mod gateway;
pub mod haproxy;
pub mod nats_server;
mod process;
mod usage;
mod wait;

pub use error::Error;
pub use process::Process;
pub use wait::{DEADLINE, until};

/// A fresh folder, readable by us alone and removed when dropped.
pub fn folder(purpose: &str) -> Result<tempfile::TempDir, Error> {
    tempfile::Builder::new()
        .prefix(&format!("keyway-{purpose}-"))
        .tempdir()
        .map_err(Error::io("making a temporary folder"))
}
