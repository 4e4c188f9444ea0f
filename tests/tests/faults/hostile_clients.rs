//! Promise: whatever a client sends or fails to send, it harms only itself: the gateway goes on, answers as the server would,
//! serves other clients meanwhile, and holds no more afterwards than before.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test's own functions may stop it too"
)]

use keyway_tests::certificates::Authority;
use keyway_tests::hostile_clients::{AttackedGateway, MEMORY_TOLERANCE};
use keyway_tests::other_protocols::{client_hello, noise, other_protocols, tls_record};
use keyway_tests::raw_client::{RawClient, WaitOutcome};
use keyway_tests::server::NatsServer;
use keyway_tests::session::{End, Session, play};
use keyway_tests::wait::{self, DEADLINE};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n";

/// Connections of an attack by number; each is two open files of the gateway.
const CONNECTIONS: usize = 300;

/// Bytes that an attack by volume sends in all.
const VOLUME: usize = 1 << 30;

/// Fails unless the gateway answers these bytes as the server does.
fn assert_answers_as_server(
    attacked: &AttackedGateway,
    name: &'static str,
    script: &[u8],
    end: End,
) {
    let session = Session {
        name,
        server: 0,
        script: script.to_vec(),
        cut_from: 0,
        end,
        relay_only: false,
    };
    let [bare, through] =
        [attacked.server.addr(), attacked.addr()].map(|addr| play(addr, &session, &[]));
    assert_eq!(through, bare, "{name}: {}", script.escape_ascii());
    if end == End::Closed {
        assert_eq!(bare.end, WaitOutcome::Closed, "{name}: the server keeps it");
    }
}

#[test]
fn another_protocol_is_refused_in_the_servers_words() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    for (name, script) in other_protocols() {
        assert_answers_as_server(&attacked, name, &script, End::Closed);
        let greeted = [CONNECT, &script].concat();
        assert_answers_as_server(&attacked, name, &greeted, End::Closed);
        attacked.assert_serves();
    }
    attacked.assert_recovered();
}

#[test]
fn sizes_that_lie_are_judged_as_the_server_judges_them() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    for script in [
        "PUB lie 5\r\nhello world\r\nPING\r\n",
        "PUB lie 1048577\r\n",
        "PUB lie 999999999\r\n",
        "PUB lie 18446744073709551621\r\nhello\r\n",
        "PUB lie -5\r\nhello\r\n",
        "PUB lie 0x5\r\nhello\r\n",
        "HPUB lie 14 12\r\nNATS/1.0\r\n\r\n\r\n",
        "HPUB lie 999999999 999999999\r\nNATS/1.0\r\n\r\n\r\n",
        "HPUB lie 18446744073709551628 12\r\nNATS/1.0\r\n\r\n\r\n",
        "HPUB lie -1 12\r\nNATS/1.0\r\n\r\n\r\n",
    ] {
        let script = [CONNECT, script.as_bytes()].concat();
        assert_answers_as_server(&attacked, "a size that lies", &script, End::Closed);
        attacked.assert_serves();
    }
    attacked.assert_recovered();
}

#[test]
fn message_that_is_announced_and_not_sent_costs_its_sender_the_bytes() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    let liars: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut liar = RawClient::handshake(attacked.addr(), "");
            liar.send(b"PUB lie 1000000\r\nnearly nothing");
            liar
        })
        .collect();
    attacked.assert_healthy();
    let (before, now) = (attacked.before(), attacked.resource_use());
    assert!(
        now.resident < before.resident + MEMORY_TOLERANCE,
        "{before:?}, then {now:?}"
    );
    drop(liars);
    attacked.assert_recovered();
}

#[test]
fn connect_that_nests_deeper_than_any_client_s_ends_as_one_that_is_not_json() {
    let server = NatsServer::configured("max_control_line: 1048576");
    let mut attacked = AttackedGateway::begin(server, "[limits]\nmax-control-line = \"1 MiB\"");
    let nested = |open: &str, close: &str, depth| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!("CONNECT {{\"verbose\":false,\"deep\":{open}1{close}}}\r\nPING\r\n").into_bytes()
    };
    let unclosed =
        |open: &str| format!("CONNECT {}\r\nPING\r\n", open.repeat(100_000)).into_bytes();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let allowed = nested(open, close, 16);
        assert_answers_as_server(&attacked, "deep", &allowed, End::Pongs(1));
        let forbidden = nested(open, close, 100_000);
        assert_answers_as_server(&attacked, "too deep", &forbidden, End::Closed);
        assert_answers_as_server(&attacked, "unclosed", &unclosed(open), End::Closed);
        attacked.assert_serves();
    }
    attacked.assert_recovered();
}

