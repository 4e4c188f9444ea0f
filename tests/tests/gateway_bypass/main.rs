//! Promise: agents cannot bypass the gateway, server and gateway know their addresses, and `keyway doctor` finds mistakes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

mod address;
mod balancer;
mod doctor;
mod doctor_tls;
mod signature;

use keyway_tests::command::{code, keyway, path, stderr_of, text};
use keyway_tests::gateway::{self, Settings};
use keyway_tests::raw_client::WaitOutcome;
use keyway_tests::scratch;
use keyway_tests::tools;
use keyway_tests::{Gateway, NatsServer, RawClient};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A proxy key, as `keyway proxy-key` makes it, in a temporary folder.
struct ProxyKey {
    folder: TempDir,
    public: String,
}

impl ProxyKey {
    fn new() -> Self {
        let folder = scratch::folder("proxy-key");
        let state = folder.path().join("state");
        let made = keyway(&["init", "--proxy-key", "--state", path(&state)]);
        assert_eq!(code(&made), 0, "{}", stderr_of(&made));
        let said = text(&made.stdout).to_owned();
        let public = said.split("proxy key ").nth(1).unwrap();
        let public = public.lines().next().unwrap().to_owned();
        Self { folder, public }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state/proxy.nk")
    }

    /// The configuration of a server that trusts it.
    fn trusted(&self) -> String {
        format!("proxies {{ trusted: [ {{ key: {} }} ] }}\n", self.public)
    }

    /// A gateway that signs with it.
    fn gateway(&self, server: &NatsServer) -> Gateway {
        let section = format!("[proxy]\nnkey-seed-file = {:?}", self.file());
        Gateway::start(&server.url(), with(&section))
    }
}

/// Settings with these tables.
fn with(tables: &str) -> Settings {
    Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    }
}

/// Whether the server accepts a client with these CONNECT members, made from its nonce.
fn lets_in(addr: SocketAddr, members: impl Fn(&str) -> String) -> bool {
    let mut raw = RawClient::connect(addr);
    raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    let info = raw.info();
    let members = members(info["nonce"].as_str().unwrap_or_default());
    raw.forget();
    raw.send(format!("CONNECT {{\"verbose\":false,{members}}}\r\nPING\r\n").as_bytes());
    let outcome = raw.outcome(|bytes| bytes.ends_with(b"PONG\r\n"));
    if outcome == WaitOutcome::Closed {
        let said = raw.received().escape_ascii().to_string();
        assert!(said.contains("Authorization Violation"), "{said}");
    }
    outcome == WaitOutcome::Enough
}

const PASSWORD: &str = "\"user\":\"agent\",\"pass\":\"secret\"";
const USERS: &str =
    "authorization { users: [ { user: agent, password: secret, proxy_required: true } ] }\n";

#[test]
fn proxy_key_is_made_once_and_shown_again() {
    let key = ProxyKey::new();
    let seed = std::fs::read(key.file()).unwrap();
    let mode = std::fs::metadata(key.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let state = key.folder.path().join("state");
    let again = keyway(&["proxy-key", "--state", path(&state)]);
    let said = text(&again.stdout);
    assert_eq!(code(&again), 0, "{}", stderr_of(&again));
    assert!(said.contains(&key.public), "{said}");
    assert!(said.contains("proxy_required: true"), "{said}");
    assert!(!said.contains(text(&seed).trim()), "{said}");
    assert_eq!(std::fs::read(key.file()).unwrap(), seed);
    let nowhere = keyway(&[
        "proxy-key",
        "--state",
        path(&key.folder.path().join("none")),
    ]);
    assert_eq!(code(&nowhere), 4, "{}", stderr_of(&nowhere));
}

#[test]
fn what_is_printed_for_the_server_is_a_valid_configuration() {
    let key = ProxyKey::new();
    let state = key.folder.path().join("state");
    let said = keyway(&["proxy-key", "--state", path(&state)]);
    let block: Vec<&str> = text(&said.stdout)
        .lines()
        .skip_while(|line| !line.starts_with("nats-server"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    let block = block.join("\n").replace('…', "secret");
    let server = NatsServer::configured(&block);
    let gateway = key.gateway(&server);
    assert!(!lets_in(server.addr(), |_| PASSWORD.into()));
    assert!(lets_in(gateway.addr(), |_| PASSWORD.into()));
}

#[test]
fn servers_part_of_the_example_is_taken_by_the_server() {
    let example = scratch::repository().join("configs/nats-proxy.conf");
    let mut server = Command::new(tools::path("server"));
    let tried = server.arg("-t").arg("-c").arg(example).output().unwrap();
    assert!(tried.status.success(), "{}", stderr_of(&tried));
}
