//! Plaintext before a handshake is never treated as if it came within TLS (compare CVE-2011-0411, command injection before
//! STARTTLS).

use super::*;
use keyway_tests::BusTap;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

const INFO: &[u8] = b"INFO {\"server_id\":\"S\",\"version\":\"2.12.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"tls_required\":true}\r\n";

/// Plaintext that an attacker on the path injects.
const FORGED: [&[u8]; 5] = [
    b"MSG a 1 6\r\nforged\r\n",
    b"PING\r\n",
    b"+",
    b"INFO {\"server_id\":\"S\",\"forged\":true,\"max_payload\":1048576}\r\n",
    b"-ERR 'forged'\r\n",
];

/// A scripted server: plaintext, then TLS, then a NATS handshake.
#[derive(Clone, Copy)]
struct Script {
    /// Sent first.
    first: &'static [u8],
    /// In the same packet.
    behind: &'static [u8],
    /// After the gateway has begun its handshake.
    later: &'static [u8],
}

impl Script {
    const HONEST: Self = Self {
        first: INFO,
        behind: b"",
        later: b"",
    };

    /// Plays it on every connection.
    fn play(self, fixture: &TlsFixture) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let config = fixture.server.server();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&config);
                // The script ends with the connection.
                std::thread::spawn(move || drop(self.say(socket, config)));
            }
        });
        addr
    }

    fn say(self, mut socket: TcpStream, config: Arc<rustls::ServerConfig>) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        socket.write_all(&[self.first, self.behind].concat())?;
        if !self.later.is_empty() {
            socket.peek(&mut [0])?;
            socket.write_all(self.later)?;
        }
        let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
        let mut stream = BufReader::new(StreamOwned::new(session, socket));
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 {
            if line == "PING\r\n" {
                stream.get_mut().write_all(b"PONG\r\n")?;
            }
            line.clear();
        }
        Ok(())
    }

    /// A gateway in front of it, what its client receives, and how that ends.
    fn heard(self, scheme: &str) -> (Gateway, Vec<u8>, WaitOutcome) {
        let fixture = TlsFixture::new();
        let url = format!("{scheme}://{}", self.play(&fixture));
        let settings = Settings {
            tables: format!("[server-tls]\nca = {:?}\n", fixture.ca.ca()),
            ..Settings::default()
        };
        let gateway = Gateway::start(&url, settings);
        let mut raw = RawClient::connect_until_info(gateway.addr(), &TlsMode::Plain, PATIENCE);
        raw.send(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n");
        let outcome = raw.outcome(|bytes| bytes.ends_with(b"PONG\r\n"));
        (gateway, raw.received().to_vec(), outcome)
    }
}

fn not_tls(gateway: &Gateway, side: &str) -> f64 {
    let labels = [("side", side), ("cause", "not-tls")];
    gateway
        .metrics()
        .sum("keyway_tls_handshake_failures_total", &labels)
}

#[test]
fn server_that_says_no_more_than_info_is_served() {
    let (_gateway, heard, outcome) = Script::HONEST.heard("nats");
    assert_eq!(outcome, WaitOutcome::Enough, "{}", heard.escape_ascii());
}

#[test]
fn server_that_says_more_than_info_before_tls_ends_the_connection_and_none_of_it_is_heard() {
    for forged in FORGED {
        let behind = Script {
            behind: forged,
            ..Script::HONEST
        };
        let later = Script {
            later: forged,
            ..Script::HONEST
        };
        for script in [behind, later] {
            let (gateway, heard, outcome) = script.heard("nats");
            assert_eq!(outcome, WaitOutcome::Closed);
            assert_eq!(heard, b"", "{}", heard.escape_ascii());
            assert!(
                not_tls(&gateway, "server") >= 1.0,
                "{}",
                forged.escape_ascii()
            );
        }
    }
}

