//! Promise: a gateway that stops tells its clients, loses none of their messages, and ends on time.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::large_futures,
    reason = "a test stops at the first thing that is not as expected"
)]

use async_nats::{ConnectOptions, Event};
use keyway_tests::agent::publish;
use keyway_tests::frame::Frame;
use keyway_tests::gateway::Settings;
use keyway_tests::stream_publishers::{self, Publishers};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, metrics, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::net::TcpStream;

/// A grace that outlasts any test.
const LONG: &str = "[shutdown]\ngrace = \"1h\"";

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        top: "advertise = [\"192.0.2.1:4223\", \"192.0.2.2:4223\"]".to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// A client that accepts INFO at any time (protocol 1).
fn agent(gateway: &Gateway) -> RawClient {
    RawClient::handshake(gateway.addr(), "\"protocol\":1,\"headers\":true")
}

/// The INFOs that said `ldm`.
fn lame_duck_infos(frames: &[Frame]) -> Vec<Value> {
    let infos = frames.iter().filter(|frame| frame.verb() == "INFO");
    let infos = infos.map(|frame| serde_json::from_str(&frame.line[5..]).unwrap());
    infos.filter(|info: &Value| info["ldm"] == true).collect()
}

fn is_lame_duck(bytes: &[u8]) -> bool {
    !lame_duck_infos(&keyway_tests::frame::split_frames(bytes).0).is_empty()
}

#[test]
fn clients_that_may_hear_it_are_told_once_and_others_not() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, "");
    let mut told = agent(&gateway);
    let mut old = RawClient::handshake(gateway.addr(), "\"protocol\":0");
    let mut early = RawClient::connect(gateway.addr());
    early.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    early.send(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB early 1\r\n");
    // The server's answer shows that its CONNECT has gone through.
    wait::until("the early client's subscription", || {
        let mut bare = RawClient::agent(server.addr());
        bare.publish("early", b"");
        early.set_patience(std::time::Duration::from_millis(50));
        let came = early.outcome(|bytes| bytes.windows(4).any(|bytes| bytes == b"MSG "));
        (came == keyway_tests::raw_client::WaitOutcome::Enough).then_some(())
    });
    assert_eq!(gateway.process().terminate().code(), Some(0));
    told.until_end();
    old.until_end();
    early.until_end();
    let first = told.info();
    let said = lame_duck_infos(&told.frames());
    assert_eq!(said.len(), 1, "{said:?}");
    for key in ["host", "port", "max_payload", "connect_urls", "client_id"] {
        assert_eq!(said[0][key], first[key], "{key}");
    }
    assert_eq!(said[0]["connect_urls"][1], "192.0.2.2:4223");
    assert!(lame_duck_infos(&old.frames()).is_empty());
    assert!(lame_duck_infos(&early.frames()).is_empty());
    let pongs = |agent: &RawClient| agent.frames().iter().filter(|f| f.verb() == "PONG").count();
    assert_eq!((pongs(&told), pongs(&old), pongs(&early)), (1, 1, 0));
}

#[test]
fn client_whose_first_pong_is_still_to_come_is_told_behind_it() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut told = agent(&gateway);
    let mut late = RawClient::connect(gateway.addr());
    late.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    gateway.process().signal(Signal::TERM);
    told.until("the first is told", is_lame_duck);
    late.send(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
    late.until("the late one is told", is_lame_duck);
    // The server may send an INFO of its own then.
    let frames = late.frames();
    let pong = frames.iter().position(|f| f.verb() == "PONG").unwrap();
    assert_eq!(lame_duck_infos(&frames[..pong]).len(), 0);
    assert_eq!(lame_duck_infos(&frames[pong..]).len(), 1);
}

#[test]
fn stopping_is_not_ready_refuses_clients_and_serves_those_it_has() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut agent = agent(&gateway);
    gateway.process().signal(Signal::TERM);
    agent.until("told", is_lame_duck);
    let (status, reason) = metrics::get(gateway.admin(), "/readyz");
    assert_eq!(status, 503);
    assert!(reason.contains("stopping"), "{reason}");
    assert!(TcpStream::connect(gateway.addr()).is_err());
    agent.subscribe("a.b");
    agent.publish("a.b", b"hello");
    assert_eq!(agent.message("a.b").payload(), b"hello");
    // The grace ends with the last client.
    drop(agent);
    assert_eq!(gateway.process().wait().code(), Some(0));
}

