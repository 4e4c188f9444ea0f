//! Promise: publishers lose nothing while the gateway is replaced, at any rate and whether or not they pause; and every envelope
//! is under the version that the catalogue calls active, whichever process sealed it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test stops at the first thing that is not as expected, and a measurement prints its row"
)]

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use keyway_tests::audit_log;
use keyway_tests::command::{json, keyway, path};
use keyway_tests::gateway::Settings;
use keyway_tests::steady_publisher::{BusRecorder, RecordedMessage, Sent, SteadyPublisher, lost};
use keyway_tests::stream_publishers::{self, Publishers};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::time::SystemTime;

/// A short drain.
const SHORT: &str = "[shutdown]\ngrace = \"300ms\"\nspread = \"100ms\"";

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// A drain that outlasts any test.
const LONG: &str = "[shutdown]\ngrace = \"1h\"";

fn agent(gateway: &Gateway) -> RawClient {
    RawClient::handshake(gateway.addr(), "\"protocol\":1,\"headers\":true")
}

/// The kid under which an agent's publish is sealed now.
fn kid(agent: &mut RawClient, tap: &mut BusTap, subject: &str) -> Vec<u8> {
    agent.publish(subject, b"hello");
    tap.message(subject).kid()
}

/// Runs a command, which must succeed.
fn run_command(gateway: &Gateway, words: &[&str]) {
    let config = gateway.config();
    let rest = ["--why", "a test", "--config", config.to_str().unwrap()];
    let output = keyway(&[words, &rest].concat());
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
}

#[test]
fn publishers_that_never_pause_lose_nothing() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, SHORT);
    let recorder = BusRecorder::open(server.addr());
    let publisher = SteadyPublisher::start(gateway.addr(), "a", 5000);
    for _ in 0..2 {
        publisher.send(1000);
        let mut old = gateway.take_over();
        assert_eq!(old.wait().code(), Some(0));
        let log = old.whole_log();
        assert!(!log.contains("have not ended"), "{log}");
    }
    publisher.send(1000);
    let count = publisher.finish();
    assert_eq!(lost(&recorder.finish(), "a", count), 0, "of {count}");
}

#[test]
fn publishers_that_always_wait_for_the_next_acknowledgement_are_drained() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, SHORT);
    let publishers = Publishers::start(&gateway.url(), 2);
    publishers.acknowledge(100);
    let mut old = gateway.take_over();
    assert_eq!(old.wait().code(), Some(0));
    let log = old.whole_log();
    assert!(!log.contains("have not ended"), "{log}");
    publishers.acknowledge(100);
    let acknowledged = publishers.finish();
    let stored = stream_publishers::stored_payloads(&gateway.url());
    assert_eq!(acknowledged.difference(&stored).count(), 0);
}

#[test]
fn drained_connections_seal_under_what_is_active_at_every_moment() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut tap = BusTap::open(server.addr());
    let mut before = agent(&gateway);
    let first = kid(&mut before, &mut tap, "a.1");
    let _old = gateway.take_over();
    let mut after = agent(&gateway);
    assert_eq!(kid(&mut before, &mut tap, "a.2"), first);
    gateway.rotate("default");
    let second = kid(&mut before, &mut tap, "a.3");
    assert_ne!(second, first);
    assert_eq!(kid(&mut after, &mut tap, "a.4"), second);
    run_command(&gateway, &["revoke"]);
    let third = kid(&mut before, &mut tap, "a.5");
    assert!(third != second && third != first);
    assert_eq!(kid(&mut after, &mut tap, "a.6"), third);
}

/// The kids of the versions that are not active any more.
fn replaced(gateway: &Gateway) -> Vec<Vec<u8>> {
    let config = gateway.config();
    let listed = keyway(&["keys", "--json", "--config", path(&config)]);
    let listed = json(&listed);
    let versions = listed["versions"].as_array().unwrap().iter();
    let over = versions.filter(|version| version["state"] != "active");
    let kids = over.map(|version| version["kid"].as_str().unwrap().as_bytes());
    kids.map(|kid| HEXLOWER.decode(kid).unwrap()).collect()
}

/// Its number in the sequence of its publisher.
fn number(seen: &RecordedMessage) -> u64 {
    let number = seen.subject.rsplit('.').next();
    number.unwrap().parse().unwrap()
}

#[test]
fn no_envelope_is_under_a_version_that_was_replaced_before() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let publisher = SteadyPublisher::start(gateway.addr(), "a", 5000);
    publisher.send(1000);
    let old = gateway.take_over();
    for _ in 0..3 {
        publisher.send(500);
        gateway.rotate("default");
        let replaced = replaced(&gateway);
        // What is sent from here on is sent after the command's answer, and so after the record.
        publisher.send(1);
        let first = publisher.sent();
        let now = wait::until("messages of after the switch", || {
            let recorder = BusRecorder::open(server.addr());
            publisher.send(500);
            let seen = recorder.finish().into_iter();
            let now: Vec<_> = seen.filter(|seen| number(seen) >= first).collect();
            (!now.is_empty()).then_some(now)
        });
        let stale = now.iter().filter(|seen| replaced.contains(&seen.kid));
        assert_eq!(stale.count(), 0, "of {}", now.len());
    }
    drop(old);
}

