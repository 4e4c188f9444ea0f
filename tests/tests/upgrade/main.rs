//! Promise: while the binary is replaced under load, no connection is refused, nothing acknowledged is lost, and no budget is
//! exceeded; after a failed replacement the old process stays in charge.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected; its counts are its own"
)]

mod clients;
mod drain;
mod receivers;
mod service;
mod shutdown;

use keyway_tests::crash_injection::CrashInjection;
use keyway_tests::gateway::Settings;
use keyway_tests::stream_publishers::{self, Publishers};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, wait};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// A drain that outlasts any test.
const LONG: &str = "[shutdown]\ngrace = \"1h\"";

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

fn agent(gateway: &Gateway) -> RawClient {
    RawClient::handshake(gateway.addr(), "\"protocol\":1,\"headers\":true")
}

/// Connects again and again, and fails the test if a connection is refused.
struct ConnectLoop {
    over: Arc<AtomicBool>,
    greeted: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl ConnectLoop {
    fn start(addr: SocketAddr) -> Self {
        let (over, greeted) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (until, count) = (Arc::clone(&over), Arc::clone(&greeted));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Acquire) {
                let mut socket = TcpStream::connect(addr).unwrap();
                socket.set_read_timeout(Some(wait::DEADLINE)).unwrap();
                let mut first = [0; 5];
                socket.read_exact(&mut first).unwrap();
                assert_eq!(&first, b"INFO ");
                count.fetch_add(1, Ordering::AcqRel);
            }
        });
        Self {
            over,
            greeted,
            thread,
        }
    }

    /// Waits for this many more connections.
    fn await_connections(&self, more: usize) {
        let target = self.greeted.load(Ordering::Acquire) + more;
        wait::until("clients that are greeted", || {
            assert!(!self.thread.is_finished(), "somebody was refused");
            (self.greeted.load(Ordering::Acquire) >= target).then_some(())
        });
    }

    fn finish(self) {
        self.over.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

/// How often the audit log has this note.
fn notes(gateway: &Gateway, note: &str) -> usize {
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    log.matches(&format!("\"{note}\"")).count()
}

/// Fails unless the gateway can rotate.
fn assert_in_charge(gateway: &Gateway) {
    wait::until("the admin socket", || {
        UnixStream::connect(gateway.state().join("admin.sock")).ok()
    });
    gateway.rotate("default");
    let mut agent = agent(gateway);
    agent.subscribe("in.charge");
    agent.publish("in.charge", b"yes");
    assert_eq!(agent.message("in.charge").payload(), b"yes");
}

#[test]
fn nobody_is_refused_and_nothing_acknowledged_is_lost_under_load() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, "[shutdown]\ngrace = \"100ms\"\nspread = \"300ms\"");
    let publishers = Publishers::start(&gateway.url(), 2);
    let knocker = ConnectLoop::start(gateway.addr());
    for round in 1..=3 {
        publishers.acknowledge(100);
        knocker.await_connections(20);
        let admin = gateway.admin();
        let mut old = gateway.take_over();
        assert_eq!(old.wait().code(), Some(0), "round {round}");
        assert_eq!(gateway.admin(), admin);
        assert!(gateway.metrics().text().contains("keyway_connections"));
        assert_eq!(notes(&gateway, "gateway-handed-over"), round);
        assert_eq!(notes(&gateway, "gateway-started"), round + 1);
    }
    publishers.acknowledge(100);
    knocker.await_connections(20);
    knocker.finish();
    let acknowledged = publishers.finish();
    let stored = stream_publishers::stored_payloads(&gateway.url());
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_in_charge(&gateway);
}

#[test]
fn budget_is_not_exceeded_by_two_processes() {
    const LIMIT: usize = 3000;
    let server = NatsServer::jetstream();
    let tables = format!(
        "[[keyring]]\nname = \"default\"\nsubjects = \">\"\nrotate = {{ messages = 2500 }}\nlimit = {{ messages = {LIMIT} }}\n[shutdown]\ngrace = \"100ms\"\nspread = \"300ms\""
    );
    let mut gateway = gateway(&server, &tables);
    let mut tap = BusTap::open(server.addr());
    let publishers = Publishers::start(&gateway.url(), 3);
    // No more rounds: rotations by thresholds that follow each other keep more and more apart, up to a minute.
    for _ in 0..2 {
        publishers.acknowledge(LIMIT);
        // The server cuts off who does not read for ten seconds.
        tap.flush();
        let mut old = gateway.take_over();
        publishers.acknowledge(100);
        assert_eq!(old.wait().code(), Some(0));
    }
    publishers.acknowledge(LIMIT);
    tap.flush();
    let count = publishers.finish().len();
    let mut sealed = BTreeMap::<_, usize>::new();
    for frame in tap.flush() {
        if frame.subject().starts_with("load.") {
            *sealed.entry(frame.kid()).or_default() += 1;
        }
    }
    assert!(sealed.values().sum::<usize>() >= count, "{sealed:?}");
    assert!(sealed.values().all(|used| *used <= LIMIT), "{sealed:?}");
}

