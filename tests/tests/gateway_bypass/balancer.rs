//! HAProxy as the load balancer in front of the gateway.

use super::address::{reads_headers, seen};
use super::*;
use keyway_tests::certificates::Authority;
use keyway_tests::haproxy::Haproxy;
use keyway_tests::raw_client::TlsMode;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

const BOTH: [(&str, &str); 2] = [("send-proxy", "v1"), ("send-proxy-v2", "v2")];

/// A gateway behind a load balancer on this host, which sends PROXY headers to the server.
fn told(server: &NatsServer, version: &str, more: &str) -> Gateway {
    let section = format!("[proxy]\nsend = \"{version}\"\naccept-from = [\"127.0.0.1\"]\n{more}");
    Gateway::start(&server.url(), with(&section))
}

/// Connects with this name; returns also the local port.
fn greet(addr: SocketAddr, via: &TlsMode, name: &str) -> (RawClient, u16) {
    let mut raw = RawClient::connect_until_info(addr, via, keyway_tests::wait::DEADLINE);
    raw.send(format!("CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\n").as_bytes());
    raw.flush();
    let port = raw.local().port();
    (raw, port)
}

#[test]
fn server_sees_the_agent_behind_haproxy_and_the_gateway() {
    let (server, monitor) = reads_headers();
    for (words, version) in BOTH {
        let gateway = told(&server, version, "");
        let haproxy = Haproxy::in_front_of(gateway.addr(), words);
        let (mut agent, port) = greet(haproxy.addr(), &TlsMode::Plain, words);
        assert_eq!(seen(monitor, words), ("127.0.0.1".to_owned(), port));
        agent.subscribe("a.b");
        agent.publish("a.b", b"hello");
        assert_eq!(agent.message("a.b").payload(), b"hello");
    }
}

#[test]
fn header_stands_in_front_of_tls() {
    let (server, monitor) = reads_headers();
    let ca = Authority::new("CA");
    let own = ca.sign("gateway", 1);
    let tls = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\n",
        own.certificate, own.key
    );
    for (handshake, via) in [
        ("after-info", TlsMode::AfterInfo(ca.client(None))),
        ("first", TlsMode::First(ca.client(None))),
        ("automatic", TlsMode::First(ca.client(None))),
    ] {
        let tables = format!("{tls}handshake = \"{handshake}\"\n");
        for (words, version) in BOTH {
            let gateway = told(&server, version, &tables);
            let haproxy = Haproxy::in_front_of(gateway.addr(), words);
            let name = format!("{handshake}-{version}");
            let (mut agent, port) = greet(haproxy.addr(), &via, &name);
            assert_eq!(seen(monitor, &name), ("127.0.0.1".to_owned(), port));
            assert!(agent.certificate().is_some());
            agent.subscribe("a.b");
            agent.publish("a.b", b"hello");
            assert_eq!(agent.message("a.b").payload(), b"hello");
        }
    }
}

#[test]
fn health_checks_of_haproxy_are_no_agents_and_no_mistakes() {
    let (server, _monitor) = reads_headers();
    let gateway = told(&server, "v2", "");
    // Each check connects and closes; one with `check-send-proxy` sends LOCAL first.
    for words in [
        "check inter 20 send-proxy-v2",
        "check inter 20 check-send-proxy send-proxy-v2",
    ] {
        let haproxy = Haproxy::in_front_of(gateway.addr(), words);
        let accepted = || {
            gateway
                .metrics()
                .sum("keyway_connections_accepted_total", &[])
        };
        let before = accepted();
        keyway_tests::wait::until("health checks", || {
            (accepted() >= before + 5.0).then_some(())
        });
        let (_agent, _) = greet(haproxy.addr(), &TlsMode::Plain, words);
        let refused = gateway
            .metrics()
            .sum("keyway_proxy_headers_refused_total", &[]);
        assert_eq!(refused, 0.0, "{words}");
    }
}

#[test]
fn haproxy_that_sends_no_header_is_refused() {
    let server = NatsServer::start();
    let gateway = Gateway::start(
        &server.url(),
        with("[proxy]\naccept-from = [\"127.0.0.1\"]\n[limits]\nhandshake-timeout = \"100ms\""),
    );
    let haproxy = Haproxy::in_front_of(gateway.addr(), "");
    let mut raw = RawClient::connect(haproxy.addr());
    raw.send(b"CONNECT {}\r\nPING\r\n");
    assert_eq!(raw.until_end(), b"");
}

/// A fake server that sends INFO; returns the PROXY header of the first agent. The gateway's server probe sends no CONNECT.
fn announced(listener: TcpListener) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut sockets = listener.incoming().map_while(Result::ok);
        sockets
            .find_map(|mut socket| before_connect(&mut socket))
            .unwrap()
    })
}

/// The bytes before CONNECT, if that comes.
fn before_connect(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let info = b"INFO {\"server_id\":\"S\",\"version\":\"2.12.0\",\"max_payload\":1048576}\r\n";
    socket.write_all(info).ok()?;
    let (mut held, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut chunk).ok().filter(|count| *count > 0)?;
        held.extend_from_slice(&chunk[..count]);
        if let Some(at) = held.windows(8).position(|part| part == b"CONNECT ") {
            held.truncate(at);
            return Some(held);
        }
    }
}

#[test]
fn agent_at_a_unix_socket_is_announced_as_local() {
    for (version, header) in [
        ("v1", b"PROXY UNKNOWN\r\n".to_vec()),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let server = announced(listener);
        let mut gateway = Gateway::start(&url, with(&format!("[proxy]\nsend = \"{version}\"")));
        let path = gateway.state().join("nats.sock");
        gateway.listen_at(&path);
        let mut agent = UnixStream::connect(&path).unwrap();
        agent.write_all(b"CONNECT {}\r\nPING\r\n").unwrap();
        assert_eq!(server.join().unwrap(), header, "{version}");
    }
}