#[test]
fn drained_connections_have_budget_for_as_long_as_there_is_any() {
    const LIMIT: u64 = 4000;
    let server = NatsServer::start();
    let tables = format!(
        "[[keyring]]\nname = \"default\"\nsubjects = \">\"\nrotate = {{ messages = 3000 }}\nlimit = {{ messages = {LIMIT} }}\n{LONG}"
    );
    let mut gateway = gateway(&server, &tables);
    let recorder = BusRecorder::open(server.addr());
    let publisher = SteadyPublisher::start(gateway.addr(), "a", 1000);
    publisher.send(500);
    let mut old = gateway.take_over();
    publisher.send(2 * LIMIT);
    assert!(old.ended().is_none());
    let count = publisher.finish();
    assert_eq!(old.wait().code(), Some(0));
    let seen = recorder.finish();
    assert_eq!(lost(&seen, "a", count), 0, "of {count}");
    let mut sealed = BTreeMap::<_, u64>::new();
    for seen in &seen {
        *sealed.entry(&seen.kid).or_default() += 1;
    }
    assert!(sealed.values().all(|used| *used <= LIMIT), "{sealed:?}");
}

#[test]
fn another_configuration_moves_those_that_are_served_under_the_one_before() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut before = agent(&gateway);
    let mut old = gateway.take_over();
    // The same for both processes: nobody is moved.
    run_command(&gateway, &["rotate"]);
    before.flush();
    assert!(old.ended().is_none());
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let reload = |keyring: &str| {
        let keyring = format!("[[keyring]]\nname = \"default\"\n{keyring}");
        std::fs::write(gateway.config(), format!("{text}\n{keyring}\n")).unwrap();
        let output = keyway(&["reload", "--config", path(&gateway.config())]);
        assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    };
    // Settings that only the new process acts on.
    reload("subjects = \">\"\nrotate = { after = \"7h\" }\noverlap = \"3m\"");
    before.flush();
    run_command(&gateway, &["rotate"]);
    before.flush();
    assert!(old.ended().is_none());
    reload("subjects = \"a.>\"");
    before.until_end();
    drop(before);
    assert_eq!(old.wait().code(), Some(0));
}

#[test]
fn drain_ends_soon_when_the_new_process_does() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut before = agent(&gateway);
    let mut old = gateway.take_over();
    gateway.process().kill();
    before.until_end();
    drop(before);
    assert_eq!(old.wait().code(), Some(0));
}

#[test]
fn process_that_drains_alone_seals_nothing_that_whoever_writes_next_knows_nothing_of() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, "[shutdown]\ngrace = \"1h\"\ndrain = \"1h\"");
    let mut tap = BusTap::open(server.addr());
    let mut before = agent(&gateway);
    let replaced = kid(&mut before, &mut tap, "a.1");
    let _old = gateway.take_over();
    gateway.process().kill();
    // A client that goes on publishing is served for a while, while no other process can write.
    before.until_end();
    let mut socket = before.into_socket();
    socket.write_all(b"PUB a.2 5\r\nhello\r\n").unwrap();
    assert_eq!(tap.message("a.2").kid(), replaced);
    run_command(&gateway, &["rotate", "default"]);
    let late = socket.write_all(b"PUB a.3 5\r\nhello\r\n");
    let end = late.and_then(|()| socket.read_to_end(&mut Vec::new()));
    println!("the end of a client that goes on: {end:?}");
    let seen = tap.flush();
    let late = seen.iter().filter(|frame| frame.subject() == "a.3");
    assert!(late.into_iter().all(|frame| frame.kid() != replaced));
}

#[test]
fn those_that_drain_already_are_passed_on_to_the_next_process() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut tap = BusTap::open(server.addr());
    let mut first = agent(&gateway);
    let mut oldest = gateway.take_over();
    let mut second = agent(&gateway);
    let mut old = gateway.take_over();
    let mut third = agent(&gateway);
    let before = kid(&mut first, &mut tap, "a.1");
    gateway.rotate("default");
    let after = kid(&mut first, &mut tap, "a.2");
    assert_ne!(before, after);
    assert_eq!(kid(&mut second, &mut tap, "a.3"), after);
    assert_eq!(kid(&mut third, &mut tap, "a.4"), after);
    drop((first, second));
    assert_eq!(oldest.wait().code(), Some(0));
    assert_eq!(old.wait().code(), Some(0));
    gateway.rotate("default");
    assert_ne!(kid(&mut third, &mut tap, "a.5"), after);
}