/// Sends `head`, then `filler` until the peer closes or `most` bytes are sent; returns how many were.
fn flood(addr: SocketAddr, head: &[u8], filler: &[u8], most: usize) -> usize {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    let mut sent = socket.write(head).unwrap_or(0);
    while sent < most
        && let Ok(count) = socket.write(filler)
    {
        sent += count;
    }
    sent
}

/// The same over several connections, each of which must be closed by the peer, until `all` bytes are sent.
fn flood_all(addr: SocketAddr, head: &[u8], filler: &[u8], all: usize) -> usize {
    let mut sent = 0;
    while sent < all {
        let now = flood(addr, head, filler, usize::MAX);
        assert!(now > 0);
        sent += now;
    }
    sent
}

#[test]
fn lines_without_an_end_end_their_connection_and_leave_no_memory_taken() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    let (addr, sent_bytes) = (attacked.addr(), AtomicUsize::new(0));
    for (head, filler) in [
        (&b"PUB "[..], &b"a"[..]),
        (b"HPUB a ", b"1"),
        (b"SUB ", b"a."),
        (b"CONNECT {\"a\":[", b"1,"),
        (b"CONNECT ", b"{\"a\":["),
        (b"INFO {\"a\":\"", b"x"),
    ] {
        let filler = filler.repeat(32_768);
        // A connection that is not closed would send for ever.
        let each = VOLUME / 6;
        std::thread::scope(|scope| {
            let pouring = scope.spawn(|| {
                let taken = flood_all(addr, head, &filler, each);
                sent_bytes.fetch_add(taken, Ordering::Relaxed);
            });
            attacked.assert_serves();
            while !pouring.is_finished() {
                attacked.assert_serves();
            }
        });
        let (before, now) = (attacked.before(), attacked.resource_use());
        assert!(
            now.resident < before.resident + MEMORY_TOLERANCE,
            "{before:?}, then {now:?}"
        );
    }
    assert!(sent_bytes.into_inner() >= VOLUME / 6 * 6);
    attacked.assert_recovered();
}

/// The server ignores what follows a PING up to the end of the line, of any length.
#[test]
fn ping_that_never_ends_takes_no_memory() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    let addr = attacked.addr();
    std::thread::scope(|scope| {
        let pouring = scope.spawn(|| flood(addr, b"PING ", &b"x".repeat(65_536), VOLUME / 4));
        attacked.assert_serves();
        while !pouring.is_finished() {
            attacked.assert_serves();
        }
    });
    attacked.assert_recovered();
}

#[test]
fn line_as_long_as_the_gateways_limit_is_a_line_and_a_longer_one_is_the_end() {
    let server = NatsServer::configured("max_control_line: 1048576");
    let attacked = AttackedGateway::begin(server, "[limits]\nmax-control-line = \"8 KiB\"");
    let line = |args: usize| {
        let subject = "a".repeat(args - " 1".len());
        let line = format!("SUB {subject} 1\r\nPING\r\n");
        [CONNECT, line.as_bytes()].concat()
    };
    assert_answers_as_server(&attacked, "as long as allowed", &line(8192), End::Pongs(1));
    let mut raw = RawClient::connect(attacked.addr());
    raw.send(&line(8193));
    raw.until_end();
    attacked.assert_recovered();
}

#[test]
fn line_beyond_both_limits_is_the_end_in_the_servers_words() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    for args in [5_000, 65_535, 65_536, 65_537, 70_000] {
        let line = [CONNECT, b"PUB ", "a".repeat(args).as_bytes()].concat();
        let mut raw = RawClient::connect(attacked.addr());
        raw.send(&line);
        if args < 65_537 {
            raw.send(b" 1\r\nx\r\n");
        }
        let said = String::from_utf8_lossy(raw.until_end()).into_owned();
        let words = "-ERR 'maximum control line exceeded'\r\n";
        assert!(said.ends_with(words), "{args}: {said}");
        attacked.assert_serves();
    }
    attacked.assert_recovered();
}