#[test]
fn server_that_says_no_info_at_all_is_not_heard_where_tls_must_be() {
    for first in [
        &b"-ERR 'forged'\r\nMSG a 1 6\r\nforged\r\n"[..],
        b"MSG a 1 6\r\nforged\r\n",
        b"PING\r\nMSG a 1 6\r\nforged\r\n",
    ] {
        let script = Script {
            first,
            ..Script::HONEST
        };
        let (gateway, heard, outcome) = script.heard("tls");
        assert_eq!(outcome, WaitOutcome::Closed);
        assert_eq!(heard, b"", "{}", heard.escape_ascii());
        assert!(not_tls(&gateway, "server") >= 1.0);
    }
}

/// A client's session in plaintext.
const INJECTED: &[u8] = b"CONNECT {\"verbose\":false}\r\nPUB injected 2\r\nhi\r\nPING\r\n";

/// Whether plaintext precedes or follows the begin of the handshake in one packet.
#[derive(Clone, Copy, Debug)]
enum Order {
    Before,
    Behind,
}

/// How a connection ends on which plaintext was injected beside the handshake.
fn inject(addr: SocketAddr, fixture: &TlsFixture, (informed, order): (bool, Order)) -> WaitOutcome {
    let name = "127.0.0.1".try_into().unwrap();
    let mut session = ClientConnection::new(fixture.client(), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let packet = match order {
        Order::Before => [INJECTED, &hello].concat(),
        Order::Behind => [&hello, INJECTED].concat(),
    };
    let mut raw = RawClient::connect(addr);
    raw.set_patience(PATIENCE);
    if informed {
        raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    }
    raw.send(&packet);
    let outcome = raw.outcome(|_| false);
    let said = raw.received();
    assert!(!said.windows(4).any(|part| part == b"PONG"));
    outcome
}

#[test]
fn what_a_client_says_in_the_clear_beside_its_handshake_ends_the_connection_and_none_of_it_is_done()
{
    let fixture = TlsFixture::new();
    let bus = NatsServer::start();
    let mut tap = BusTap::open(bus.addr());
    for mode in [&AFTER_INFO, &FIRST, &AUTOMATIC] {
        let itself = fixture.server(mode, "");
        let settings = Settings {
            tables: fixture.tables(mode.clients, ""),
            ..Settings::default()
        };
        let gateway = Gateway::start(&bus.url(), settings);
        let informed = mode.clients.is_empty();
        for order in [Order::Before, Order::Behind] {
            for addr in [itself.addr(), gateway.addr()] {
                let outcome = inject(addr, &fixture, (informed, order));
                assert_eq!(outcome, WaitOutcome::Closed, "{order:?} {}", mode.clients);
            }
        }
        assert!(not_tls(&gateway, "client") >= 1.0, "{}", mode.clients);
    }
    assert_eq!(tap.flush(), []);
}

#[test]
fn what_stands_before_an_optional_handshake_is_a_session_of_its_own_in_the_clear() {
    let fixture = TlsFixture::new();
    let bus = NatsServer::start();
    let settings = Settings {
        tables: fixture.tables(OPTIONAL.clients, ""),
        ..Settings::default()
    };
    let gateway = Gateway::start(&bus.url(), settings);
    let mut tap = BusTap::open(bus.addr());
    // Behind the first byte of a handshake plaintext is not accepted.
    let ended = inject(gateway.addr(), &fixture, (true, Order::Behind));
    assert_eq!(ended, WaitOutcome::Closed);
    assert_eq!(tap.flush(), []);
    // A plaintext session stays plaintext; a handshake behind it is a malformed operation.
    let mut raw = RawClient::connect_until_info(gateway.addr(), &TlsMode::Plain, PATIENCE);
    raw.send(INJECTED);
    raw.until("PONG", |bytes| bytes.ends_with(b"PONG\r\n"));
    raw.encrypt(&fixture.client());
    raw.send(b"PUB within 2\r\nhi\r\n");
    assert_eq!(raw.outcome(|_| false), WaitOutcome::Closed);
    tap.message("injected");
    assert_eq!(tap.flush().len(), 1);
}
