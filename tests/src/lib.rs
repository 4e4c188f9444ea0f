//! The test harness: a real `nats-server`, the real gateway, subscribers on the bus itself, raw sockets and the official clients.
//!
//! Nothing here sleeps to synchronise: tests wait for conditions, with a deadline ([`wait`]). Ports come from the operating
//! system. A process's log is shown when the test that started it fails.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a harness stops at the first thing that is not as expected, lives in real time and reads cargo's environment"
)]

pub mod adversary;
pub mod agent;
pub mod certificates;
pub mod clock;
pub mod command;
pub mod death;
pub mod driver;
pub mod exposed;
pub mod features;
pub mod foreign;
pub mod frame;
pub mod gate;
pub mod gateway;
pub mod glass;
pub mod haproxy;
pub mod identity;
pub mod load;
pub mod logged;
pub mod metrics;
pub mod mount;
pub mod operator;
pub mod pair;
pub mod preload;
pub mod process;
pub mod processor;
pub mod property;
pub mod raw;
pub mod receivers;
pub mod residue;
pub mod scenarios;
pub mod scratch;
pub mod sealed;
pub mod server;
pub mod session;
pub mod siege;
pub mod steady;
pub mod tap;
pub mod tools;
pub mod traffic;
pub mod wait;

pub use adversary::{Adversary, Hostile};
pub use gateway::Gateway;
pub use pair::Pair;
pub use raw::Raw;
pub use server::NatsServer;
pub use tap::Tap;
