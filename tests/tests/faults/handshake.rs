//! The server closes the connection at every stage of the handshake, by FIN or by RST.

use crate::has_clients;
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, RawClient};
use rustix::net::sockopt::set_socket_linger;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The part of the handshake that the server does before it closes.
#[derive(Clone, Copy, Debug)]
struct HandshakeStage {
    /// What it sends first.
    says: &'static [u8],
    /// What it waits for then.
    hears: &'static [u8],
    /// What it sends in answer.
    answers: &'static [u8],
    /// How the last line that reaches the client begins; empty: none does.
    last: &'static [u8],
}

const INFO: &[u8] = b"INFO {\"server_id\":\"E\",\"version\":\"2.12.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n";

const fn stage(
    says: &'static [u8],
    hears: &'static [u8],
    answers: &'static [u8],
    last: &'static [u8],
) -> HandshakeStage {
    HandshakeStage {
        says,
        hears,
        answers,
        last,
    }
}

const STAGES: [HandshakeStage; 9] = [
    stage(b"", b"", b"", b""),
    stage(b"INFO {\"server_id\":", b"", b"", b""),
    stage(
        b"-ERR 'maximum connections exceeded'\r\n",
        b"",
        b"",
        b"-ERR 'max",
    ),
    stage(INFO, b"", b"", b"INFO"),
    stage(INFO, b"PING\r\n", b"", b"INFO"),
    stage(
        INFO,
        b"PING\r\n",
        b"-ERR 'Authorization Violation'\r\n",
        b"-ERR 'Auth",
    ),
    stage(INFO, b"PING\r\n", b"PO", b"INFO"),
    stage(INFO, b"PING\r\n", b"PONG\r\n", b"PONG"),
    stage(
        INFO,
        b"PING\r\n",
        b"PONG\r\nMSG a.b 1 20\r\nhalf of a",
        b"PONG",
    ),
];

/// How the server ends the connection.
#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Reset,
}

/// A proxy in front of a server that relays connections, except those that the test lets end.
struct DisconnectingProxy {
    addr: SocketAddr,
    /// How the next connection ends; `None`: it is relayed.
    next: Arc<Mutex<Option<(HandshakeStage, End)>>>,
    /// Signals that the stage is reached.
    reached: Receiver<()>,
    /// Lets it close the connection.
    go: Sender<()>,
}

impl DisconnectingProxy {
    fn in_front_of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (next, ((at, reached), (go, gone))) = (Arc::default(), (channel(), channel()));
        let plan: Arc<Mutex<Option<(HandshakeStage, End)>>> = Arc::clone(&next);
        thread::spawn(move || {
            for gateway in listener.incoming().map_while(Result::ok) {
                let planned = plan.lock().unwrap().take();
                match planned {
                    Some((stage, end)) => play(gateway, stage, end, (&at, &gone)),
                    None => carry(gateway, server),
                }
            }
        });
        Self {
            addr,
            next,
            reached,
            go,
        }
    }
}

/// Plays a server that closes at this stage.
fn play(
    mut gateway: TcpStream,
    stage: HandshakeStage,
    end: End,
    (at, go): (&Sender<()>, &Receiver<()>),
) {
    gateway.write_all(stage.says).unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(stage.hears) {
        let mut byte = [0];
        gateway.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    gateway.write_all(stage.answers).unwrap();
    at.send(()).unwrap();
    go.recv().unwrap();
    if matches!(end, End::Reset) {
        set_socket_linger(&gateway, Some(Duration::ZERO)).unwrap();
    }
}

fn carry(gateway: TcpStream, server: SocketAddr) {
    let server = TcpStream::connect(server).unwrap();
    let ways = [
        (gateway.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, gateway),
    ];
    for (mut from, mut to) in ways {
        thread::spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(std::net::Shutdown::Write));
        });
    }
}

#[test]
fn server_that_hangs_up_at_any_stage_of_the_greeting_ends_that_session_only() {
    let server = NatsServer::start();
    let proxy = DisconnectingProxy::in_front_of(server.addr());
    let gateway = Gateway::sealing(&format!("nats://{}", proxy.addr));
    let mut bystander = RawClient::agent(gateway.addr());
    bystander.subscribe("a.b");
    for stage in STAGES {
        for end in [End::Fin, End::Reset] {
            let what = format!("{stage:?}, {end:?}");
            *proxy.next.lock().unwrap() = Some((stage, end));
            let mut client = RawClient::connect(gateway.addr());
            client.send(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
            proxy.reached.recv().unwrap();
            client.until(&what, |bytes| {
                let last = bytes.windows(stage.last.len().max(1));
                let came = last.into_iter().any(|part| part == stage.last);
                stage.last.is_empty() || (came && bytes.ends_with(b"\r\n"))
            });
            proxy.go.send(()).unwrap();
            let heard = client.until_end();
            assert!(
                heard.is_empty() || heard.ends_with(b"\r\n"),
                "{what}: {}",
                heard.escape_ascii()
            );
            assert_eq!(heard.is_empty(), stage.last.is_empty(), "{what}");
            // The next client is served.
            RawClient::agent(gateway.addr()).publish("a.b", what.as_bytes());
            assert_eq!(bystander.message("a.b").payload(), what.as_bytes());
            bystander.forget();
        }
    }
    has_clients(&gateway, 1);
    let malformed = gateway.metrics().sum("keyway_malformed_streams_total", &[]);
    assert!(malformed < 0.5, "{malformed}");
}

/// Servers that send no INFO, in spite of which a client is served by the next of the list.
const NO_GREETING: [(HandshakeStage, AfterScript); 4] = [
    (stage(b"", b"", b"", b""), AfterScript::StayOpen),
    (stage(b"INFO {", b"", b"", b""), AfterScript::StayOpen),
    (stage(b"", b"", b"", b""), AfterScript::Close),
    (stage(b"220 mail\r\n", b"", b"", b""), AfterScript::StayOpen),
];

/// Whether a server closes the connection after its bytes.
#[derive(Clone, Copy, Debug)]
enum AfterScript {
    StayOpen,
    Close,
}

#[test]
fn client_is_served_by_the_next_server_when_one_does_not_greet() {
    let server = NatsServer::start();
    for (stage, after) in NO_GREETING {
        let proxy = DisconnectingProxy::in_front_of(server.addr());
        let settings = Settings {
            tables: "[limits]\ndial-timeout = \"200ms\"\n".to_owned(),
            ..Settings::default()
        };
        let first = format!("nats://{}", proxy.addr);
        let gateway = Gateway::in_front_of(&[&first, &server.url()], settings);
        // It works until now, so that the gateway begins with it.
        RawClient::agent(gateway.addr());
        *proxy.next.lock().unwrap() = Some((stage, End::Fin));
        if matches!(after, AfterScript::Close) {
            proxy.go.send(()).unwrap();
        }
        let mut client = RawClient::connect(gateway.addr());
        client.send(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
        client.until(&format!("{stage:?}, {after:?}"), |heard| {
            heard.ends_with(b"PONG\r\n")
        });
        proxy.reached.recv().unwrap();
        proxy.go.send(()).unwrap();
    }
}