#[test]
fn clients_that_drip_are_sent_away_in_time_and_nobody_waits_for_them() {
    let mut attacked =
        AttackedGateway::begin(NatsServer::start(), "[limits]\nauth-timeout = \"1s\"");
    let mut slow: Vec<_> = (0..CONNECTIONS)
        .map(|_| RawClient::connect(attacked.addr()))
        .collect();
    let mut quiet: Vec<_> = slow.split_off(CONNECTIONS / 2);
    for raw in slow.iter_mut().chain(&mut quiet) {
        raw.send(b"CONNECT {\"name\":\"");
    }
    wait::until("the dripping clients are sent away", || {
        for raw in &mut slow {
            raw.send(b"x");
        }
        attacked.assert_serves();
        (attacked.resource_use().connections <= attacked.before().connections).then_some(())
    });
    for raw in &mut slow {
        raw.until_end();
    }
    // A client that stops sending has read it for certain.
    for raw in &mut quiet {
        let said = raw.until_end();
        assert!(said.ends_with(b"-ERR 'Authentication Timeout'\r\n"));
    }
    attacked.assert_recovered();
}

#[test]
fn session_that_comes_byte_by_byte_is_answered_and_so_is_everybody_between_two_bytes() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    let mut drips = RawClient::connect(attacked.addr());
    let script = [CONNECT, b"SUB drip 1\r\nPUB drip 5\r\nhello\r\n"].concat();
    for byte in script {
        drips.send(&[byte]);
        attacked.assert_serves();
    }
    assert_eq!(drips.message("drip").payload(), b"hello");
    drop(drips);
    attacked.assert_recovered();
}

/// What a client has sent when it closes: nothing, half a CONNECT, all of it, half a message.
fn stages() -> [Vec<u8>; 5] {
    [
        Vec::new(),
        b"CONN".to_vec(),
        CONNECT.to_vec(),
        [CONNECT, b"PUB a 10\r\nhal"].concat(),
        [CONNECT, b"HPUB a 12 22\r\nNATS/1."].concat(),
    ]
}

#[test]
fn half_closed_clients_are_ended_as_the_server_ends_them() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    for sent in stages() {
        let said = [attacked.server.addr(), attacked.addr()].map(|addr| {
            let mut crowd: Vec<_> = (0..CONNECTIONS / 5)
                .map(|_| RawClient::connect(addr))
                .collect();
            let ends = crowd.iter_mut().map(|raw| {
                raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
                raw.forget();
                raw.send(&sent);
                raw.half_close();
                raw.until_end().to_vec()
            });
            ends.collect::<Vec<_>>()
        });
        let [bare, through] = said;
        assert_eq!(through, bare, "after {}", sent.escape_ascii());
        attacked.assert_serves();
    }
    attacked.assert_recovered();
}

#[test]
fn reset_at_any_stage_of_the_greeting_leaves_nothing_behind() {
    let mut attacked = AttackedGateway::begin(NatsServer::start(), "");
    for _ in 0..CONNECTIONS / 5 {
        RawClient::connect(attacked.addr()).reset();
    }
    for sent in stages() {
        for _ in 0..CONNECTIONS / 5 {
            let mut raw = RawClient::connect(attacked.addr());
            raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
            raw.send(&sent);
            raw.reset();
        }
        attacked.assert_serves();
    }
    attacked.assert_recovered();
}

#[test]
fn client_that_never_reads_holds_up_neither_its_publisher_nor_others_and_little_memory() {
    let server = NatsServer::configured("max_pending: 8MB");
    let mut attacked = AttackedGateway::begin(server, "[limits]\npending = \"32 MiB\"");
    let mut deaf: Vec<_> = (0..3).map(|_| RawClient::agent(attacked.addr())).collect();
    for raw in &mut deaf {
        raw.subscribe("flood");
    }
    let mut publisher = RawClient::agent(attacked.addr());
    let message = keyway_tests::agent::publish("flood", None, &noise(3, 65_536));
    let burst = message.repeat(16);
    for _ in 0..128 {
        publisher.send(&burst);
        publisher.flush();
        publisher.forget();
        attacked.assert_serves();
    }
    let (before, now) = (attacked.before(), attacked.resource_use());
    assert!(
        now.resident < before.resident + MEMORY_TOLERANCE,
        "{before:?}, then {now:?}"
    );
    drop((deaf, publisher));
    attacked.assert_recovered();
}