#[test]
fn connections_that_drain_hear_what_the_new_process_seals() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut before = agent(&gateway);
    before.subscribe("a.>");
    let mut old = gateway.take_over();
    let told = |bytes: &[u8]| bytes.windows(10).any(|part| part == b"\"ldm\":true");
    before.until("told", told);
    let mut after = agent(&gateway);
    after.subscribe("b.>");
    gateway.rotate("default");
    after.publish("a.new", b"under a key that the old process has not made");
    let heard = before.message("a.new");
    assert_eq!(
        heard.payload(),
        b"under a key that the old process has not made"
    );
    before.publish("b.old", b"under a key that the new process has replaced");
    let heard = after.message("b.old");
    assert_eq!(
        heard.payload(),
        b"under a key that the new process has replaced"
    );
    assert!(old.ended().is_none());
    drop(before);
    assert_eq!(old.wait().code(), Some(0));
    assert_in_charge(&gateway);
}

#[test]
fn revoked_key_seals_nothing_more_in_a_connection_that_drains() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut tap = BusTap::open(server.addr());
    let mut before = agent(&gateway);
    before.publish("a.b", b"fine");
    let revoked = tap.message("a.b").kid();
    let _old = gateway.take_over();
    let config = gateway.config();
    let words = [
        "revoke",
        "--why",
        "a test",
        "--config",
        config.to_str().unwrap(),
    ];
    let output = keyway_tests::command::keyway(&words);
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    before.publish("a.c", b"fine");
    assert_ne!(tap.message("a.c").kid(), revoked);
}

#[test]
fn process_that_ends_before_it_serves_leaves_the_other_in_charge() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let mut stays = agent(&gateway);
    stays.subscribe("a.b");
    for reads in [false, true] {
        let knocker = ConnectLoop::start(gateway.addr());
        let mut socket = UnixStream::connect(gateway.state().join("handover.sock")).unwrap();
        socket.write_all(b"take-over 2\n").unwrap();
        if reads {
            let mut said = [0; 8];
            socket.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"sockets ");
        }
        drop(socket);
        let tells = |line: &str| line.contains("everything is taken back").then_some(());
        gateway.process().line("taken back", tells);
        assert_in_charge(&gateway);
        knocker.await_connections(3);
        knocker.finish();
    }
    stays.publish("a.b", b"hello");
    assert_eq!(stays.message("a.b").payload(), b"hello");
    assert_eq!(notes(&gateway, "gateway-took-back"), 2);
    // The next take-over succeeds.
    drop(stays);
    assert_eq!(gateway.take_over().wait().code(), Some(0));
    assert_in_charge(&gateway);
}

#[test]
fn process_killed_at_any_step_of_its_start_leaves_the_other_in_charge() {
    let server = NatsServer::start();
    let gateway = gateway(&server, LONG);
    let death = CrashInjection::new();
    death.arm();
    let knocker = ConnectLoop::start(gateway.addr());
    let mut steps = 0;
    let serves = loop {
        let begin = |environment: &[(&str, &std::ffi::OsStr)]| gateway.begin_take_over(environment);
        let mut process = death.with_kill_at(steps, begin);
        let served = wait::until("it serves or dies", || {
            let served = process.log().contains(": ready ");
            (served || process.ended().is_some()).then_some(served)
        });
        if served {
            break process;
        }
        assert_in_charge(&gateway);
        knocker.await_connections(2);
        steps += 1;
    };
    assert!(steps >= 3, "{steps}");
    knocker.await_connections(2);
    knocker.finish();
    drop(serves);
}

#[test]
fn process_that_cannot_start_says_why_and_leaves_the_other_in_charge() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, LONG);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let listen = format!(
        "listen = [\"{}\", \"{}\"]",
        gateway.addr(),
        taken.local_addr().unwrap()
    );
    let (first, rest) = text.split_once('\n').unwrap();
    assert!(first.starts_with("listen"));
    std::fs::write(gateway.config(), format!("{listen}\n{rest}")).unwrap();
    let mut process = gateway.begin_take_over(&[]);
    assert_eq!(process.wait().code(), Some(4));
    let tells = |line: &str| {
        (line.contains("does not serve") && line.contains("cannot listen")).then_some(())
    };
    gateway.process().line("why", tells);
    std::fs::write(gateway.config(), text).unwrap();
    assert_in_charge(&gateway);
}

#[test]
fn without_a_gateway_it_just_starts() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server, "");
    gateway.process().kill();
    drop(gateway.take_over());
    assert_in_charge(&gateway);
}

#[test]
fn unix_socket_passes_and_goes_with_the_last() {
    let server = NatsServer::start();
    let folder = keyway_tests::scratch::folder("socket");
    let path = folder.path().join("nats.sock");
    let mut gateway = gateway(&server, "");
    gateway.listen_at(&path);
    assert_eq!(gateway.take_over().wait().code(), Some(0));
    let mut client = UnixStream::connect(&path).unwrap();
    let mut first = [0; 5];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"INFO ");
    drop(client);
    assert_eq!(gateway.process().terminate().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn relay_is_taken_over_too() {
    let server = NatsServer::start();
    let mut gateway = Gateway::relay(&server.url());
    let knocker = ConnectLoop::start(gateway.addr());
    assert_eq!(gateway.take_over().wait().code(), Some(0));
    knocker.await_connections(5);
    knocker.finish();
}
