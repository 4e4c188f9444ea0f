//! Promise: `listen` takes every form of address that nats-server listens on, and the gateway serves there.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::gateway::{Gateway, Settings};
use keyway_tests::raw_client::{RawClient, WaitOutcome};
use keyway_tests::server::NatsServer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A gateway that listens at `listen`, in which PORT stands for the port.
fn listening(server: &NatsServer, listen: &str, settings: Settings) -> Gateway {
    let mut gateway = Gateway::start(&server.url(), settings);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    let listen = listen.replace("PORT", &gateway.addr().port().to_string());
    std::fs::write(gateway.config(), format!("listen = {listen}\n{rest}")).unwrap();
    gateway.restart_with_env(&[]);
    gateway
}

/// The addresses of this host at which the gateway's port answers with INFO.
fn reached(gateway: &Gateway) -> Vec<IpAddr> {
    let port = gateway.addr().port();
    let greets = |ip: &IpAddr| {
        let raw = RawClient::try_connect(SocketAddr::new(*ip, port));
        raw.is_some_and(|mut raw| {
            raw.outcome(|bytes| bytes.starts_with(b"INFO ") && bytes.ends_with(b"\r\n"))
                == WaitOutcome::Enough
        })
    };
    [FOUR, SIX].into_iter().filter(greets).collect()
}

/// The addresses of `localhost` on this host, of one family or both.
fn addresses_of_localhost() -> Vec<IpAddr> {
    let found = ("localhost", 0).to_socket_addrs().unwrap();
    let found: Vec<_> = found.map(|addr| addr.ip()).collect();
    let both = [FOUR, SIX].into_iter();
    both.filter(|ip| found.contains(ip)).collect()
}

#[test]
fn every_form_of_an_address_is_listened_at_and_nothing_wider() {
    let server = NatsServer::start();
    let local = addresses_of_localhost();
    for (listen, expected) in [
        ("\"0.0.0.0:PORT\"", &[FOUR, SIX][..]),
        ("\"[::]:PORT\"", &[FOUR, SIX]),
        ("\":PORT\"", &[FOUR, SIX]),
        ("\"PORT\"", &[FOUR, SIX]),
        ("PORT", &[FOUR, SIX]),
        (
            "[\"0.0.0.0:PORT\", \"[::]:PORT\", \"[::1]:PORT\"]",
            &[FOUR, SIX],
        ),
        ("\"localhost:PORT\"", &local),
        ("[\"127.0.0.1:PORT\", \"localhost:PORT\"]", &local),
        ("\"127.0.0.1:PORT\"", &[FOUR]),
        ("\"[::1]:PORT\"", &[SIX]),
    ] {
        let gateway = listening(&server, listen, Settings::default());
        assert_eq!(reached(&gateway), expected, "{listen}");
    }
}

#[test]
fn taking_over_keeps_every_address() {
    let server = NatsServer::start();
    let local = addresses_of_localhost();
    for (listen, expected) in [
        ("\"0.0.0.0:PORT\"", &[FOUR, SIX][..]),
        ("\"localhost:PORT\"", &local),
    ] {
        let mut gateway = listening(&server, listen, Settings::default());
        let mut before = gateway.take_over();
        before.wait();
        assert_eq!(reached(&gateway), expected, "{listen}");
    }
}

#[test]
fn client_of_ipv4_is_one_of_ipv4_at_a_socket_of_both() {
    let server = NatsServer::start();
    let settings = Settings {
        tables: "[limits]\nconnections-per-address = 1\n".to_owned(),
        ..Settings::default()
    };
    let gateway = listening(&server, "\"0.0.0.0:PORT\"", settings);
    let port = gateway.addr().port();
    let four = RawClient::handshake(SocketAddr::new(FOUR, port), "");
    assert_eq!(four.info()["host"], "127.0.0.1");
    assert_eq!(four.info()["client_ip"], "127.0.0.1");
    let six = RawClient::handshake(SocketAddr::new(SIX, port), "");
    assert_eq!(six.info()["client_ip"], "::1");
    let mut more = RawClient::connect(SocketAddr::new(FOUR, port));
    assert_eq!(more.outcome(|_| false), WaitOutcome::Closed);
}

#[test]
fn load_balancer_of_ipv4_is_believed_at_a_socket_of_both() {
    let server = NatsServer::start();
    let settings = Settings {
        tables: "[proxy]\naccept-from = \"127.0.0.1\"\n".to_owned(),
        ..Settings::default()
    };
    let gateway = listening(&server, "\"0.0.0.0:PORT\"", settings);
    let mut raw = RawClient::connect(SocketAddr::new(FOUR, gateway.addr().port()));
    raw.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    assert_eq!(raw.info()["client_ip"], "192.0.2.1");
}

#[test]
fn operators_are_served_at_every_address_where_that_is_asked_for() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let port = gateway.admin().port();
    let wide = text.replace(
        "listen = \"127.0.0.1:0\"",
        &format!("listen = \"0.0.0.0:{port}\""),
    );
    std::fs::write(gateway.config(), wide).unwrap();
    gateway.restart_with_env(&[]);
    for ip in [FOUR, SIX] {
        let addr = SocketAddr::new(ip, port);
        let metrics = keyway_tests::metrics::scrape(addr);
        assert!(metrics.sum("keyway_publish_waiting", &[]) < 0.5);
    }
}
