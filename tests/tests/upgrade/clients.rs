//! Promise: official clients in use during a take-over are notified, reconnect by themselves and lose nothing acknowledged; the
//! notification is that of a server in lame duck mode.

use keyway_tests::driver::{Client, assert_passed, assert_same};
use keyway_tests::gateway::Settings;
use keyway_tests::traffic::{Requests, StreamTraffic};
use keyway_tests::{Gateway, NatsServer};
use rustix::process::Signal;

/// Closes connections soon, and not all at once.
const SHORT: &str = "[shutdown]\ngrace = \"200ms\"\nspread = \"300ms\"";

/// Closes no connection before the test is over.
const LONG: &str = "[shutdown]\ngrace = \"1h\"";

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

#[test]
fn async_nats_works_through_take_overs() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, SHORT);
    let stream = StreamTraffic::start(&gateway.url(), 1, 2);
    let requests = Requests::start(&gateway.url());
    for round in 1..=3 {
        stream.await_progress();
        requests.await_progress();
        assert_eq!(gateway.take_over().wait().code(), Some(0));
        requests.await_reconnects(round);
    }
    stream.await_progress();
    requests.await_progress();
    requests.finish();
    assert!(stream.finish(&server.url()) > 0);
}

fn works_through_take_overs(client: Client) {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, SHORT);
    let url = gateway.url();
    let outcome = client.edge(&url, "take_over", |cue| {
        assert_eq!(cue, "take-over");
        assert_eq!(gateway.take_over().wait().code(), Some(0));
    });
    assert_passed("through take-overs", &outcome);
}

#[test]
fn nats_py_works_through_take_overs() {
    works_through_take_overs(Client::Python);
}

#[test]
fn nats_js_works_through_take_overs() {
    works_through_take_overs(Client::JavaScript);
}

/// The server's own lame duck mode, and the gateway's, when it stops and when it is taken over.
fn sees_the_lame_duck_of_the_server(client: Client) {
    let duck = |url: &str, cued: &mut dyn FnMut()| {
        client.edge(url, "lame_duck", |cue| {
            assert_eq!(cue, "lame-duck");
            cued();
        })
    };
    let mut server = NatsServer::start();
    let url = server.url();
    let directly = duck(&url, &mut || server.process().signal(Signal::USR2));
    assert_passed("at the server itself", &directly);
    let server = NatsServer::start();
    let mut stops = gateway(&server, LONG);
    let url = stops.url();
    let seen = duck(&url, &mut || stops.process().signal(Signal::TERM));
    assert_same("at a gateway that stops", &directly, &seen);
    let mut taken = gateway(&server, LONG);
    let url = taken.url();
    let mut old = None;
    let seen = duck(&url, &mut || old = Some(taken.take_over()));
    assert_same("at a gateway that is taken over", &directly, &seen);
}

#[test]
fn nats_py_sees_the_lame_duck_as_it_sees_a_server_s() {
    sees_the_lame_duck_of_the_server(Client::Python);
}

#[test]
fn nats_js_sees_the_lame_duck_as_it_sees_a_server_s() {
    sees_the_lame_duck_of_the_server(Client::JavaScript);
}
