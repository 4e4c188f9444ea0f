//! Promise: a limit ends a connection with the right error, and affects no other.

use keyway_tests::frame::Frame;
use keyway_tests::gateway::{Gateway, Settings};
use keyway_tests::raw_client::{RawClient, WaitOutcome};
use keyway_tests::server::NatsServer;
use keyway_tests::wait;

const CROWDED: &str = "-ERR 'maximum connections exceeded'\r\n";

fn gateway(server: &NatsServer, limits: &str) -> Gateway {
    let tables = format!("[limits]\n{limits}\n");
    Gateway::start(
        &server.url(),
        Settings {
            tables,
            ..Settings::default()
        },
    )
}

/// Everything that a client receives that sends nothing.
fn said(gateway: &Gateway) -> String {
    let mut raw = RawClient::connect(gateway.addr());
    assert_eq!(raw.outcome(|_| false), WaitOutcome::Closed);
    String::from_utf8_lossy(raw.received()).into_owned()
}

fn refused(gateway: &Gateway, limit: &str) -> f64 {
    gateway
        .metrics()
        .sum("keyway_connections_refused_total", &[("limit", limit)])
}

fn ended(gateway: &Gateway, cause: &str) -> f64 {
    gateway
        .metrics()
        .sum("keyway_connections_ended_total", &[("cause", cause)])
}

#[test]
fn client_beyond_the_limit_is_told_and_gets_in_once_another_has_gone() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "connections = 2");
    let first = RawClient::handshake(gateway.addr(), "");
    let _second = RawClient::handshake(gateway.addr(), "");
    assert_eq!(said(&gateway), CROWDED);
    assert!(refused(&gateway, "connections") > 0.5);
    drop(first);
    wait::until("a place that is free again", || {
        let mut raw = RawClient::connect(gateway.addr());
        let greeted = raw.outcome(|bytes| bytes.starts_with(b"INFO"));
        (greeted == WaitOutcome::Enough).then_some(())
    });
}

#[test]
fn client_from_an_address_that_is_full_is_told() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "connections-per-address = 1");
    let mut first = RawClient::handshake(gateway.addr(), "");
    assert_eq!(said(&gateway), CROWDED);
    assert!(refused(&gateway, "address") > 0.5);
    first.flush();
}

#[test]
fn clients_that_come_too_fast_are_told() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "connections-per-second = 1");
    let told = wait::until("a client that came too fast", || {
        let mut raw = RawClient::connect(gateway.addr());
        raw.outcome(|bytes| bytes.ends_with(b"\r\n"));
        let text = String::from_utf8(raw.received().to_vec()).unwrap();
        text.starts_with("-ERR").then_some(text)
    });
    assert_eq!(
        told,
        "-ERR 'Connection throttling is active. Please try again later.'\r\n"
    );
    assert!(refused(&gateway, "rate") > 0.5);
}

#[test]
fn client_that_says_nothing_whole_in_time_is_told_and_one_that_has_may_be_silent() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "auth-timeout = \"1s\"");
    let mut quiet = RawClient::handshake(gateway.addr(), "");
    let mut slow = RawClient::connect(gateway.addr());
    slow.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    slow.send(b"CONNECT {\"verb");
    assert_eq!(slow.outcome(|_| false), WaitOutcome::Closed);
    let text = String::from_utf8(slow.received().to_vec()).unwrap();
    assert!(
        text.ends_with("\r\n-ERR 'Authentication Timeout'\r\n"),
        "{text}"
    );
    wait::until("its end is counted", || {
        (ended(&gateway, "auth-timeout") > 0.5).then_some(())
    });
    quiet.flush();
}

#[test]
fn message_larger_than_is_held_for_a_connection_ends_it_as_the_server_would() {
    let server = NatsServer::configured("max_payload: 8388608");
    let gateway = gateway(&server, "max-message = \"1 MiB\"");
    let mut raw = RawClient::handshake(gateway.addr(), "");
    raw.send(b"PUB talk.a 2000000\r\n");
    assert_eq!(raw.outcome(|_| false), WaitOutcome::Closed);
    let frames = raw.frames();
    let last = frames.last().map(Frame::verb);
    assert_eq!(last, Some("-ERR"), "{frames:?}");
    assert!(
        raw.received()
            .ends_with(b"-ERR 'Maximum Payload Violation'\r\n")
    );
}

/// Clients that have begun a large message.
fn begun(gateway: &Gateway) -> Vec<RawClient> {
    let begin = |_| {
        let mut raw = RawClient::handshake(gateway.addr(), "");
        let mut part = b"PUB talk.a 1000000\r\n".to_vec();
        part.resize(200_000, b'x');
        raw.send(&part);
        raw
    };
    (0..30).map(begin).collect()
}

/// With room for four such messages, thirty clients begin one and stop; another sends all of its.
#[test]
fn peers_that_do_nothing_are_given_up_when_others_wait_for_their_memory() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "pending = \"16 MiB\"\nworkers = 1");
    let mut idle = begun(&gateway);
    let mut listener = RawClient::handshake(gateway.addr(), "");
    listener.send(b"SUB talk.b 1\r\n");
    listener.flush();
    let mut busy = RawClient::handshake(gateway.addr(), "");
    let large = vec![b'y'; 900_000];
    busy.publish("talk.b", &large);
    listener.until("the message", |bytes| bytes.len() > large.len());
    assert!(ended(&gateway, "shed") > 0.5);
    let gone = idle
        .iter_mut()
        .filter_map(|raw| (raw.outcome(|_| false) == WaitOutcome::Closed).then_some(()))
        .take(1)
        .count();
    assert_eq!(gone, 1);
}

