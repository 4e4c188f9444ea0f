//! Promise: TLS at the gateway is the server's own, in every mode, on both sides; and files that change are taken over without
//! touching a connection.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::certificates::{Authority, Pair};
use keyway_tests::gateway::Settings;
use keyway_tests::raw::{Outcome, Raw, Via};
use keyway_tests::session::{self, End, SERVERS, Session, play_via};
use keyway_tests::{Gateway, NatsServer, wait};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How long nobody says anything who means to say nothing more.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most that a TLS record holds.
const RECORD: usize = 16 * 1024;

/// A way to do TLS: the same words for the server, and for the gateway's `[tls]` and `[server-tls]`.
struct Mode {
    server: &'static str,
    clients: &'static str,
    to_server: &'static str,
    /// Whether the URL of the server says `tls://`.
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

/// A CA with the certificates that everybody here needs.
struct Scene {
    ca: Authority,
    server: Pair,
    gateway: Pair,
    own: Pair,
}

impl Scene {
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
        let pair = |pair: &Pair| {
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

    /// A client that shows a certificate where that is wanted.
    fn client(&self) -> std::sync::Arc<rustls::ClientConfig> {
        self.ca.client(Some(&self.own))
    }
}

/// Plays every session on the server itself and through the gateway before it, over TLS on both sides, whole and in two.
fn compare(mode: &Mode, via: impl Fn(&Scene) -> Via) {
    let scene = Scene::new();
    let via = via(&scene);
    let servers: Vec<_> = SERVERS
        .iter()
        .map(|text| scene.server(mode, text))
        .collect();
    let gateways: Vec<_> = servers
        .iter()
        .map(|server| scene.gateway(mode, server))
        .collect();
    let mut found = String::new();
    let sessions = session::all();
    // The server resets a connection with more records behind the one that it kills it for, and its last words may go with it.
    let heard = |session: &&Session| session.end != End::Closed || session.script.len() < RECORD;
    let included = |session: &&Session| !session.relay_only && heard(session);
    for session in sessions.iter().filter(included) {
        let expected = play_via(servers[session.server].addr(), session, &[], &via);
        let half = [session.script.len() / 2];
        for cuts in [&[][..], &half] {
            let addr = gateways[session.server].addr();
            let answer = play_via(addr, session, cuts, &via);
            if answer != expected {
                let name = session.name;
                writeln!(
                    found,
                    "{name} {cuts:?}\n  server  {expected:?}\n  gateway {answer:?}"
                )
                .unwrap();
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn sessions_are_the_server_s_own_with_tls_after_info() {
    compare(&AFTER_INFO, |scene| Via::AfterInfo(scene.client()));
}

#[test]
fn sessions_are_the_server_s_own_with_the_handshake_first() {
    compare(&FIRST, |scene| Via::First(scene.client()));
}

#[test]
fn sessions_are_the_server_s_own_where_the_client_may_begin_and_does() {
    compare(&AUTOMATIC, |scene| Via::First(scene.client()));
}

#[test]
fn sessions_are_the_server_s_own_with_optional_tls_that_is_used() {
    compare(&OPTIONAL, |scene| Via::AfterInfo(scene.client()));
}

#[test]
fn sessions_are_the_server_s_own_with_optional_tls_that_is_not_used() {
    compare(&OPTIONAL, |_scene| Via::Plain);
}

#[test]
fn sessions_are_the_server_s_own_with_certificates_of_clients() {
    compare(&VERIFIED, |scene| Via::AfterInfo(scene.client()));
}

/// What a greeting comes to: the answer to a PING, or how it ends without.
fn greet(addr: std::net::SocketAddr, via: &Via) -> (Option<Vec<u8>>, Outcome) {
    let mut raw = Raw::informed(addr, via, PATIENCE);
    raw.send(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
    let outcome = raw.outcome(|bytes| bytes.ends_with(b"PONG\r\n"));
    (raw.certificate(), outcome)
}

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

/// What each of the server and the gateway does with a client that it does not want.
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

/// Asks for a reload, and waits for its line in the log.
fn reload(gateway: &mut Gateway, line: &str) {
    gateway.process().signal(rustix::process::Signal::HUP);
    let _seen: () = gateway
        .process()
        .line(line, |said| said.contains(line).then_some(()));
}

#[test]
fn new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let scene = Scene::new();
    let server = scene.server(&AFTER_INFO, "");
    let mut gateway = scene.gateway(&AFTER_INFO, &server);
    let via = Via::AfterInfo(scene.client());
    let mut old = Raw::informed(gateway.addr(), &via, PATIENCE);
    old.send(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\n");
    old.flush();
    let before = old.certificate().unwrap();
    scene.ca.sign("gateway", 4);
    reload(&mut gateway, "new certificates are in use");
    let (shown, outcome) = greet(gateway.addr(), &via);
    assert_eq!(outcome, Outcome::Enough);
    assert_ne!(shown.unwrap(), before);
    old.send(b"PUB a 2\r\nhi\r\n");
    let frames = old.flush();
    assert!(
        frames.iter().any(|frame| frame.verb() == "MSG"),
        "{frames:?}"
    );
    // And one that is no certificate changes nothing, says so, and names the file.
    std::fs::write(&scene.gateway.certificate, "no certificate").unwrap();
    reload(&mut gateway, "those before stay in use");
    assert!(
        gateway
            .process()
            .log()
            .contains("gateway.pem holds no certificate")
    );
    assert_eq!(greet(gateway.addr(), &via).1, Outcome::Enough);
    old.flush();
}

#[test]
fn files_are_looked_at_without_being_asked() {
    let scene = Scene::new();
    let server = scene.server(&AFTER_INFO, "");
    let gateway = scene.gateway(&AFTER_INFO, &server);
    let via = Via::AfterInfo(scene.client());
    let (before, _) = greet(gateway.addr(), &via);
    scene.ca.sign("gateway", 4);
    wait::until("the new certificate", || {
        let (shown, outcome) = greet(gateway.addr(), &via);
        (outcome == Outcome::Enough && shown != before).then_some(())
    });
}

#[test]
fn revoked_certificate_is_refused_from_the_next_handshake_on() {
    let scene = Scene::new();
    let server = NatsServer::start();
    let crl = scene.ca.revoke(&[]);
    let clients = format!("clients = \"required\"\nclient-ca = CA\ncrl = {crl:?}");
    let settings = Settings {
        tables: scene.tables(&clients, ""),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    let via = Via::AfterInfo(scene.client());
    let mut old = Raw::informed(gateway.addr(), &via, PATIENCE);
    old.send(b"CONNECT {\"verbose\":false}\r\n");
    old.flush();
    scene.ca.revoke(&[3]);
    reload(&mut gateway, "new certificates are in use");
    assert_eq!(greet(gateway.addr(), &via).1, Outcome::Closed);
    old.flush();
}

#[test]
fn server_of_another_ca_is_not_believed_and_the_log_says_which_file() {
    let (scene, stranger) = (Scene::new(), Authority::new("Another"));
    let server = scene.server(&AFTER_INFO, "");
    let tables = scene.tables("", "").replace(
        &format!("[server-tls]\nca = {:?}", scene.ca.ca()),
        &format!("[server-tls]\nca = {:?}", stranger.ca()),
    );
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    let url = format!("tls://{}", server.addr());
    let mut gateway = Gateway::start(&url, settings);
    let (_, outcome) = greet(gateway.addr(), &Via::AfterInfo(scene.client()));
    assert_eq!(outcome, Outcome::Closed);
    let wanted = format!("no CA in {} has signed", stranger.ca().display());
    let log = gateway.process();
    let _seen: () = log.line("the CA", |line| line.contains(&wanted).then_some(()));
}

#[test]
fn next_server_is_tried_after_one_with_which_there_is_no_tls() {
    let scene = Scene::new();
    let (plain, server) = (NatsServer::start(), scene.server(&AFTER_INFO, ""));
    let urls = [&plain, &server].map(|server| format!("tls://{}", server.addr()));
    let mut gateway = Gateway::before(&[&urls[0], &urls[1]], scene.settings(&AFTER_INFO));
    let via = Via::AfterInfo(scene.client());
    wait::until("a session with the second", || {
        (greet(gateway.addr(), &via).1 == Outcome::Enough).then_some(())
    });
    let _seen: () = gateway.process().line("why", |line| {
        line.contains("does not offer TLS").then_some(())
    });
}

#[test]
fn server_that_requires_tls_is_refused_in_the_clear_with_the_remedy() {
    let scene = Scene::new();
    let server = scene.server(&AFTER_INFO, "");
    let mut gateway = Gateway::sealing(&server.url());
    assert_eq!(greet(gateway.addr(), &Via::Plain).1, Outcome::Closed);
    let log = gateway.process();
    let _seen: () = log.line("the remedy", |line| {
        (line.contains("it requires TLS") && line.contains("[server-tls]")).then_some(())
    });
}

#[test]
fn sidecar_at_a_unix_socket_needs_no_tls() {
    use std::io::{Read as _, Write as _};
    let scene = Scene::new();
    let server = scene.server(&AFTER_INFO, "");
    let folder = keyway_tests::scratch::folder("sidecar");
    let socket = folder.path().join("nats.sock");
    let config = folder.path().join("keyway.toml");
    write_config(&config, &socket, &server, &scene);
    let mut command = std::process::Command::new(keyway_tests::gateway::binary());
    command.arg("run").arg("--config").arg(&config);
    let mut gateway = keyway_tests::process::Process::start("keyway", &mut command);
    let mut agent = wait::until("the socket", || {
        assert!(gateway.ended().is_none(), "{}", gateway.log());
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    agent.set_read_timeout(Some(PATIENCE)).unwrap();
    agent
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n")
        .unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"PONG\r\n") {
        let mut chunk = [0; 4096];
        let count = agent.read(&mut chunk).unwrap();
        assert_ne!(count, 0, "{}", received.escape_ascii());
        received.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8(received).unwrap();
    assert!(!text.contains("tls_required"), "{text}");
    assert!(text.contains("MSG a 1 2\r\nhi\r\n"), "{text}");
}

fn write_config(config: &Path, socket: &Path, server: &NatsServer, scene: &Scene) {
    let state = config.with_file_name("state");
    let text = format!(
        "listen = \"unix:{}\"\nservers = \"tls://{}\"\nstate = {state:?}\n[admin]\nlisten = \"off\"\n{}",
        socket.display(),
        server.addr(),
        scene.tables("", "")
    );
    std::fs::write(config, text).unwrap();
}

#[test]
fn check_names_the_file_and_what_is_wrong_with_it() {
    use keyway_tests::command::{code, json, keyway, path, text};
    let scene = Scene::new();
    let folder = keyway_tests::scratch::folder("check");
    let config = folder.path().join("keyway.toml");
    std::fs::write(&config, format!("state = \"s\"\n{}", scene.tables("", ""))).unwrap();
    assert_eq!(code(&keyway(&["check", path(&config)])), 0);
    std::fs::copy(&scene.own.key, &scene.gateway.key).unwrap();
    std::fs::remove_file(scene.ca.ca()).unwrap();
    let plain = keyway(&["check", path(&config)]);
    let said = text(&plain.stderr);
    assert_eq!(code(&plain), 3, "{said}");
    assert!(
        said.contains("does not belong to the first certificate"),
        "{said}"
    );
    assert!(
        said.contains("server-tls.ca") && said.contains("does not exist"),
        "{said}"
    );
    let report = json(&keyway(&["check", "--json", path(&config)]));
    assert_eq!(report["errors"][0]["key"], "tls.key");
    assert_eq!(report["errors"][1]["key"], "server-tls.ca");
}

#[test]
fn expiry_is_a_metric() {
    let scene = Scene::new();
    let server = scene.server(&AFTER_INFO, "");
    let gateway = scene.gateway(&AFTER_INFO, &server);
    let metrics = gateway.metrics();
    for role in ["tls.certificate", "server-tls.ca"] {
        let at = metrics.sum(
            "keyway_tls_certificate_expiry_timestamp_seconds",
            &[("role", role)],
        );
        // New Year's Day of 2099.
        assert!((at - 4_070_908_800.0).abs() < 1.0, "{role}: {at}");
    }
}
