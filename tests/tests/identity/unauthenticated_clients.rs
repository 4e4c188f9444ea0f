//! Promise: nothing is sealed for a client that the server has not accepted, and accepted clients notice no difference.
#![expect(clippy::unwrap_used, reason = "a test's own functions may stop it too")]

use keyway_tests::agent::publish;
use keyway_tests::gateway::Settings;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient};

const USERS: &str =
    "authorization { users: [ {user: ann, password: right}, {user: tap, password: tap} ] }";

const RIGHT: &str = "CONNECT {\"verbose\":false,\"user\":\"ann\",\"pass\":\"right\"}\r\n";
const WRONG: &str = "CONNECT {\"verbose\":false,\"user\":\"ann\",\"pass\":\"wrong\"}\r\n";

fn gateway_in_front_of(server: &NatsServer) -> Gateway {
    let tables = "[[keyring]]\nname = \"k\"\nsubjects = \"a.>\"\nrotate = { messages = 500 }\n";
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// A client that has sent nothing yet.
fn silent(gateway: &Gateway) -> RawClient {
    let mut agent = RawClient::connect(gateway.addr());
    agent.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    agent.forget();
    agent
}

/// This many publishes.
fn publishes(count: usize) -> Vec<u8> {
    let one = |number: usize| publish("a.b", None, number.to_string().as_bytes());
    (0..count).flat_map(one).collect()
}

/// The payloads on the bus, once there are this many.
fn on_the_bus(tap: &mut BusTap, count: usize) -> Vec<Vec<u8>> {
    let frames = tap.until("the messages", |frames| frames.len() >= count);
    frames
        .iter()
        .map(|frame| frame.payload().to_vec())
        .collect()
}

fn tap(server: &NatsServer) -> BusTap {
    BusTap::logged_in(server.addr(), "\"user\":\"tap\",\"pass\":\"tap\"")
}

/// An agent with a subscription.
fn listener(gateway: &Gateway) -> RawClient {
    let mut listener = RawClient::handshake(gateway.addr(), "\"user\":\"tap\",\"pass\":\"tap\"");
    listener.subscribe("a.>");
    listener.forget();
    listener
}

fn assert_in_order(listener: &mut RawClient, count: usize) {
    let texts = |agent: &RawClient| -> Vec<_> {
        let messages = agent.messages();
        messages
            .iter()
            .map(|frame| String::from_utf8(frame.payload().to_vec()).unwrap())
            .collect()
    };
    keyway_tests::wait::until("every message", || {
        listener.flush();
        (texts(listener).len() >= count).then_some(())
    });
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(texts(listener), expected);
}

fn sealed(gateway: &Gateway) -> [f64; 3] {
    let metrics = gateway.metrics();
    let of = |name| metrics.sum(name, &[]);
    [
        of("keyway_sealed_messages_total"),
        of("keyway_lanes_started_total"),
        of("keyway_rotations_total"),
    ]
}

#[test]
fn wrong_passwords_spend_no_budget_and_force_no_rotation() {
    let guests = format!("{USERS}\nno_auth_user: tap");
    for config in [USERS, &guests] {
        let server = NatsServer::configured(config);
        let gateway = gateway_in_front_of(&server);
        let untouched = sealed(&gateway);
        for _attempt in 0..10 {
            let mut agent = silent(&gateway);
            agent.send(&[WRONG.as_bytes(), &publishes(200), b"PING\r\n"].concat());
            let said = String::from_utf8_lossy(agent.until_end()).into_owned();
            assert_eq!(said, "-ERR 'Authorization Violation'\r\n");
        }
        assert_eq!(sealed(&gateway), untouched);
    }
}

#[test]
fn what_comes_with_the_right_password_in_one_write_arrives_sealed_and_in_order() {
    let server = NatsServer::configured(USERS);
    let gateway = gateway_in_front_of(&server);
    for (ping, pongs) in [("PING\r\n", 1), ("", 0)] {
        for early in [true, false] {
            let (mut tap, mut listener) = (tap(&server), listener(&gateway));
            let mut agent = silent(&gateway);
            let (first, last) = if early { (ping, "") } else { ("", ping) };
            let bytes = [
                RIGHT.as_bytes(),
                first.as_bytes(),
                &publishes(20),
                last.as_bytes(),
            ];
            agent.send(&bytes.concat());
            assert_in_order(&mut listener, 20);
            for payload in on_the_bus(&mut tap, 20) {
                assert!(payload.starts_with(b"\xFA\x4B"), "{payload:?}");
            }
            // Only the PONG to its own PING.
            let count = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("PONG").count();
            agent.until("its PONG", |bytes| count(bytes) >= pongs);
            let frames = agent.flush();
            assert_eq!(
                (count(agent.received()), frames.len()),
                (pongs + 1, pongs + 1)
            );
        }
    }
}

#[test]
fn second_connect_is_to_be_accepted_anew() {
    let server = NatsServer::configured(USERS);
    let gateway = gateway_in_front_of(&server);
    let mut listener = listener(&gateway);
    let mut agent = silent(&gateway);
    agent.send(&[RIGHT.as_bytes(), &publishes(3), RIGHT.as_bytes()].concat());
    assert_in_order(&mut listener, 3);
    let before = sealed(&gateway);
    agent.send(&[WRONG.as_bytes(), &publishes(3)].concat());
    agent.until_end();
    assert_eq!(sealed(&gateway), before);
}

#[test]
fn client_without_a_connect_is_let_in_by_the_server_and_its_publishes_are_sealed() {
    // This server asks for credentials, and accepts clients that bring none.
    let system = "accounts { $SYS: { users: [ {user: s, password: s} ] } }";
    let server = NatsServer::configured(system);
    let gateway = gateway_in_front_of(&server);
    let mut tap = BusTap::open(server.addr());
    let mut agent = silent(&gateway);
    agent.send(&publishes(3));
    for payload in on_the_bus(&mut tap, 3) {
        assert!(payload.starts_with(b"\xFA\x4B"), "{payload:?}");
    }
}

#[test]
fn gateway_that_stops_sends_on_what_waits_for_acceptance() {
    let server = NatsServer::configured(USERS);
    let mut gateway = gateway_in_front_of(&server);
    let mut tap = tap(&server);
    let mut agent = silent(&gateway);
    agent.send(&[RIGHT.as_bytes(), &publishes(3)].concat());
    assert_eq!(gateway.process().terminate().code(), Some(0));
    assert_eq!(on_the_bus(&mut tap, 3).len(), 3);
}

#[test]
fn gateway_stops_though_a_server_neither_accepts_nor_refuses() {
    let mut server = NatsServer::configured(USERS);
    let mut gateway = gateway_in_front_of(&server);
    let mut agent = silent(&gateway);
    server.process().pause();
    agent.send(&[RIGHT.as_bytes(), &publishes(3)].concat());
    gateway.process().terminate();
    server.process().resume();
    agent.until_end();
}
