//! Harness of benches and of the allocation test: the gateway's paths without sockets, and the bytes that go through them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::arithmetic_side_effects,
    reason = "a measurement stops at the first thing that is not as expected; its lengths are its own"
)]

pub mod cases;
pub mod cpu;
mod fixture;
mod folder;
mod keys;
mod traffic;

pub use fixture::{SessionFixture, filled, run_deliver, run_publish};
pub use folder::folder;
pub use keys::{KEYRING, SUBJECT, keyring_id, snapshot, version};
pub use traffic::{READ, Shape, envelopes, messages, payload, publishes};
