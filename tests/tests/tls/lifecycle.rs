//! Stops and take-overs over TLS.

use super::*;
use keyway_tests::certificates::ClientTls;
use keyway_tests::traffic::StreamTraffic;

const JETSTREAM: &str = "jetstream { store_dir: \"STORE\" }";

/// A drain that outlasts any test.
const LONG: &str = "[shutdown]\ngrace = \"1h\"\n";

/// A short drain that does not close all connections at once.
const SHORT: &str = "[shutdown]\ngrace = \"100ms\"\nspread = \"300ms\"\n";

fn gateway(fixture: &TlsFixture, server: &NatsServer, shutdown: &str) -> Gateway {
    let mut settings = fixture.settings(&AFTER_INFO);
    settings.tables.push_str(shutdown);
    Gateway::start(&server.url(), settings)
}

fn traffic(fixture: &TlsFixture, gateway: &Gateway) -> StreamTraffic {
    let tls = ClientTls {
        ca: fixture.ca.ca(),
        own: None,
        first: false,
    };
    StreamTraffic::over_tls(&gateway.url(), tls, 3)
}

/// An agent that accepts INFO at any time (protocol 1).
fn agent(fixture: &TlsFixture, gateway: &Gateway) -> RawClient {
    let mut raw = RawClient::connect_until_info(
        gateway.addr(),
        &TlsMode::AfterInfo(fixture.client()),
        wait::DEADLINE,
    );
    raw.send(b"CONNECT {\"verbose\":false,\"protocol\":1,\"headers\":true}\r\n");
    raw.flush();
    raw
}

fn is_lame_duck(bytes: &[u8]) -> bool {
    bytes.windows(10).any(|part| part == b"\"ldm\":true")
}

#[test]
fn lame_duck_is_said_within_tls_and_the_session_goes_on_until_it_is_closed() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let mut gateway = gateway(&fixture, &server, LONG);
    let mut agent = agent(&fixture, &gateway);
    agent.subscribe("a.b");
    gateway.process().signal(rustix::process::Signal::TERM);
    agent.until("the lame duck", is_lame_duck);
    agent.publish("a.b", b"still here");
    assert_eq!(agent.message("a.b").payload(), b"still here");
    drop(agent);
    assert_eq!(gateway.process().wait().code(), Some(0));
}

#[test]
fn what_was_sent_before_a_stop_arrives_and_the_client_is_told_the_end_of_tls() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let mut gateway = gateway(&fixture, &server, "");
    let mut agent = agent(&fixture, &gateway);
    let mut listener = RawClient::connect_until_info(
        server.addr(),
        &TlsMode::AfterInfo(fixture.client()),
        wait::DEADLINE,
    );
    listener.send(b"CONNECT {\"verbose\":false}\r\n");
    listener.subscribe("a.>");
    for number in 0..500 {
        agent.send(format!("PUB a.{number} 2\r\nhi\r\n").as_bytes());
    }
    assert_eq!(gateway.process().terminate().code(), Some(0));
    agent.until_end();
    listener.message("a.499");
    assert_eq!(listener.messages().len(), 500);
    assert!(
        agent.ended_with_close_notify(),
        "TLS ended without close_notify"
    );
}

/// Fails if something acknowledged is lost when this happens to the gateway three times under load.
fn survive(happens: impl Fn(&mut Gateway)) {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, JETSTREAM);
    let mut gateway = gateway(&fixture, &server, SHORT);
    let traffic = traffic(&fixture, &gateway);
    for _ in 0..3 {
        traffic.await_progress();
        happens(&mut gateway);
    }
    traffic.await_progress();
    assert!(traffic.finish(&server.url()) > 0);
}

#[test]
fn acknowledged_messages_survive_stops_under_load() {
    survive(|gateway| {
        assert_eq!(gateway.process().terminate().code(), Some(0));
        gateway.restart();
    });
}

#[test]
fn acknowledged_messages_survive_take_overs_under_load() {
    survive(|gateway| assert_eq!(gateway.take_over().wait().code(), Some(0)));
}

#[test]
fn connections_stay_with_the_old_process_and_new_ones_meet_the_same_certificate() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let mut gateway = gateway(&fixture, &server, LONG);
    let mut before = agent(&fixture, &gateway);
    before.subscribe("a.>");
    let mut old = gateway.take_over();
    before.until("the lame duck", is_lame_duck);
    let mut after = agent(&fixture, &gateway);
    after.subscribe("b.>");
    assert_eq!(after.certificate().unwrap(), before.certificate().unwrap());
    gateway.rotate("default");
    after.publish("a.new", b"from the new process");
    assert_eq!(before.message("a.new").payload(), b"from the new process");
    before.publish("b.old", b"from the old process");
    assert_eq!(after.message("b.old").payload(), b"from the old process");
    assert!(old.ended().is_none());
    // The new process reads the files itself.
    fixture.ca.sign("gateway", 4);
    files::reload(&mut gateway, "new certificates are in use");
    let renewed = agent(&fixture, &gateway);
    assert_ne!(renewed.certificate().unwrap(), after.certificate().unwrap());
    drop(before);
    assert_eq!(old.wait().code(), Some(0));
    after.flush();
}