#[test]
fn peers_that_drip_are_given_up_when_others_wait_for_their_memory_and_greetings_need_not_wait() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "pending = \"16 MiB\"\nworkers = 1");
    let mut dripping = begun(&gateway);
    let addr = gateway.addr();
    let hearing = std::thread::spawn(move || {
        let mut listener = RawClient::handshake(addr, "");
        listener.send(b"SUB talk.b 1\r\n");
        listener.flush();
        let large = vec![b'y'; 900_000];
        RawClient::handshake(addr, "").publish("talk.b", &large);
        listener.until("the message", |bytes| bytes.len() > large.len());
    });
    wait::until("the message", || {
        dripping.iter_mut().for_each(|raw| raw.send(b"x"));
        hearing.is_finished().then_some(())
    });
    hearing.join().unwrap();
    assert!(ended(&gateway, "shed") > 0.5);
}

const LARGE: usize = 500_000;

/// An agent publishes half a megabyte, and another gets it.
fn large_message_arrives(addr: std::net::SocketAddr, members: &str) {
    let mut listener = RawClient::handshake(addr, members);
    listener.send(b"SUB talk.b 1\r\n");
    listener.flush();
    RawClient::handshake(addr, members).publish("talk.b", &vec![b'y'; LARGE]);
    listener.until("the message", |bytes| bytes.len() > LARGE);
}

const USER: &str = "\"user\":\"ann\",\"pass\":\"right\"";

/// A server with an authentication time-out of minutes.
fn patient_server() -> NatsServer {
    NatsServer::configured(
        "authorization { timeout: 300, users: [ {user: ann, password: right} ] }",
    )
}

/// A client that the server has not accepted, which has sent `len` bytes that begin with these.
fn stranger(gateway: &Gateway, begins: &[u8], len: usize) -> RawClient {
    let mut raw = RawClient::connect(gateway.addr());
    raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    let mut part = begins.to_vec();
    part.resize(len, b'x');
    raw.send(&part);
    raw
}

#[test]
fn what_is_large_is_not_read_of_clients_that_the_server_has_not_accepted() {
    let server = patient_server();
    let gateway = gateway(&server, "pending = \"16 MiB\"\nworkers = 1");
    let begin = |_| stranger(&gateway, b"PUB talk.a 1000000\r\n", 200_000);
    let strangers: Vec<RawClient> = (0..30).map(begin).collect();
    large_message_arrives(gateway.addr(), USER);
    for mut raw in strangers {
        // The server's own error, and the end of the connection.
        raw.until("its end", |bytes| {
            bytes.ends_with(b"-ERR 'Authorization Violation'\r\n")
        });
    }
}

#[test]
fn large_message_of_an_accepted_client_is_read_though_it_comes_before_the_servers_word() {
    let server = patient_server();
    let gateway = gateway(&server, "");
    let mut listener = RawClient::handshake(gateway.addr(), USER);
    listener.send(b"SUB talk.b 1\r\n");
    listener.flush();
    let mut raw = RawClient::connect(gateway.addr());
    raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    let mut all =
        format!("CONNECT {{\"verbose\":false,{USER}}}\r\nPUB talk.b {LARGE}\r\n").into_bytes();
    all.resize(all.len() + LARGE, b'y');
    all.extend(b"\r\n");
    raw.send(&all);
    raw.flush();
    listener.until("the message", |bytes| bytes.len() > LARGE);
}

/// Two hundred clients hold most of a buffer each, and the server would wait for them.
#[test]
fn clients_that_do_not_end_their_connect_keep_no_memory_from_those_that_the_server_has_accepted() {
    let server = patient_server();
    let gateway = gateway(&server, "pending = \"16 MiB\"\nworkers = 1");
    let begin = |_| stranger(&gateway, b"CONNECT {\"name\":\"", 50_000);
    let _strangers: Vec<RawClient> = (0..200).map(begin).collect();
    large_message_arrives(gateway.addr(), USER);
}

/// What each client sends per step, of which there are at most two hundred a second: in all more than 64 KiB a second.
const DRIP: [u8; 410] = [b'x'; 410];

/// Clients have begun messages that take them a quarter of an hour.
#[test]
fn crowd_that_drips_all_the_time_does_not_keep_memory_from_others() {
    let server = NatsServer::configured("max_payload: 67108864");
    let gateway = gateway(&server, "pending = \"16 MiB\"\nworkers = 1");
    let begin = |_| {
        let mut raw = RawClient::handshake(gateway.addr(), "");
        let mut part = b"PUB talk.a 60000000\r\n".to_vec();
        part.resize(200_000, b'x');
        raw.send(&part);
        raw
    };
    let mut crowd: Vec<RawClient> = (0..20).map(begin).collect();
    let addr = gateway.addr();
    let hearing = std::thread::spawn(move || {
        (0..3).for_each(|_| large_message_arrives(addr, ""));
    });
    wait::until("the messages", || {
        crowd.iter_mut().for_each(|raw| raw.send(&DRIP));
        hearing.is_finished().then_some(())
    });
    hearing.join().unwrap();
    assert!(ended(&gateway, "shed") > 0.5);
}
