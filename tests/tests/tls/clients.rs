//! Which clients are accepted.

use super::*;

#[test]
fn client_that_does_not_begin_is_spoken_to_when_the_wait_is_over() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AUTOMATIC, "");
    let gateway = fixture.gateway(&AUTOMATIC, &server);
    for addr in [server.addr(), gateway.addr()] {
        let (_, outcome) = greet(addr, &TlsMode::AfterInfo(fixture.client()));
        assert_eq!(outcome, WaitOutcome::Enough);
    }
}

/// Fails unless server and gateway refuse a client alike.
fn both_refuse(mode: &Mode, via: impl Fn(&TlsFixture) -> TlsMode) {
    let fixture = TlsFixture::new();
    let server = fixture.server(mode, "");
    let gateway = fixture.gateway(mode, &server);
    let via = via(&fixture);
    for addr in [server.addr(), gateway.addr()] {
        let (_, outcome) = greet(addr, &via);
        assert_eq!(outcome, WaitOutcome::Closed);
    }
    let failures = |gateway: &Gateway| {
        gateway
            .metrics()
            .sum("keyway_tls_handshake_failures_total", &[("side", "client")])
    };
    assert!(failures(&gateway) >= 1.0);
}

#[test]
fn client_without_tls_is_refused_where_it_is_required() {
    both_refuse(&AFTER_INFO, |_scene| TlsMode::Plain);
}

#[test]
fn client_without_a_certificate_is_refused_where_it_is_required() {
    both_refuse(&VERIFIED, |fixture| {
        TlsMode::AfterInfo(fixture.ca.client(None))
    });
}

#[test]
fn client_of_another_ca_is_refused() {
    let stranger = Authority::new("CA");
    let own = stranger.sign("own", 3);
    both_refuse(&VERIFIED, |fixture| {
        TlsMode::AfterInfo(fixture.ca.client(Some(&own)))
    });
}

#[test]
fn client_that_says_nothing_is_given_up_after_the_handshake_s_time() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let mut settings = fixture.settings(&AFTER_INFO);
    settings
        .tables
        .push_str("[limits]\nhandshake-timeout = \"100ms\"\n");
    let gateway = Gateway::start(&server.url(), settings);
    let mut silent = RawClient::connect_until_info(gateway.addr(), &TlsMode::Plain, PATIENCE);
    assert_eq!(silent.outcome(|_| false), WaitOutcome::Closed);
    let failures = gateway.metrics().sum(
        "keyway_tls_handshake_failures_total",
        &[("cause", "timed-out")],
    );
    assert!(failures >= 1.0);
}

#[test]
fn optional_certificate_may_be_absent_and_is_checked_when_shown() {
    let fixture = TlsFixture::new();
    let server = NatsServer::start();
    let crl = fixture.ca.revoke(&[9]);
    let clients = format!("clients = \"optional\"\nclient-ca = CA\ncrl = {crl:?}");
    let settings = Settings {
        tables: fixture.tables(&clients, ""),
        ..Settings::default()
    };
    let gateway = Gateway::start(&server.url(), settings);
    let with = |own: Option<&CertificateFiles>| {
        greet(gateway.addr(), &TlsMode::AfterInfo(fixture.ca.client(own))).1
    };
    assert_eq!(with(None), WaitOutcome::Enough);
    assert_eq!(with(Some(&fixture.own)), WaitOutcome::Enough);
    let revoked = fixture.ca.sign("revoked", 9);
    assert_eq!(with(Some(&revoked)), WaitOutcome::Closed);
    let stranger = Authority::new("CA");
    let impostor = stranger.sign("own", 3);
    assert_eq!(with(Some(&impostor)), WaitOutcome::Closed);
}