/// A gateway with optional TLS; the well-behaved clients do without.
fn tls_gateway(ca: &Authority, limits: &str) -> AttackedGateway {
    let pair = ca.sign("gateway", 1);
    let (certificate, key) = (pair.certificate, pair.key);
    let tables = format!(
        "[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nplaintext = true\n[limits]\n{limits}\n"
    );
    AttackedGateway::begin(NatsServer::start(), &tables)
}

#[test]
fn garbage_where_tls_is_spoken_ends_its_connection() {
    let ca = Authority::new("CA");
    let attacked = tls_gateway(&ca, "");
    let mut garbage = vec![
        tls_record(0x16, &noise(4, 300)),
        tls_record(0x16, b""),
        tls_record(0x16, b"\x01\xff\xff\xff"),
        [client_hello(), noise(5, 2000)].concat(),
        [client_hello(), tls_record(0x17, &noise(6, 200))].concat(),
        b"\x16\x03\x01\xff\xff".repeat(5000),
        b"\x16 is no handshake\r\nPING\r\n".to_vec(),
    ];
    let hello = client_hello();
    garbage.extend((1..hello.len()).map(|length| hello[..length].to_vec()));
    for bytes in garbage {
        let mut raw = RawClient::connect(attacked.addr());
        raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        raw.send(&bytes);
        raw.half_close();
        raw.until_end();
    }
    attacked.assert_recovered();
}

#[test]
fn handshake_without_an_end_ends_its_connection_and_takes_no_memory() {
    let ca = Authority::new("CA");
    let mut attacked = tls_gateway(&ca, "");
    // Announces a handshake message of 16 MiB, in records of 16 KiB.
    let head = tls_record(0x16, &[&b"\x01\xff\xff\xff"[..], &noise(7, 8000)].concat());
    let filler = tls_record(0x16, &noise(8, 16_384));
    let (addr, each) = (attacked.addr(), VOLUME / 64);
    std::thread::scope(|scope| {
        let pouring = scope.spawn(|| flood_all(addr, &head, &filler, each));
        attacked.assert_serves();
        while !pouring.is_finished() {
            attacked.assert_serves();
        }
    });
    attacked.assert_recovered();
}

#[test]
fn handshakes_that_drip_are_given_up_and_nobody_waits_for_them() {
    let ca = Authority::new("CA");
    let mut attacked = tls_gateway(&ca, "handshake-timeout = \"1s\"");
    let hello = tls_record(0x16, &[&b"\x01\0\x40\0"[..], &noise(9, 16_380)].concat());
    let mut slow: Vec<_> = (0..CONNECTIONS)
        .map(|_| RawClient::connect(attacked.addr()))
        .collect();
    let mut bytes = hello.iter();
    wait::until("the dripping clients are given up", || {
        let byte = bytes.next().unwrap();
        for raw in &mut slow {
            raw.send(&[*byte]);
        }
        attacked.assert_serves();
        (attacked.resource_use().connections <= attacked.before().connections).then_some(())
    });
    attacked.assert_recovered();
}

#[test]
fn refused_client_that_does_not_read_costs_little_memory_and_nobody_waits() {
    let closed = "[[keyring]]\nname = \"open\"\nsubjects = \">\"\n\
        [[keyring]]\nname = \"shut\"\nsubjects = \"shut.>\"\npublish-by = [\"user:nobody\"]\n";
    let server = NatsServer::configured("max_control_line: 65536");
    let mut attacked = AttackedGateway::begin(server, closed);
    let subject = format!("PUB shut.{} 1\r\n?\r\n", "\u{1}".repeat(60_000));
    let mut deaf: Vec<_> = (0..4).map(|_| RawClient::agent(attacked.addr())).collect();
    for raw in &mut deaf {
        for _ in 0..1024 {
            raw.send(subject.as_bytes());
        }
        attacked.assert_serves();
    }
    let (before, now) = (attacked.before(), attacked.resource_use());
    assert!(
        now.resident < before.resident + MEMORY_TOLERANCE,
        "{before:?}, then {now:?}"
    );
    drop(deaf);
    attacked.assert_recovered();
}
