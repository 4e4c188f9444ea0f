//! The server is killed, stopped, paused, while agents work.

use keyway_tests::traffic::{CoreTraffic, StreamTraffic};
use keyway_tests::{Gateway, NatsServer};

#[test]
fn server_that_is_killed_and_stopped_under_load_costs_nothing_acknowledged() {
    let mut server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let core = CoreTraffic::start(gateway.addr(), 3);
    let stream = StreamTraffic::start(&gateway.url(), 1, 4);
    for round in 0..4 {
        core.flows();
        stream.flows();
        if round % 2 == 0 {
            server.kill();
        } else {
            server.process().terminate();
        }
        server.restart();
    }
    core.flows();
    stream.flows();
    let tally = core.finish();
    assert!(tally.lives >= 3 * 5, "{tally:?}");
    assert!(stream.finish(&server.url()) > 0);
}

#[test]
fn server_that_is_paused_under_load_costs_no_message_and_no_connection() {
    let mut server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let core = CoreTraffic::start(gateway.addr(), 3);
    let stream = StreamTraffic::start(&gateway.url(), 1, 4);
    for _round in 0..3 {
        core.flows();
        stream.flows();
        server.process().pause();
        core.waits();
        server.process().resume();
    }
    core.flows();
    stream.flows();
    assert_eq!(core.finish().lives, 3);
    assert!(stream.finish(&server.url()) > 0);
}
