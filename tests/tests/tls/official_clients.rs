//! Promise: an unchanged client of any language speaks TLS with the gateway as it does with the server itself.
//!
//! Each client runs the scenario list of its driver over TLS against the bare server and through a gateway that seals everything, and
//! must see the same: with the handshake after INFO and a certificate of its own, and with the handshake first.

use keyway_tests::certificates::{Authority, CertificateFiles, ClientTls};
use keyway_tests::driver::{Client, Outcome, assert_passed, assert_same};
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, scenarios};

/// When clients begin TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakeOrder {
    /// After INFO, and with a certificate of theirs.
    AfterInfo,
    /// Before INFO, without one.
    First,
}

const BOTH: [HandshakeOrder; 2] = [HandshakeOrder::AfterInfo, HandshakeOrder::First];

/// The server, the gateway before it, and how clients speak to both.
fn places(manner: HandshakeOrder) -> (NatsServer, Gateway, ClientTls, Authority) {
    let ca = Authority::new("CA");
    let (server, gateway, own) = (
        ca.sign("server", 1),
        ca.sign("gateway", 2),
        ca.sign("own", 3),
    );
    let file = ca.ca();
    let CertificateFiles { certificate, key } = &server;
    let (verify, says, does, shows) = match manner {
        HandshakeOrder::AfterInfo => (
            format!(", ca_file: {file:?}, verify: true"),
            format!("clients = \"required\"\nclient-ca = {file:?}"),
            "",
            format!("certificate = {:?}\nkey = {:?}", own.certificate, own.key),
        ),
        HandshakeOrder::First => (
            ", handshake_first: true".to_owned(),
            "handshake = \"first\"".to_owned(),
            "handshake-first = true",
            String::new(),
        ),
    };
    let server = NatsServer::configured(&format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}{verify} }}"
    ));
    let tables = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\n{says}\n[server-tls]\nca = {file:?}\n{does}\n{shows}\n",
        gateway.certificate, gateway.key
    );
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    let url = format!("tls://{}", server.addr());
    let gateway = Gateway::start(&url, settings);
    let tls = ClientTls {
        ca: file,
        own: (manner == HandshakeOrder::AfterInfo).then_some(own),
        first: manner == HandshakeOrder::First,
    };
    (server, gateway, tls, ca)
}

fn sees_the_same(
    name: &str,
    manners: &[HandshakeOrder],
    mut run: impl FnMut(&str, &ClientTls, &mut dyn FnMut(&str)) -> Vec<Outcome>,
) {
    for &manner in manners {
        let (mut server, mut gateway, tls, _ca) = places(manner);
        let url = server.url();
        let direct = run(&url, &tls, &mut |_cue| server.restart());
        let place = |what: &str| format!("{name} over TLS ({manner:?}) {what}");
        assert_passed(&place("on the server itself"), &direct);
        let through = run(&gateway.url(), &tls, &mut |cue| match cue {
            "restart-front" => gateway.restart(),
            _ => server.restart(),
        });
        assert_passed(&place("through the gateway"), &through);
        assert_same(&place("through the gateway"), &direct, &through);
    }
}

fn driven(client: Client, url: &str, tls: &ClientTls, cue: &mut dyn FnMut(&str)) -> Vec<Outcome> {
    let args = tls.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    client.run(url, &args, cue)
}

#[test]
fn nats_py_sees_the_same_over_tls() {
    sees_the_same("nats-py", &BOTH, |url, tls, cue| {
        driven(Client::Python, url, tls, cue)
    });
}

#[test]
fn nats_js_sees_the_same_over_tls() {
    sees_the_same("nats.js", &BOTH, |url, tls, cue| {
        driven(Client::JavaScript, url, tls, cue)
    });
}

#[test]
fn async_nats_sees_the_same_over_tls() {
    sees_the_same("async-nats", &BOTH, |url, tls, cue| {
        scenarios::run_over(url, Some(tls), cue)
    });
}

/// The libnats of distributions lacks the option for the handshake before INFO.
#[test]
fn nats_c_sees_the_same_over_tls() {
    sees_the_same("nats.c", &[HandshakeOrder::AfterInfo], |url, tls, cue| {
        driven(Client::C, url, tls, cue)
    });
}
