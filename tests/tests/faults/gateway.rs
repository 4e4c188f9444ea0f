//! The gateway itself is killed and paused, while agents work. (Drained and upgraded: `shutdown.rs`, `upgrade.rs`.)

use keyway_tests::traffic::{CoreTraffic, StreamTraffic};
use keyway_tests::{Gateway, NatsServer, Raw};

#[test]
fn gateway_that_is_killed_under_load_loses_nothing_acknowledged_and_opens_all_that_it_sealed() {
    let server = NatsServer::jetstream();
    let mut gateway = Gateway::sealing(&server.url());
    let core = CoreTraffic::start(gateway.addr(), 3);
    let stream = StreamTraffic::start(&gateway.url(), 1, 4);
    for round in 0..4 {
        core.flows();
        stream.flows();
        if round % 2 == 0 {
            gateway.rotate("default");
        }
        gateway.restart();
        assert_eq!(gateway.states()["active"], 1, "round {round}");
    }
    core.flows();
    stream.flows();
    let tally = core.finish();
    assert!(tally.lives >= 3 * 5, "{tally:?}");
    assert!(stream.finish(&server.url()) > 0);
}

#[test]
fn gateway_that_is_paused_under_load_loses_no_message_and_no_connection() {
    let server = NatsServer::jetstream();
    let mut gateway = Gateway::sealing(&server.url());
    let core = CoreTraffic::start(gateway.addr(), 3);
    let stream = StreamTraffic::start(&gateway.url(), 1, 4);
    for _round in 0..3 {
        core.flows();
        stream.flows();
        gateway.process().pause();
        core.waits();
        // The kernel takes newcomers in meanwhile.
        let mut newcomer = Raw::connect(gateway.addr());
        newcomer.send(b"CONNECT {\"verbose\":false}\r\nSUB early 1\r\nPUB early 2\r\nhi\r\n");
        gateway.process().resume();
        assert_eq!(newcomer.message("early").payload(), b"hi");
    }
    core.flows();
    stream.flows();
    assert_eq!(core.finish().lives, 3);
    assert!(stream.finish(&server.url()) > 0);
}