#[test]
fn without_clients_a_stop_waits_for_nothing() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    assert_eq!(gateway.process().terminate().code(), Some(0));
}

#[test]
fn second_signal_ends_at_once() {
    let server = NatsServer::start();
    for second in [Signal::TERM, Signal::INT] {
        let mut gateway = gateway(&server, LONG);
        let mut agent = agent(&gateway);
        gateway.process().signal(Signal::TERM);
        agent.until("told", is_lame_duck);
        gateway.process().signal(second);
        assert_eq!(gateway.process().wait().code(), Some(130));
        agent.until_end();
        // Keys and audit log were closed properly all the same.
        gateway.restart();
        let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
        assert!(log.contains("gateway-stopped"), "{log}");
    }
}

#[test]
fn what_was_sent_before_the_close_goes_out_in_order_and_pings_get_their_pongs() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, "");
    let mut tap = BusTap::open(server.addr());
    let mut agent = agent(&gateway);
    agent.send(b"SUB a.b 1\r\n");
    let mut bytes = Vec::new();
    for number in 0..300 {
        bytes.extend(publish("a.b", None, format!("{number}").as_bytes()));
        if number % 100 == 50 {
            bytes.extend(b"PING\r\n");
        }
    }
    // So little that all of it is in the gateway's socket when the signal comes, read or not.
    agent.send(&bytes);
    assert_eq!(gateway.process().terminate().code(), Some(0));
    agent.until_end();
    let verbs = agent.frames();
    let mut heard = verbs.iter().filter(|f| matches!(f.verb(), "MSG" | "PONG"));
    assert_eq!(heard.next().unwrap().verb(), "PONG", "of the greeting");
    for number in 0..300 {
        assert_eq!(
            heard.next().unwrap().payload(),
            format!("{number}").as_bytes()
        );
        if number % 100 == 50 {
            assert_eq!(heard.next().unwrap().verb(), "PONG");
        }
    }
    assert!(heard.next().is_none(), "the gateway's own PONG is its own");
    tap.until("all that was sent", |frames| frames.len() == 300);
}

#[test]
fn message_that_has_not_arrived_whole_is_not_sent_on() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, "");
    let mut tap = BusTap::open(server.addr());
    let mut agent = agent(&gateway);
    agent.send(b"PUB a.b 5\r\nwhole\r\nPUB a.b 5\r\nhal");
    assert_eq!(gateway.process().terminate().code(), Some(0));
    agent.until_end();
    tap.message("a.b");
    assert_eq!(tap.flush().len(), 1);
}

#[test]
fn acknowledged_messages_survive_a_stop_under_load() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, "[shutdown]\ngrace = \"0s\"\nspread = \"500ms\"");
    let publishers = Publishers::start(&gateway.url(), 3);
    for _ in 0..3 {
        publishers.acknowledge(200);
        assert_eq!(gateway.process().terminate().code(), Some(0));
        gateway.restart();
    }
    publishers.acknowledge(200);
    let acknowledged = publishers.finish();
    let stored = stream_publishers::stored_payloads(&gateway.url());
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn official_client_sees_the_lame_duck() {
    let server = NatsServer::start();
    let gateway = gateway(&server, LONG);
    let (seen, mut events) = tokio::sync::mpsc::unbounded_channel();
    let options = ConnectOptions::new().event_callback(move |event| {
        let seen = seen.clone();
        async move { drop(seen.send(event)) }
    });
    let client = options.connect(gateway.url()).await.unwrap();
    client.flush().await.unwrap();
    let mut gateway = gateway;
    gateway.process().signal(Signal::TERM);
    loop {
        let event = events.recv().await.unwrap();
        if event == Event::LameDuckMode {
            break;
        }
        assert_eq!(event, Event::Connected);
    }
    assert!(client.flush().await.is_ok());
}
