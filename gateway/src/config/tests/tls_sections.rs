//! `[tls]` and `[server-tls]`.

use super::*;
use crate::tls::{
    Authorities, ClientAuth, HandshakeOrder, ListenerTls, Pair, ServerTls, TlsPolicy,
};

const OWN: &str = "[tls]\ncertificate = \"gw.pem\"\nkey = \"/run/gw.key\"\n";

fn listener(more: &str) -> ListenerTls {
    checked(&format!("{OWN}{more}")).dataplane.tls.unwrap()
}

fn to_server(text: &str) -> Option<ServerTls> {
    checked(text).dataplane.server_tls
}

#[test]
fn without_the_sections_there_is_no_tls() {
    let network = checked("").dataplane;
    assert_eq!((network.tls, network.server_tls), (None, None));
}

#[test]
fn certificate_and_key_are_enough() {
    let expected = ListenerTls {
        own: Pair {
            certificate: "/etc/keyway/gw.pem".into(),
            key: "/run/gw.key".into(),
        },
        clients: ClientAuth::NotRequested,
        demand: TlsPolicy::Required,
        handshake: HandshakeOrder::AfterInfo,
    };
    assert_eq!(listener(""), expected);
}

#[test]
fn every_key_of_the_listener_is_read() {
    let authorities = |crl: Option<&str>| Authorities {
        ca: "/etc/keyway/ca.pem".into(),
        crl: crl.map(Into::into),
    };
    let required = listener("clients = \"required\"\nclient-ca = \"ca.pem\"\ncrl = \"/crl.pem\"");
    assert_eq!(
        required.clients,
        ClientAuth::Required(authorities(Some("/crl.pem")))
    );
    let optional = listener("clients = \"optional\"\nclient-ca = \"ca.pem\"\nplaintext = true");
    assert_eq!(optional.clients, ClientAuth::Optional(authorities(None)));
    assert_eq!(optional.demand, TlsPolicy::Optional);
    let handshake = |more| listener(more).handshake;
    assert_eq!(handshake("handshake = \"first\""), HandshakeOrder::First);
    let automatic = |millis| HandshakeOrder::Automatic(Duration::from_millis(millis));
    assert_eq!(handshake("handshake = \"automatic\""), automatic(50));
    let patient = handshake("handshake = \"automatic\"\nwait = \"1s\"");
    assert_eq!(patient, automatic(1000));
}

#[test]
fn every_key_to_the_server_is_read() {
    let text = r#"
        servers = "tls://n1.example"
        [server-tls]
        ca = "ca.pem"
        certificate = "c.pem"
        key = "c.key"
        server-name = "nats.example"
        handshake-first = true
        "#;
    let expected = ServerTls {
        ca: Some("/etc/keyway/ca.pem".into()),
        own: Some(Pair {
            certificate: "/etc/keyway/c.pem".into(),
            key: "/etc/keyway/c.key".into(),
        }),
        server_name: Some("nats.example".to_owned()),
        handshake_first: true,
    };
    assert_eq!(to_server(text), Some(expected));
    assert_eq!(
        to_server("server-tls.server-name = \"10.0.0.1\"")
            .unwrap()
            .server_name
            .as_deref(),
        Some("10.0.0.1")
    );
}

#[test]
fn server_named_tls_needs_no_section() {
    let servers = "servers = [\"tls://n1.example\", \"nats://localhost:1\"]";
    assert_eq!(to_server(servers), Some(ServerTls::default()));
    let servers: Vec<_> = checked(servers)
        .dataplane
        .servers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["tls://n1.example:4222", "localhost:1"]);
}

