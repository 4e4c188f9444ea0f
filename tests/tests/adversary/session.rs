//! The connection itself: forged INFO, malformed operations, floods.

use super::{SAID, arrived, assert_gateway_lives, envelope, these};
use keyway_tests::envelope::assert_no_plaintext;
use keyway_tests::frame::Frame;
use keyway_tests::gateway::Gateway;
use keyway_tests::{HostileBus, RawClient, agent, wait};
use std::fmt::Write as _;

/// Growth of memory that is allowed, in KiB: some buffers for some sessions.
const ROOM: u64 = 48 * 1024;

/// The gateway's peak resident memory, in KiB.
fn peak(gateway: &mut Gateway) -> u64 {
    gateway.process().peak().unwrap() / 1024
}

/// The last INFO that the client has received.
fn last_info(agent: &RawClient) -> serde_json::Value {
    let frames = agent.frames();
    let info = frames.iter().rfind(|frame| frame.verb() == "INFO").unwrap();
    serde_json::from_str(info.line.split_once(' ').unwrap().1).unwrap()
}

fn malformed(hostile: &HostileBus) -> f64 {
    let metrics = hostile.pair.deliver.metrics();
    metrics.sum("keyway_malformed_streams_total", &[("side", "server")])
}

#[test]
fn a_forged_info_sends_no_client_around_the_gateway() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let own = last_info(&victim);
    let forged = r#"INFO {"server_id":"E","host":"evil.example","port":1,"connect_urls":["evil.example:4222"],"ws_connect_urls":["evil.example:8080"],"client_ip":"192.0.2.1","tls_required":true,"tls_available":true,"headers":true,"max_payload":2000,"proto":1,"ldm":true}"#;
    hostile.inject(format!("{forged}\r\n").as_bytes());
    victim.flush();
    let seen = last_info(&victim);
    for key in [
        "host",
        "port",
        "client_ip",
        "connect_urls",
        "ws_connect_urls",
    ] {
        assert_eq!(seen.get(key), own.get(key), "{key}: {seen}");
    }
    for key in ["tls_required", "tls_available"] {
        assert!(!seen[key].as_bool().unwrap_or(false), "{key}: {seen}");
    }
    assert_eq!(seen["max_payload"], 2000 - 48);
    assert_eq!(seen["ldm"], true);
}

#[test]
fn after_a_forged_payload_limit_a_larger_publish_ends_as_the_server_ends_it_and_leaks_nothing() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let mut tap = hostile.pair.tap();
    let info = r#"INFO {"server_id":"E","headers":true,"max_payload":60,"proto":1}"#;
    hostile.inject(format!("{info}\r\n").as_bytes());
    victim.flush();
    victim.send(&agent::publish("a.b", None, SAID));
    let end = victim.until_end().escape_ascii().to_string();
    assert!(end.contains("Maximum Payload Violation"), "{end}");
    assert_eq!(tap.flush(), []);
    assert_gateway_lives(&hostile);
}

#[test]
fn after_an_info_without_headers_a_publish_with_headers_ends_the_session_and_leaks_nothing() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let mut tap = hostile.pair.tap();
    hostile
        .adversary
        .on_publish(|_connection, frame| vec![frame]);
    hostile.inject(b"INFO {\"server_id\":\"E\",\"headers\":false,\"max_payload\":1048576}\r\n");
    victim.flush();
    let headers = "NATS/1.0\r\nA: b\r\n\r\n";
    let line = format!(
        "HPUB a.b {} {}\r\n{headers}",
        headers.len(),
        headers.len() + SAID.len()
    );
    victim.send(&[line.as_bytes(), SAID, b"\r\n"].concat());
    victim.half_close();
    victim.until_end();
    for frame in tap.flush() {
        assert_no_plaintext(&frame.body, SAID);
    }
    assert_gateway_lives(&hostile);
}

