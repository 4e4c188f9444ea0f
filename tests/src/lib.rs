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
pub mod audit_log;
pub mod bus_tap;
pub mod certificates;
pub mod clock;
pub mod command;
pub mod crash_injection;
pub mod driver;
pub mod envelope;
pub mod features;
pub mod frame;
pub mod gateway;
pub mod gateway_pair;
pub mod haproxy;
pub mod hostile_clients;
pub mod identity;
pub mod metrics;
pub mod mount;
pub mod operator;
pub mod other_protocols;
pub mod preload;
pub mod process;
pub mod process_memory;
pub mod processor;
pub mod property;
pub mod raw_client;
pub mod receivers;
pub mod scenarios;
pub mod scratch;
pub mod secret_scan;
pub mod server;
pub mod session;
pub mod state_secrets;
pub mod steady_publisher;
pub mod stored_messages;
pub mod stream_publishers;
pub mod tools;
pub mod traffic;
pub mod wait;

pub use adversary::{Adversary, HostileBus};
pub use bus_tap::BusTap;
pub use gateway::Gateway;
pub use gateway_pair::GatewayPair;
pub use raw_client::RawClient;
pub use server::NatsServer;