#[test]
fn certificate_and_key_are_both_required() {
    said(
        "[tls]\n",
        &[
            "1:1: tls.certificate: `certificate` is missing\n  help: for example: certificate = \"/etc/keyway/gw.pem\"",
            "1:1: tls.key: `key` is missing\n  help: for example: key = \"/run/credentials/keyway/gw.key\"",
        ],
    );
    said(
        "[server-tls]\nkey = \"k\"",
        &[
            "2:7: server-tls.key: `key` is given, but no `certificate`\n  help: add `certificate`, or remove this line",
        ],
    );
    said(
        "[server-tls]\ncertificate = \"c\"",
        &[
            "2:15: server-tls.certificate: `certificate` is given, but no `key`\n  help: add `key`, or remove this line",
        ],
    );
}

#[test]
fn certificates_of_clients_need_somebody_who_signs_them() {
    said(
        &format!("{OWN}clients = \"required\""),
        &[
            "4:11: tls.clients: clients are asked for certificates, but nothing says who signs these\n  help: add `client-ca`, the PEM file of the CAs that sign clients' certificates",
        ],
    );
    said(
        &format!("{OWN}client-ca = \"ca.pem\""),
        &[
            "4:13: tls.client-ca: CAs of clients' certificates are given, but clients are not asked for any\n  help: write `clients = \"required\"` or `clients = \"optional\"`, or remove this line",
        ],
    );
    said(
        &format!("{OWN}crl = \"crl.pem\""),
        &[
            "4:7: tls.crl: revocation lists are given, but clients are not asked for certificates\n  help: write `clients = \"required\"` and `client-ca`, or remove this line",
        ],
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    said(
        &format!("{OWN}plaintext = true\nclients = \"required\"\nclient-ca = \"c\""),
        &[
            "4:13: tls.plaintext: a client without TLS shows no certificate, and `clients = \"required\"` wants one\n  help: write `clients = \"optional\"`, or remove this line",
        ],
    );
    said(
        &format!("{OWN}plaintext = true\nhandshake = \"first\""),
        &[
            "4:13: tls.plaintext: a client without TLS waits for an INFO that `handshake = \"first\"` does not send\n  help: write `handshake = \"automatic\"`, or remove this line",
        ],
    );
    said(
        &format!("{OWN}wait = \"1s\""),
        &[
            "4:8: tls.wait: nothing is waited for with this `handshake`\n  help: write `handshake = \"automatic\"`, or remove this line",
        ],
    );
    said(
        "servers = [\"tls://a\", \"nats://b\"]\nserver-tls.handshake-first = true",
        &[
            "2:30: server-tls.handshake-first: the handshake is to come first, but a server is named `nats://`\n  help: write `tls://` in `servers`, or remove this line",
        ],
    );
    said(
        "server-tls.server-name = \"a b\"",
        &[
            "1:26: server-tls.server-name: `a b` is not a host name or an IP address\n  help: for example: server-name = \"nats.example\"",
        ],
    );
}

#[test]
fn networks_with_tls_are_not_warned_of() {
    let everywhere = "listen = \"0.0.0.0:4223\"\nservers = \"tls://n1.example\"\n";
    assert!(warnings(&format!("{everywhere}{OWN}")).is_empty());
    let said = warnings(&format!("{everywhere}{OWN}plaintext = true"));
    assert_eq!(
        said,
        [
            "gw.toml:1:10: listen: 0.0.0.0:4223 can be reached from other hosts, and clients may speak to it without TLS\n  help: remove `plaintext` from [tls] as soon as every client speaks TLS"
        ]
    );
}

#[test]
fn own_connection_does_as_the_servers_do() {
    let control = |text| checked(text).control.unwrap();
    let plain = control("[control]");
    assert_eq!(plain.tls, None);
    let first = control("servers = \"tls://a\"\nserver-tls.ca = \"/ca.pem\"\n[control]");
    assert_eq!(first.servers, ["tls://a:4222"]);
    assert_eq!(first.tls.unwrap().ca, Some("/ca.pem".into()));
    let own = control("[control]\nservers = \"tls://a\"");
    assert_eq!(own.tls, Some(ServerTls::default()));
}
