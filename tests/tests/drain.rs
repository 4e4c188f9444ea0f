//! Promise: whoever publishes while the gateway is replaced loses nothing, however fast, and whether or not they ever pause; and every
//! envelope is under the version that the catalogue calls active, whichever process sealed it.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::gateway::Settings;
use keyway_tests::load::{self, Publishers};
use keyway_tests::steady::{Steady, Witness, lost};
use keyway_tests::{Gateway, NatsServer};

/// A drain that is over soon.
const SHORT: &str = "[shutdown]\ngrace = \"300ms\"\nspread = \"100ms\"";

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

#[test]
fn publishers_that_never_pause_lose_nothing() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, SHORT);
    let witness = Witness::open(server.addr());
    let publisher = Steady::start(gateway.addr(), "a", 5000);
    for _ in 0..2 {
        publisher.send(1000);
        let mut old = gateway.take_over();
        assert_eq!(old.wait().code(), Some(0));
        let log = old.whole_log();
        assert!(!log.contains("have not ended"), "{log}");
    }
    publisher.send(1000);
    let count = publisher.finish();
    assert_eq!(lost(&witness.finish(), "a", count), 0, "of {count}");
}

#[test]
fn publishers_that_always_wait_for_the_next_acknowledgement_are_drained() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, SHORT);
    let publishers = Publishers::start(&gateway.url(), 2);
    publishers.acknowledge(100);
    let mut old = gateway.take_over();
    assert_eq!(old.wait().code(), Some(0));
    let log = old.whole_log();
    assert!(!log.contains("have not ended"), "{log}");
    publishers.acknowledge(100);
    let acknowledged = publishers.finish();
    let stored = load::stored(&gateway.url());
    assert_eq!(acknowledged.difference(&stored).count(), 0);
}