#[test]
fn process_that_does_not_say_that_it_has_stopped_is_ended() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let before = agent(&gateway);
    let mut old = gateway.take_over();
    old.pause();
    gateway.rotate("default");
    assert_eq!(old.wait().code(), None, "it was killed");
    drop(before);
}

/// Fails unless every envelope is under a version that, by the audit log, was activated before it was seen and had not been
/// replaced or revoked when its message was sent. The log has whole milliseconds.
fn assert_is_what_the_log_says(gateway: &Gateway, seen: &[RecordedMessage], all: &[Sent]) {
    let log = audit_log::sealing_periods(&gateway.state());
    let whole = |time: SystemTime| Timestamp::try_from(time).unwrap().as_millisecond();
    for seen in seen {
        let kid = HEXLOWER.encode(&seen.kid);
        let said = log.get(&kid);
        assert!(
            said.is_some(),
            "{seen:?} is under a version that the log does not have: {log:?}"
        );
        let said = said.unwrap();
        assert!(
            said.from.as_millisecond() <= whole(seen.at),
            "{seen:?}, by the log {said:?}"
        );
        let sent = all.iter().find_map(|sent| sent.not_before(&seen.subject));
        let (Some(sent), Some(until)) = (sent, said.until) else {
            continue;
        };
        assert!(
            whole(sent) <= until.as_millisecond(),
            "{seen:?}, sent {sent:?}, by the log {said:?}"
        );
    }
}

#[test]
fn every_envelope_is_under_what_the_log_says_was_active_when_its_message_was_sent() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let recorder = BusRecorder::open(server.addr());
    let publisher = SteadyPublisher::start(gateway.addr(), "a", 2000);
    publisher.send(500);
    let _old = gateway.take_over();
    for words in [
        &["rotate", "default"][..],
        &["revoke", "default"],
        &["rotate", "default"],
    ] {
        publisher.send(500);
        run_command(&gateway, words);
    }
    publisher.send(500);
    let sent = publisher.finish_with_times("a");
    let seen = recorder.finish();
    let kids: BTreeSet<_> = seen.iter().map(|seen| &seen.kid).collect();
    assert_eq!(kids.len(), 4);
    assert_eq!(lost(&seen, "a", sent.count), 0);
    assert_is_what_the_log_says(&gateway, &seen, &[sent]);
}

/// A case of `make upgrade`.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Messages a second, of all publishers together.
    rate: u64,
    /// Messages sent before the take-over.
    before: u64,
    /// Whether a stream stores them.
    bus: Bus,
}

#[derive(Clone, Copy, Debug)]
enum Bus {
    Core,
    Stream,
}

#[test]
#[ignore = "a minute and more under full load: `make upgrade`"]
fn nothing_is_lost_at_any_rate_with_key_events_under_way() {
    for rate in [1000, 5000, 50_000] {
        for before in [rate / 10, rate * 3] {
            for bus in [Bus::Core, Bus::Stream] {
                run(Case { rate, before, bus });
            }
        }
    }
}

/// Two publishers; a take-over, and while the old process drains a rotation, a revocation and a destruction.
fn run(case: Case) {
    const NAMES: [&str; 2] = ["a", "b"];
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, "[shutdown]\ngrace = \"3s\"\nspread = \"1s\"");
    if let Bus::Stream = case.bus {
        stream_publishers::create_stream(&gateway.url(), "steady", "steady.>");
    }
    let recorder = BusRecorder::open(server.addr());
    let each = case.rate / 2;
    let publishers = NAMES.map(|name| SteadyPublisher::start(gateway.addr(), name, each));
    publishers[0].send(case.before / 2);
    let mut old = gateway.take_over();
    gateway.rotate("default");
    run_command(&gateway, &["revoke", "default"]);
    run_command(&gateway, &["destroy", "default", "1", "--force"]);
    assert_eq!(old.wait().code(), Some(0), "{case:?}");
    assert!(!old.whole_log().contains("have not ended"), "{case:?}");
    publishers[0].send(each);
    let [first, second] = publishers;
    let all = [
        first.finish_with_times(NAMES[0]),
        second.finish_with_times(NAMES[1]),
    ];
    let seen = recorder.finish();
    let lost: usize = all
        .iter()
        .map(|sent| lost(&seen, sent.name, sent.count))
        .sum();
    assert_is_what_the_log_says(&gateway, &seen, &all);
    let sent: u64 = all.iter().map(|sent| sent.count).sum();
    let kids: BTreeSet<_> = seen.iter().map(|seen| &seen.kid).collect();
    println!(
        "{case:?}: sent {sent}, lost {lost}, versions {}",
        kids.len()
    );
    assert_eq!(lost, 0, "{case:?}");
    if let Bus::Stream = case.bus {
        assert_eq!(
            stream_publishers::subject_count(&gateway.url(), "steady"),
            sent,
            "{case:?}"
        );
    }
}
