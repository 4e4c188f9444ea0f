//! The server is killed, stopped, paused, while agents work.

use keyway_tests::traffic::Traffic;
use keyway_tests::{Gateway, NatsServer};

#[test]
fn server_that_is_killed_and_stopped_under_load_costs_nothing_acknowledged() {
    let mut server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let traffic = Traffic::start(&gateway);
    for round in 0..4 {
        traffic.await_progress();
        if round % 2 == 0 {
            server.kill();
        } else {
            server.process().terminate();
        }
        server.restart();
    }
    let tally = traffic.finish(&server.url());
    assert!(tally.connections >= 3 * 5, "{tally:?}");
}

#[test]
fn server_that_is_paused_under_load_costs_no_message_and_no_connection() {
    let mut server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let traffic = Traffic::start(&gateway);
    for _round in 0..3 {
        traffic.await_progress();
        server.process().pause();
        traffic.core.await_unconfirmed();
        server.process().resume();
    }
    assert_eq!(traffic.finish(&server.url()).connections, 3);
}
