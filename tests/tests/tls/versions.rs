//! TLS 1.2 and later are supported, and nothing older.

use super::*;
use keyway_tests::haproxy::Haproxy;
use keyway_tests::session::SERVERS;
use rustls::version::TLS12;
use std::net::SocketAddr;

#[test]
fn client_of_tls_1_2_alone_sees_sessions_that_are_the_server_s_own() {
    for mode in [&AFTER_INFO, &FIRST] {
        sessions::compare(mode, |fixture| {
            let client = fixture
                .ca
                .client_with_versions(Some(&fixture.own), &[&TLS12]);
            match mode.secured {
                Secured::ByInfo => TlsMode::AfterInfo(client),
                Secured::ByUrl => TlsMode::First(client),
            }
        });
    }
}

/// HAProxy with this TLS version alone in front of a server, with the handshake first; and a gateway in front of that.
fn behind(fixture: &TlsFixture, server: SocketAddr, version: &str) -> (Haproxy, Gateway) {
    let file = fixture.server.joined_pem();
    let bind = format!(
        "ssl crt {} ciphers DEFAULT@SECLEVEL=0 ssl-min-ver {version} ssl-max-ver {version}",
        file.display()
    );
    let haproxy = Haproxy::with_bind_options(&bind, server, "");
    let settings = Settings {
        tables: format!(
            "[server-tls]\nca = {:?}\nhandshake-first = true\n",
            fixture.ca.ca()
        ),
        ..Settings::default()
    };
    let gateway = Gateway::start(&format!("tls://{}", haproxy.addr()), settings);
    (haproxy, gateway)
}

#[test]
fn server_of_tls_1_2_alone_is_served_as_it_answers_itself() {
    let fixture = TlsFixture::new();
    let servers = SERVERS.iter().map(|text| NatsServer::configured(text));
    let servers: Vec<_> = servers.collect();
    let places = servers.iter();
    let places: Vec<_> = places
        .map(|server| behind(&fixture, server.addr(), "TLSv1.2"))
        .collect();
    let directly: Vec<_> = servers.iter().map(NatsServer::addr).collect();
    let through: Vec<_> = places.iter().map(|(_, gateway)| gateway.addr()).collect();
    sessions::same((&directly, &through), &TlsMode::Plain);
    let done = places[0]
        .1
        .metrics()
        .sum("keyway_tls_handshakes_total", &[("side", "server")]);
    assert!(done >= 1.0);
}

#[test]
fn server_before_tls_1_2_is_refused_with_its_cause() {
    let fixture = TlsFixture::new();
    let server = NatsServer::start();
    let (_haproxy, gateway) = behind(&fixture, server.addr(), "TLSv1.1");
    assert_eq!(
        greet(gateway.addr(), &TlsMode::Plain).1,
        WaitOutcome::Closed
    );
    let labels = [("side", "server"), ("cause", "incompatible")];
    let failures = gateway
        .metrics()
        .sum("keyway_tls_handshake_failures_total", &labels);
    assert!(failures >= 1.0, "{}", gateway.metrics().text());
}

/// The `ClientHello` of a client whose latest version is this one (RFC 5246, section 7.4.1.2).
fn hello(version: u8) -> Vec<u8> {
    let suites = [0xc02b_u16, 0xc02f, 0xc009, 0xc013, 0xc00a, 0xc014, 0x002f];
    let suites: Vec<u8> = suites.into_iter().flat_map(u16::to_be_bytes).collect();
    let extensions: [&[u8]; 3] = [
        // X25519 and P-256, uncompressed; ECDSA and RSA with SHA-256 and SHA-1.
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 10, 0, 8, 4, 3, 4, 1, 2, 3, 2, 1],
    ];
    let sized = |bytes: &[u8]| {
        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&len[..], bytes].concat()
    };
    let body = [
        &[3, version][..],
        &[7; 32],
        &[0],
        &sized(&suites),
        &[1, 0],
        &sized(&extensions.concat()),
    ]
    .concat();
    let handshake = [&[1, 0][..], &sized(&body)].concat();
    [&[0x16, 3, 1][..], &sized(&handshake)].concat()
}

/// The answer to it: the content type of the first record, and the alert in it, if any.
fn answer(addr: SocketAddr, version: u8) -> (u8, Option<[u8; 2]>) {
    const ALERT: u8 = 21;
    let mut raw = RawClient::connect_until_info(addr, &TlsMode::Plain, PATIENCE);
    raw.forget();
    raw.send(&hello(version));
    raw.outcome(|bytes| bytes.len() >= 7);
    let said = raw.received();
    assert!(said.len() >= 7, "{}", said.escape_ascii());
    let alert = (said[0] == ALERT).then(|| [said[5], said[6]]);
    if alert.is_some() {
        assert_eq!(raw.outcome(|_| false), WaitOutcome::Closed);
    }
    (raw.received()[0], alert)
}

#[test]
fn client_before_tls_1_2_is_refused_as_the_server_refuses_it() {
    /// RFC 5246, section 7.2: fatal, `protocol_version`.
    const REFUSED: (u8, Option<[u8; 2]>) = (21, Some([2, 70]));
    const SERVED: (u8, Option<[u8; 2]>) = (22, None);
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let gateway = fixture.gateway(&AFTER_INFO, &server);
    for addr in [server.addr(), gateway.addr()] {
        assert_eq!(answer(addr, 3), SERVED);
        for version in [0, 1, 2] {
            assert_eq!(answer(addr, version), REFUSED, "3.{version}");
        }
    }
    let labels = [("side", "client"), ("cause", "incompatible")];
    let failures = gateway
        .metrics()
        .sum("keyway_tls_handshake_failures_total", &labels);
    assert!(failures >= 3.0, "{failures}");
}
