//! Which clients are accepted.

use super::*;

#[test]
fn client_that_does_not_begin_is_spoken_to_when_the_wait_is_over() {
    let scene = Scene::new();
    let server = scene.server(&AUTOMATIC, "");
    let gateway = scene.gateway(&AUTOMATIC, &server);
    for addr in [server.addr(), gateway.addr()] {
        let (_, outcome) = greet(addr, &Via::AfterInfo(scene.client()));
        assert_eq!(outcome, Outcome::Enough);
    }
}

/// Fails unless server and gateway refuse a client alike.
fn both_refuse(mode: &Mode, via: impl Fn(&Scene) -> Via) {
    let scene = Scene::new();
    let server = scene.server(mode, "");
    let gateway = scene.gateway(mode, &server);
    let via = via(&scene);
    for addr in [server.addr(), gateway.addr()] {
        let (_, outcome) = greet(addr, &via);
        assert_eq!(outcome, Outcome::Closed);
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
    both_refuse(&AFTER_INFO, |_scene| Via::Plain);
}

#[test]
fn client_without_a_certificate_is_refused_where_it_is_required() {
    both_refuse(&VERIFIED, |scene| Via::AfterInfo(scene.ca.client(None)));
}

#[test]
fn client_of_another_ca_is_refused() {
    let stranger = Authority::new("CA");
    let own = stranger.sign("own", 3);
    both_refuse(&VERIFIED, |scene| {
        Via::AfterInfo(scene.ca.client(Some(&own)))
    });
}

#[test]
fn client_that_says_nothing_is_given_up_after_the_handshake_s_time() {
    let scene = Scene::new();
    let server = scene.server(&AFTER_INFO, "");
    let mut settings = scene.settings(&AFTER_INFO);
    settings
        .tables
        .push_str("[limits]\nhandshake-timeout = \"100ms\"\n");
    let gateway = Gateway::start(&server.url(), settings);
    let mut silent = Raw::informed(gateway.addr(), &Via::Plain, PATIENCE);
    assert_eq!(silent.outcome(|_| false), Outcome::Closed);
    let failures = gateway.metrics().sum(
        "keyway_tls_handshake_failures_total",
        &[("cause", "timed-out")],
    );
    assert!(failures >= 1.0);
}

#[test]
fn optional_certificate_may_be_absent_and_is_checked_when_shown() {
    let scene = Scene::new();
    let server = NatsServer::start();
    let crl = scene.ca.revoke(&[9]);
    let clients = format!("clients = \"optional\"\nclient-ca = CA\ncrl = {crl:?}");
    let settings = Settings {
        tables: scene.tables(&clients, ""),
        ..Settings::default()
    };
    let gateway = Gateway::start(&server.url(), settings);
    let with = |own: Option<&Pair>| greet(gateway.addr(), &Via::AfterInfo(scene.ca.client(own))).1;
    assert_eq!(with(None), Outcome::Enough);
    assert_eq!(with(Some(&scene.own)), Outcome::Enough);
    let revoked = scene.ca.sign("revoked", 9);
    assert_eq!(with(Some(&revoked)), Outcome::Closed);
    let stranger = Authority::new("CA");
    let impostor = stranger.sign("own", 3);
    assert_eq!(with(Some(&impostor)), Outcome::Closed);
}
