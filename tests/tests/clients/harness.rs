//! The harness itself: the server starts, pauses, restarts and is tapped.

use keyway_tests::{BusTap, NatsServer, RawClient};

#[test]
fn a_tap_sees_what_a_raw_client_publishes_also_after_a_restart() {
    let mut server = NatsServer::start();
    for round in 0..2 {
        let mut tap = BusTap::open(server.addr());
        let mut client = RawClient::handshake(server.addr(), "\"headers\":true");
        client.send_split(&[b"HPUB a.b 12 1", b"4\r\nNATS/1.0\r\n\r\nhi\r\n"]);
        client.flush();
        let message = tap.message("a.b");
        assert_eq!(
            (message.headers(), message.payload()),
            (&b"NATS/1.0\r\n\r\n"[..], &b"hi"[..]),
            "round {round}"
        );
        server.restart();
    }
}
