//! Promise: TLS of the gateway behaves as the server's own, in every mode, on both sides; and changed files are reloaded without
//! affecting connections.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

mod clients;
mod files;
mod lifecycle;
mod official_clients;
mod plaintext_injection;
mod servers;
mod sessions;
mod versions;

use keyway_tests::certificates::{Authority, CertificateFiles};
use keyway_tests::gateway::Settings;
use keyway_tests::raw_client::{RawClient, TlsMode, WaitOutcome};
use keyway_tests::{Gateway, NatsServer, wait};
use std::time::Duration;

/// After this silence nothing more is expected.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TLS mode: configuration of the server, and the gateway's `[tls]` and `[server-tls]`.
struct Mode {
    server: &'static str,
    clients: &'static str,
    to_server: &'static str,
    /// Whether the gateway uses TLS with the server because of `tls://` in its URL, or of INFO.
    secured: Secured,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secured {
    ByUrl,
    ByInfo,
}

const AFTER_INFO: Mode = Mode {
    server: "tls { PAIR, timeout: 2 }",
    clients: "",
    to_server: "",
    secured: Secured::ByInfo,
};
const FIRST: Mode = Mode {
    server: "tls { PAIR, timeout: 2, handshake_first: true }",
    clients: "handshake = \"first\"",
    to_server: "handshake-first = true",
    secured: Secured::ByUrl,
};
const AUTOMATIC: Mode = Mode {
    server: "tls { PAIR, timeout: 2, handshake_first: \"200ms\" }",
    clients: "handshake = \"automatic\"\nwait = \"200ms\"",
    to_server: "handshake-first = true",
    secured: Secured::ByUrl,
};
const OPTIONAL: Mode = Mode {
    server: "tls { PAIR, timeout: 2 }\nallow_non_tls: true",
    clients: "plaintext = true",
    to_server: "",
    secured: Secured::ByUrl,
};
const VERIFIED: Mode = Mode {
    server: "tls { PAIR, timeout: 2, ca_file: CA, verify: true }",
    clients: "clients = \"required\"\nclient-ca = CA",
    to_server: "OWN",
    secured: Secured::ByInfo,
};

/// A CA with the certificates of server, gateway and client.
struct TlsFixture {
    ca: Authority,
    server: CertificateFiles,
    gateway: CertificateFiles,
    own: CertificateFiles,
}

impl TlsFixture {
    fn new() -> Self {
        let ca = Authority::new("CA");
        Self {
            server: ca.sign("server", 1),
            gateway: ca.sign("gateway", 2),
            own: ca.sign("own", 3),
            ca,
        }
    }

    fn server(&self, mode: &Mode, text: &str) -> NatsServer {
        let pair = format!(
            "cert_file: {:?}, key_file: {:?}",
            self.server.certificate, self.server.key
        );
        let tls = mode.server.replace("PAIR", &pair);
        let tls = tls.replace("CA", &format!("{:?}", self.ca.ca()));
        NatsServer::configured(&format!("{text}\n{tls}"))
    }

    /// The gateway's two sections.
    fn tables(&self, clients: &str, to_server: &str) -> String {
        let ca = format!("{:?}", self.ca.ca());
        let pair = |pair: &CertificateFiles| {
            format!(
                "certificate = {:?}\nkey = {:?}\n",
                pair.certificate, pair.key
            )
        };
        let to_server = to_server.replace("OWN", &pair(&self.own));
        let clients = clients.replace("CA", &ca);
        format!(
            "[tls]\n{}{clients}\n[server-tls]\nca = {ca}\n{to_server}\n",
            pair(&self.gateway)
        )
    }

    fn settings(&self, mode: &Mode) -> Settings {
        Settings {
            tables: self.tables(mode.clients, mode.to_server),
            ..Settings::default()
        }
    }

    fn gateway(&self, mode: &Mode, server: &NatsServer) -> Gateway {
        let scheme = match mode.secured {
            Secured::ByUrl => "tls",
            Secured::ByInfo => "nats",
        };
        let url = format!("{scheme}://{}", server.addr());
        Gateway::start(&url, self.settings(mode))
    }

    /// A client configuration with a certificate.
    fn client(&self) -> std::sync::Arc<rustls::ClientConfig> {
        self.ca.client(Some(&self.own))
    }
}

/// The answer to a PING, or how the connection ends without.
fn greet(addr: std::net::SocketAddr, via: &TlsMode) -> (Option<Vec<u8>>, WaitOutcome) {
    let mut raw = RawClient::connect_until_info(addr, via, PATIENCE);
    raw.send(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
    let outcome = raw.outcome(|bytes| bytes.ends_with(b"PONG\r\n"));
    (raw.certificate(), outcome)
}
