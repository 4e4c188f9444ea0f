//! Promise: whatever fails around the gateway or in it, nothing acknowledged is lost, and no other connection is affected.
//!
//! Each file is one kind of fault on real processes. JetStream: no acknowledged message is lost, and each is delivered in
//! plaintext at least once. Core: only what a direct connection would lose too is lost. docs/testing.md has the table.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected; its counts are its own"
)]

mod clock;
mod cluster;
mod dead_peer;
mod descriptors;
mod disk;
mod gateway;
mod handshake;
mod hostile_clients;
mod limits;
mod many_clients;
mod server;
mod slow;

use keyway_tests::{Gateway, RawClient, wait};

/// Resident memory of the gateway now, in KiB.
fn resident(gateway: &mut Gateway) -> u64 {
    gateway.process().memory("status", "VmRSS:").unwrap() / 1024
}

/// Waits until the gateway has exactly this many clients.
fn has_clients(gateway: &Gateway, count: u32) {
    let wanted = f64::from(count);
    wait::until("sessions that end", || {
        let connected = gateway.metrics().sum("keyway_connections", &[]);
        ((connected - wanted).abs() < 0.5).then_some(())
    });
}

/// Fails unless two new agents behind the gateway can read each other's messages.
fn talks(gateway: &Gateway) {
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("talks.on");
    agent.publish("talks.on", b"hello");
    assert_eq!(agent.message("talks.on").payload(), b"hello");
}
