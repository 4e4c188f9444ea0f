//! The gateway itself is killed and paused, while agents work. (Drained and upgraded: `tests/tests/upgrade`.)

use keyway_tests::traffic::Traffic;
use keyway_tests::{Gateway, NatsServer, RawClient};

#[test]
fn gateway_that_is_killed_under_load_loses_nothing_acknowledged_and_opens_all_that_it_sealed() {
    let server = NatsServer::jetstream();
    let mut gateway = Gateway::sealing(&server.url());
    let traffic = Traffic::start(&gateway);
    for round in 0..4 {
        traffic.await_progress();
        if round % 2 == 0 {
            gateway.rotate("default");
        }
        gateway.restart();
        assert_eq!(gateway.states()["active"], 1, "round {round}");
    }
    let tally = traffic.finish(&server.url());
    assert!(tally.connections >= 3 * 5, "{tally:?}");
}

#[test]
fn gateway_that_is_paused_under_load_loses_no_message_and_no_connection() {
    let server = NatsServer::jetstream();
    let mut gateway = Gateway::sealing(&server.url());
    let traffic = Traffic::start(&gateway);
    for _round in 0..3 {
        traffic.await_progress();
        gateway.process().pause();
        traffic.core.await_unconfirmed();
        // The kernel accepts new connections meanwhile.
        let mut newcomer = RawClient::connect(gateway.addr());
        newcomer.send(b"CONNECT {\"verbose\":false}\r\nSUB early 1\r\nPUB early 2\r\nhi\r\n");
        gateway.process().resume();
        assert_eq!(newcomer.message("early").payload(), b"hi");
    }
    assert_eq!(traffic.finish(&server.url()).connections, 3);
}
