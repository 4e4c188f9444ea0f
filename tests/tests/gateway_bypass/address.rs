//! Client addresses: the PROXY protocol, to the server and from a load balancer.

use super::*;
use keyway_tests::{metrics, wait};
use serde_json::Value;

/// A server that reads PROXY headers, with monitoring.
pub(super) fn reads_headers() -> (NatsServer, SocketAddr) {
    let mut server = NatsServer::configured("proxy_protocol: true\nhttp: \"127.0.0.1:-1\"\n");
    let monitor = monitor(&mut server);
    (server, monitor)
}

fn monitor(server: &mut NatsServer) -> SocketAddr {
    let starting = "Starting http monitor on ";
    server.process().line(starting, |line| {
        line.split_once(starting)?.1.trim().parse().ok()
    })
}

/// The server's address of the client of this name.
pub(super) fn seen(monitor: SocketAddr, name: &str) -> (String, u16) {
    wait::until("the connection in connz", || {
        let (_, body) = metrics::get(monitor, "/connz");
        let all: Value = serde_json::from_str(&body).unwrap();
        let mut all = all["connections"].as_array().unwrap().iter();
        let found = all.find(|connection| connection["name"] == name)?;
        let port = found["port"].as_u64().unwrap();
        Some((
            found["ip"].as_str().unwrap().to_owned(),
            u16::try_from(port).unwrap(),
        ))
    })
}

/// A PROXY header of version 2 with these address bytes.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

/// An agent behind a load balancer that sends this PROXY header.
fn announced(addr: SocketAddr, header: &[u8], name: &str) -> RawClient {
    let mut raw = RawClient::connect(addr);
    raw.send(header);
    raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    raw.send(format!("CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\nPING\r\n").as_bytes());
    raw.until("PONG", |bytes| bytes.ends_with(b"PONG\r\n"));
    raw
}

#[test]
fn server_sees_the_agents_address_in_both_versions() {
    let (server, monitor) = reads_headers();
    for version in ["v1", "v2"] {
        let gateway = Gateway::start(
            &server.url(),
            with(&format!("[proxy]\nsend = \"{version}\"")),
        );
        let agent = RawClient::handshake(gateway.addr(), &format!("\"name\":\"{version}\""));
        let (ip, port) = seen(monitor, version);
        assert_eq!((ip.as_str(), port), ("127.0.0.1", agent.local().port()));
    }
}

#[test]
fn address_from_a_load_balancer_reaches_the_server() {
    let (server, monitor) = reads_headers();
    let section = "[proxy]\nsend = \"v2\"\naccept-from = [\"127.0.0.0/8\"]";
    let gateway = Gateway::start(&server.url(), with(section));
    let four = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 4222\r\n".to_vec();
    let six = {
        let client: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        let mut rest = [client.octets(), client.octets()].concat();
        rest.extend([0, 7, 0, 8]);
        v2(0x21, 0x21, &rest)
    };
    let _four = announced(gateway.addr(), &four, "four");
    assert_eq!(seen(monitor, "four"), ("203.0.113.7".to_owned(), 4711));
    let _six = announced(gateway.addr(), &six, "six");
    assert_eq!(seen(monitor, "six"), ("2001:db8::7".to_owned(), 7));
    // A client without a load balancer is seen at its own address.
    let local = announced(gateway.addr(), &v2(0x20, 0, &[]), "local");
    let itself = ("127.0.0.1".to_owned(), local.local().port());
    assert_eq!(seen(monitor, "local"), itself);
}

#[test]
fn address_from_a_load_balancer_is_what_info_says() {
    let server = NatsServer::start();
    let gateway = Gateway::start(&server.url(), with("[proxy]\naccept-from = \"127.0.0.1\""));
    let mut raw = RawClient::connect(gateway.addr());
    // In pieces: a header may come as its sender likes, and an operation right behind it.
    raw.send_split(&[
        b"PRO",
        b"XY TCP4 203.0.113.7 198.5",
        b"1.100.1 4711 4222\r",
        b"\nPING\r\n",
    ]);
    raw.until("PONG", |bytes| bytes.ends_with(b"PONG\r\n"));
    assert_eq!(raw.info()["client_ip"], "203.0.113.7");
}

#[test]
fn connection_without_the_header_that_it_must_have_is_closed_and_counted() {
    let (server, monitor) = reads_headers();
    let section = "[proxy]\nsend = \"v1\"\naccept-from = [\"127.0.0.1\"]\n[limits]\nhandshake-timeout = \"100ms\"";
    let gateway = Gateway::start(&server.url(), with(section));
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let cases: [(&[u8], &str); 4] = [
        (b"CONNECT {\"name\":\"wrong\"}\r\n", "absent"),
        (b"PROXY TCP4 1.2.3.4 nobody 1 2\r\n", "malformed"),
        (&long, "long"),
        (b"PROXY TCP4 1.2.3.4", "late"),
    ];
    for (bytes, cause) in cases {
        let mut raw = RawClient::connect(gateway.addr());
        raw.send(bytes);
        assert_eq!(raw.until_end(), b"", "{cause}");
        wait::until(cause, || {
            let counted = gateway
                .metrics()
                .sum("keyway_proxy_headers_refused_total", &[("cause", cause)]);
            (counted >= 1.0).then_some(())
        });
    }
    let (_, body) = metrics::get(monitor, "/connz?state=all");
    assert!(
        !body.contains("wrong") && !body.contains("1.2.3.4"),
        "{body}"
    );
}

#[test]
fn header_from_an_agent_never_reaches_the_server() {
    let (server, monitor) = reads_headers();
    let gateway = Gateway::sealing(&server.url());
    for header in [
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 4222\r\n".to_vec(),
        v2(0x21, 0x11, &[203, 0, 113, 7, 198, 51, 100, 1, 0, 7, 0, 8]),
    ] {
        let mut raw = RawClient::connect(gateway.addr());
        raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        raw.forget();
        raw.send(&header);
        raw.send(b"CONNECT {\"name\":\"forged\"}\r\nPING\r\n");
        let said = raw.until_end().escape_ascii().to_string();
        assert!(!said.contains("PONG"), "{said}");
    }
    let (_, body) = metrics::get(monitor, "/connz?state=all");
    assert!(!body.contains("203.0.113.7"), "{body}");
    let counted = gateway.metrics().sum(
        "keyway_proxy_headers_refused_total",
        &[("cause", "unexpected")],
    );
    assert!(counted >= 1.0);
}
