//! Promise: what a hostile server can do to an agent is what SECURITY.md says, row by row, and the gateway lives on.
//!
//! The adversary is between the gateway and a real server. Each test is one attack; its name says what the client sees.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at the first thing that is not as expected"
)]

mod answers;
mod api;
mod messages;
mod session;
mod stores;

use keyway_tests::frame::Frame;
use keyway_tests::{HostileBus, RawClient};

const SAID: &[u8] = b"the launch code is 0000";

/// The messages received, by subject and payload.
fn arrived(agent: &mut RawClient) -> Vec<(String, Vec<u8>)> {
    let messages = agent.arrived();
    let parts = |frame: &Frame| (frame.subject().to_owned(), frame.payload().to_vec());
    messages.iter().map(parts).collect()
}

/// The expected value of [`arrived`].
fn these(expected: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let owned = |(subject, payload): &(&str, &[u8])| ((*subject).to_owned(), payload.to_vec());
    expected.iter().map(owned).collect()
}

/// An envelope of `payload` on `subject`, as the bus carries it.
fn envelope(hostile: &HostileBus, subject: &str, payload: &[u8]) -> Vec<u8> {
    let mut tap = hostile.pair.tap();
    hostile.pair.publisher().publish(subject, payload);
    tap.message(subject).payload().to_vec()
}

/// Fails unless the victim has received nothing, and this many were withheld for this cause and no other.
fn assert_withheld(hostile: &HostileBus, victim: &mut RawClient, cause: &str, count: f64) {
    assert_eq!(arrived(victim), []);
    assert_eq!(hostile.pair.withheld(cause), count, "{cause}");
    let all = hostile.pair.deliver.metrics();
    assert_eq!(all.sum("keyway_withheld_messages_total", &[]), count);
}

/// Fails if anything was withheld.
fn assert_nothing_withheld(hostile: &HostileBus) {
    let all = hostile.pair.deliver.metrics();
    assert_eq!(all.sum("keyway_withheld_messages_total", &[]), 0.0);
}

/// Fails unless a new agent behind the attacked gateway receives what another publishes.
fn assert_gateway_lives(hostile: &HostileBus) {
    let mut agent = RawClient::agent(hostile.pair.deliver.addr());
    agent.subscribe("lives.on");
    hostile.pair.publisher().publish("lives.on", SAID);
    assert_eq!(agent.message("lives.on").payload(), SAID);
}