#[test]
fn what_no_server_says_ends_that_session_only_and_is_counted() {
    let hostile = HostileBus::start();
    let mut bystander = RawClient::agent(hostile.pair.deliver.addr());
    bystander.subscribe("a.b");
    let deep = format!("INFO {{\"a\":{}\r\n", "[".repeat(100_000));
    let closed = format!(
        "INFO {{\"a\":{}{}}}\r\n",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let endless = format!("INFO {}", "x".repeat(2 << 20));
    let nonsense = [
        "HELLO\r\n",
        "\0\0\0\0\r\n",
        "+OH\r\n",
        "MSG a.b 1 x\r\n",
        "MSG a.b\r\n",
        "MSG a.b 1 99999999999999999999\r\n",
        "MSG a.b 1 999999999\r\n",
        "MSG a.b 1 -1\r\n",
        "MSG a.b 1 2\r\nabcd\r\n",
        "HMSG a.b 1 9 3\r\nabc\r\n",
        "PUB a.b 1\r\nx\r\n",
        "INFO not json\r\n",
        "INFO [1]\r\n",
        &deep,
        &closed,
        &endless,
    ];
    for (number, said) in nonsense.iter().enumerate() {
        let mut victim = hostile.victim("a.b");
        hostile.inject(said.as_bytes());
        victim.until_end();
        let counted = f64::from(u32::try_from(number + 1).unwrap());
        wait::until("the count", || {
            (malformed(&hostile) == counted).then_some(())
        });
    }
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(bystander.message("a.b").payload(), SAID);
}

#[test]
fn a_server_that_hangs_up_ends_that_session_only() {
    let hostile = HostileBus::start();
    let mut bystander = RawClient::agent(hostile.pair.deliver.addr());
    bystander.subscribe("a.b");
    let mut victim = hostile.victim("a.b");
    hostile.inject(b"-ERR 'Stale Connection'\r\n");
    victim.flush();
    assert!(
        victim
            .frames()
            .iter()
            .any(|frame| frame.line == "-ERR 'Stale Connection'")
    );
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(bystander.message("a.b").payload(), SAID);
}

#[test]
fn a_server_that_says_nothing_holds_up_that_session_only() {
    let hostile = HostileBus::start();
    let mut bystander = RawClient::agent(hostile.pair.deliver.addr());
    bystander.subscribe("a.b");
    let mut victim = hostile.victim("a.b");
    let silenced = hostile.adversary.latest_connection();
    hostile
        .adversary
        .on_deliver(move |connection, frame| match connection == silenced {
            true => vec![],
            false => vec![frame],
        });
    victim.send(b"PING\r\n");
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(bystander.message("a.b").payload(), SAID);
    assert_eq!(victim.messages(), []);
}

#[test]
fn large_messages_that_are_only_announced_take_no_memory() {
    let mut hostile = HostileBus::start();
    let before = peak(&mut hostile.pair.deliver);
    let victims: Vec<RawClient> = (0..20)
        .map(|_| {
            let victim = hostile.victim("a.b");
            hostile.inject(b"MSG a.b 1 67000000\r\nand no more of it");
            victim
        })
        .collect();
    assert_gateway_lives(&hostile);
    let after = peak(&mut hostile.pair.deliver);
    assert!(after < before + ROOM, "{before} to {after} KiB");
    assert_eq!(malformed(&hostile), 0.0, "cut off");
    drop(victims);
}

#[test]
fn a_flood_of_made_up_lanes_takes_no_memory() {
    let mut hostile = HostileBus::start();
    let sealed = envelope(&hostile, "a.b", SAID);
    let mut victim = hostile.victim("a.b");
    let before = peak(&mut hostile.pair.deliver);
    let count = 20_000_u32;
    for number in 0..count {
        let mut made_up = sealed.clone();
        made_up[12..16].copy_from_slice(&number.to_be_bytes());
        hostile.forge(&[Frame::delivery("a.b", "1", &made_up)]);
    }
    hostile.forge(&[Frame::delivery("a.b", "1", &sealed)]);
    assert_eq!(arrived(&mut victim), these(&[("a.b", SAID)]));
    assert_eq!(hostile.pair.withheld("unauthentic"), f64::from(count));
    let after = peak(&mut hostile.pair.deliver);
    assert!(after < before + ROOM / 4, "{before} to {after} KiB");
}

#[test]
fn a_flood_of_requests_with_new_reply_subjects_takes_little_memory() {
    let mut hostile = HostileBus::start();
    let sealed = envelope(&hostile, "a.ask", SAID);
    let mut victim = hostile.victim("a.ask");
    let before = peak(&mut hostile.pair.deliver);
    let request = Frame::delivery("a.ask", "1", &sealed);
    for thousand in 0..200 {
        let frames: Vec<Frame> = (0..1000)
            .map(|number| request.with_reply(&format!("_INBOX.{thousand}.{number}")))
            .collect();
        hostile.forge(&frames);
        victim.flush();
        victim.forget();
    }
    let after = peak(&mut hostile.pair.deliver);
    assert!(after < before + ROOM / 2, "{before} to {after} KiB");
    // The first request is forgotten by now, and its answer is sealed all the same.
    let mut tap = hostile.pair.tap();
    victim.publish("_INBOX.0.0", SAID);
    tap.message("_INBOX.0.0").assert_sealed(SAID);
}

#[test]
fn a_flood_of_infos_takes_no_memory_and_reaches_the_client() {
    let mut hostile = HostileBus::start();
    let mut victim = hostile.victim("a.b");
    let before = peak(&mut hostile.pair.deliver);
    let mut info = String::from(r#"INFO {"server_id":"E","headers":true,"max_payload":1048576"#);
    for number in 0..2000 {
        write!(info, r#","k{number}":{{"deep":[[[[1]]]]}}"#).unwrap();
    }
    info.push_str("}\r\n");
    for _ in 0..50 {
        hostile.inject(info.as_bytes());
        victim.flush();
        assert_eq!(last_info(&victim)["k1999"]["deep"][0][0][0][0], 1);
        victim.forget();
    }
    let after = peak(&mut hostile.pair.deliver);
    assert!(after < before + ROOM / 4, "{before} to {after} KiB");
}
