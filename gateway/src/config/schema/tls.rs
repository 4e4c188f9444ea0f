//! The keys of TLS, on both sides.

use strum::VariantNames;

use super::key::Default::{Described, Required, Value};
use super::key::Kind::{Boolean, Duration, Table, Text, Words};
use super::key::TakesEffect::AtRestart;
use super::key::{Key, MILLISECOND, TEN_SECONDS, keys};
use crate::config::words::{ClientCertificates, FirstSpeaker};

keys! {
    "tls": Table, Described("no TLS with clients"), AtRestart;
        "[tls]";
        "TLS with clients, on every address of `listen` but unix sockets: see docs/tls.md. The files are read again when they change; connections are not touched."
    "tls.certificate": Text("path of a PEM file"), Required, AtRestart;
        r#"certificate = "/etc/keyway/gw.pem""#;
        "The gateway's certificate, followed by those that lead from it to its CA. Clients look for the name that they dial among its subject alternative names."
    "tls.key": Text("path of a PEM file"), Required, AtRestart;
        r#"key = "/run/credentials/keyway/gw.key""#;
        "The certificate's key, without a passphrase; nobody but its owner may read the file."
    "tls.clients": Words(ClientCertificates::VARIANTS), Value(r#""none""#), AtRestart;
        r#"clients = "required""#;
        "Whether clients show a certificate. One that is shown is always checked; with `required` a client without one is turned away. Both need `client-ca`. The gateway cannot pass a client's certificate on: a server that maps certificates to users (`verify_and_map`) sees the gateway's own."
    "tls.client-ca": Text("path of a PEM file"), Described("none"), AtRestart;
        r#"client-ca = "/etc/keyway/agents-ca.pem""#;
        "The CAs that sign clients' certificates."
    "tls.crl": Text("path of a PEM file"), Described("none: no certificate counts as revoked"), AtRestart;
        r#"crl = "/etc/keyway/agents.crl""#;
        "Revocation lists, one for every CA of `client-ca` and for every CA between it and clients. A client whose CA has none is turned away. A list beyond its date goes on to be used, with a warning."
    "tls.plaintext": Boolean, Value("false"), AtRestart;
        "plaintext = true";
        r#"Whether clients without TLS are served too (`allow_non_tls` of nats-server): while they are moved to TLS. Not with `clients = "required"`."#
    "tls.handshake": Words(FirstSpeaker::VARIANTS), Value(r#""after-info""#), AtRestart;
        r#"handshake = "automatic""#;
        "Who speaks first. `after-info`: the gateway, an INFO in the clear, as every client expects by default. `first`: the client (`handshake_first` of nats-server; `tls_first` of clients), so that nothing is seen in the clear. `automatic`: the client if it does so within `wait`, else the gateway."
    "tls.wait": Duration(MILLISECOND, TEN_SECONDS), Value(r#""50ms""#), AtRestart;
        r#"wait = "100ms""#;
        r#"With `handshake = "automatic"`: how long a client may take to speak first."#
    "server-tls": Table, Described("every default, if a server is named `tls://`; else no TLS with servers"), AtRestart;
        "[server-tls]";
        "TLS with servers. A server named `tls://` must do it; one named `nats://` does it when it asks for it, which somebody on the way could prevent. The files are read again when they change."
    "server-tls.ca": Text("path of a PEM file"), Described("the CAs that the system trusts"), AtRestart;
        r#"ca = "/etc/keyway/nats-ca.pem""#;
        "The CAs that sign servers' certificates."
    "server-tls.certificate": Text("path of a PEM file"), Described("none"), AtRestart;
        r#"certificate = "/etc/keyway/gw-client.pem""#;
        "What the gateway shows to servers that verify clients, followed by the certificates that lead to its CA. With `key`."
    "server-tls.key": Text("path of a PEM file"), Described("none"), AtRestart;
        r#"key = "/run/credentials/keyway/gw-client.key""#;
        "The certificate's key, without a passphrase; nobody but its owner may read the file. With `certificate`."
    "server-tls.server-name": Text("host name or IP address"), Described("the host in `servers`"), AtRestart;
        r#"server-name = "nats.example""#;
        "The name that servers' certificates must have, when it is not the one that is dialled."
    "server-tls.handshake-first": Boolean, Value("false"), AtRestart;
        "handshake-first = true";
        "The handshake comes before the server's INFO: for servers with `handshake_first: true`. Every server must then be named `tls://`."
}
