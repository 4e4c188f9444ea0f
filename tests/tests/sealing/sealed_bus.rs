//! Promise: payloads through the gateway are envelopes on the bus, and a client that bypasses the gateway reads nothing.

use keyway_tests::{BusTap, Gateway, NatsServer, RawClient};

/// The first bytes of every envelope.
const MAGIC: &[u8] = b"\xfaK";

#[test]
fn the_bus_carries_envelopes_and_the_subscriber_gets_plaintext() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    let mut client = RawClient::handshake(gateway.addr(), "\"headers\":true");
    client.send(b"SUB talk.* 1\r\nPUB talk.a 6\r\nsecret\r\nPUB talk.b 0\r\n\r\n");
    let heard = client.flush();
    assert!(
        heard
            .iter()
            .any(|frame| frame.verb() == "MSG" && frame.payload() == b"secret"),
        "{heard:?}"
    );
    let (sealed, empty) = (tap.message("talk.a"), tap.message("talk.b"));
    assert!(sealed.payload().starts_with(MAGIC), "{sealed:?}");
    assert_eq!(sealed.payload().len(), b"secret".len() + 48);
    assert!(
        !sealed
            .payload()
            .windows(6)
            .any(|window| window == b"secret")
    );
    assert!(empty.payload().is_empty());
}

#[test]
fn the_relay_changes_no_payload() {
    let server = NatsServer::start();
    let gateway = Gateway::relay(&server.url());
    let mut tap = BusTap::open(server.addr());
    RawClient::handshake(gateway.addr(), "\"headers\":true")
        .send(b"PUB talk.a 6\r\nsecret\r\nPING\r\n");
    assert_eq!(tap.message("talk.a").payload(), b"secret");
}
