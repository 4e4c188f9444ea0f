//! Promise: no log, error, metric, answer or command output contains a secret or a payload.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own functions may stop it too"
)]

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use keyway_tests::certificates::{Authority, CertificateFiles};
use keyway_tests::command::{keyway, keyway_reading, path, stderr_of, text};
use keyway_tests::gateway::Settings;
use keyway_tests::identity::sign;
use keyway_tests::process::Process;
use keyway_tests::raw_client::TlsMode;
use keyway_tests::state_secrets::{self, VersionSecrets, encodings};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, operator, scratch, wait};
use nkeys::KeyPair;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAYLOAD: &[u8] = b"an unmistakable payload, long enough to be no accident";

/// Secrets, and the output of everything that used them.
struct CapturedOutput {
    secrets: Vec<(&'static str, Vec<u8>)>,
    said: Vec<(String, String)>,
}

impl CapturedOutput {
    fn record(&mut self, who: &str, said: impl Into<String>) {
        self.said.push((who.to_owned(), said.into()));
    }

    /// Runs the program, and records both its outputs.
    fn run(&mut self, words: &[&str]) {
        let output = keyway(words);
        self.record(words[0], text(&output.stdout));
        self.record(words[0], text(&output.stderr));
    }

    /// Sends an admin request over TCP, and records the answer.
    fn ask(&mut self, gateway: &Gateway, request: &str, token: &str) {
        let mut admin = TcpStream::connect(gateway.admin()).unwrap();
        write!(
            admin,
            "{request} HTTP/1.0\r\nHost: keyway\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        admin.read_to_string(&mut answer).unwrap();
        self.record(request, answer);
    }

    fn assert_no_secret(&self) {
        assert!(self.said.iter().any(|(_, said)| said.len() > 1000));
        assert_eq!(self.find_leak(), None);
    }

    /// The first output that contains a secret: its source, the secret's name, and the output.
    fn find_leak(&self) -> Option<(&str, &str, &str)> {
        let spelt = self.secrets.iter().flat_map(|(name, secret)| {
            let encodings = encodings(secret).into_iter();
            encodings.map(move |bytes| (*name, String::from_utf8(bytes)))
        });
        // Encodings that are not UTF-8 cannot be in a text.
        let mut spelt = spelt.filter_map(|(name, text)| Some((name, text.ok()?)));
        spelt.find_map(|(name, text)| {
            let find_leak = self.said.iter().find(|(_, said)| said.contains(&text));
            find_leak.map(|(who, said)| (who.as_str(), name, said.as_str()))
        })
    }
}

#[test]
fn secret_would_be_found_however_it_is_spelt() {
    let secret = std::array::from_fn::<u8, 32, _>(|place| u8::try_from(place * 7 + 3).unwrap());
    let among = |before: usize| [&PAYLOAD[..before], &secret[..], b"behind"].concat();
    let mut texts: Vec<String> = (0..3)
        .flat_map(|before| {
            [
                BASE64.encode(&among(before)),
                BASE64URL.encode(&among(before)),
            ]
        })
        .collect();
    texts.extend([HEXLOWER.encode(&secret), HEXUPPER.encode(&secret)]);
    texts.push(format!("{secret:?}"));
    for text in texts {
        let said = CapturedOutput {
            secrets: vec![("secret", secret.to_vec())],
            said: vec![("somebody".to_owned(), text.clone())],
        };
        assert!(said.find_leak().is_some(), "{text}");
    }
}

/// A file that only its owner may read.
fn guarded(folder: &Path, name: &str, content: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, content).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

const TOKEN: &str = "t0ken-of-an-operator-0123456789-abcdef";
const CONTROL: &str = "p4ssword-of-the-control-connection";
const AGENT: &str = "p4ssword-of-an-agent";
const WRONG: &str = "wr0ng-password-of-an-agent";

/// Client traffic, valid and invalid.
fn converse(server: &NatsServer, gateway: &Gateway, user: &KeyPair) {
    let ann = format!("\"headers\":true,\"user\":\"ann\",\"pass\":\"{AGENT}\"");
    let mut agent = RawClient::handshake(gateway.addr(), &ann);
    agent.subscribe(">");
    agent.publish("a.b", PAYLOAD);
    assert_eq!(agent.message("a.b").payload(), PAYLOAD);
    let mut bare = RawClient::handshake(server.addr(), &ann);
    // Plaintext, a broken envelope and an invalid header block: all withheld or refused.
    bare.publish("a.b", PAYLOAD);
    bare.publish(
        "a.b",
        &[b"\xfa\x4b\x11\x01", &[7; 28][..], PAYLOAD].concat(),
    );
    bare.publish_with("a.b", "NATS/1.0 503\r\n\r\n", PAYLOAD);
    agent.flush();
    agent.send(&[b"PUB a.b 3\r\n", PAYLOAD, b"\r\n"].concat());
    agent.until_end();
    let mut wrong = RawClient::connect(gateway.addr());
    wrong.send(format!("CONNECT {{\"user\":\"ann\",\"pass\":\"{WRONG}\"}}\r\n").as_bytes());
    wrong.until_end();
    let mut broken = RawClient::connect(gateway.addr());
    broken.send(format!("CONNECT {{\"user\":\"ann\",\"pass\":\"{AGENT}\",}}\r\n").as_bytes());
    broken.until_end();
    let mut keyed = RawClient::connect(gateway.addr());
    keyed.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    let nonce = keyed.info()["nonce"].as_str().unwrap().to_owned();
    let (key, signature) = (user.public_key(), sign(&user.seed().unwrap(), &nonce));
    keyed.send(format!("CONNECT {{\"nkey\":\"{key}\",\"sig\":\"{signature}\"}}\r\n").as_bytes());
    keyed.flush();
}

/// Commands of an operator.
const COMMANDS: &[&[&str]] = &[
    &["rotate", "--why", "x"],
    &["status"],
    &["status", "--json"],
    &["keys"],
    &["keys", "--json"],
    &["keys", "why", "1"],
    &["revoke", "--why", "x"],
    &["destroy", "1", "--why", "x"],
    &["drill"],
    &["reload"],
    &["audit", "show"],
    &["audit", "verify"],
    &["check"],
];

/// Admin requests.
const REQUESTS: &[&str] = &[
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
    "GET /v1/status",
    "GET /v1/keyrings",
    "GET /v1/keyrings/default",
    "GET /v1/keyrings/default/versions",
    "GET /v1/keyrings/default/versions/1/why",
    "GET /v1/keyrings/default/versions/1/exposure",
    "GET /v1/audit",
    "POST /v1/keyrings/default/rotate",
    "GET /v1/nothing",
];

/// The configuration of a server that knows these users.
fn users(user: &KeyPair) -> String {
    let key = user.public_key();
    format!(
        "jetstream {{ store_dir: \"STORE\" }}\nauthorization {{ users = [ {{ user: ann, password: \"{AGENT}\" }}, \
         {{ user: keyway, password: \"{CONTROL}\" }}, {{ nkey: {key} }} ] }}"
    )
}

/// A gateway with a secret wherever there may be one, and its certificate's key.
fn full_of_secrets(folder: &Path, server: &NatsServer, ca: &Authority) -> (Gateway, PathBuf) {
    let token = guarded(folder, "token", TOKEN);
    let password = guarded(folder, "password", CONTROL);
    let CertificateFiles { certificate, key } = ca.sign("gateway", 1);
    let tables = format!(
        "tokens = [{{ name = \"ci\", file = {token:?} }}]\n[log]\nlevel = \"trace\"\n\
         [control]\nuser = \"keyway\"\npassword-file = {password:?}\n\
         [tls]\ncertificate = {certificate:?}\nkey = {key:?}\nplaintext = true\n"
    );
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    (Gateway::start(&server.url(), settings), key)
}

#[test]
fn nothing_that_is_said_holds_a_secret() {
    let folder = scratch::folder("secrets");
    let (user, ca) = (KeyPair::new_user(), Authority::new("CA"));
    let server = NatsServer::configured(&users(&user));
    let (mut gateway, key) = full_of_secrets(folder.path(), &server, &ca);
    converse(&server, &gateway, &user);
    let via = TlsMode::AfterInfo(ca.client(None));
    RawClient::connect_until_info(gateway.addr(), &via, wait::DEADLINE).send(b"CONNECT {}\r\n");
    let mut said = CapturedOutput {
        secrets: vec![
            ("payload", PAYLOAD.to_vec()),
            ("operator's token", TOKEN.into()),
            ("control password", CONTROL.into()),
            ("agent's password", AGENT.into()),
            ("wrong password", WRONG.into()),
            ("agent's seed", user.seed().unwrap().into_bytes()),
            ("KEK", state_secrets::kek(&gateway.state()).to_vec()),
            ("private key", state_secrets::private_scalar(&key)),
        ],
        said: Vec::new(),
    };
    let config = gateway.config();
    for words in COMMANDS {
        said.run(&[words, &["--config", path(&config)][..]].concat());
    }
    for number in [1, 2] {
        let version = VersionSecrets::version(&gateway.state(), "default", number);
        said.secrets.push(("root secret", version.root.to_vec()));
        said.secrets
            .push(("pseudorandom key", version.prk.to_vec()));
    }
    for request in REQUESTS {
        said.ask(&gateway, request, TOKEN);
        said.ask(&gateway, request, WRONG);
    }
    gateway.process().terminate();
    let log = gateway.process().whole_log();
    assert!(log.contains("stopped"), "{log}");
    said.record("log", log);
    let trail = std::fs::read_to_string(gateway.state().join("audit/log.jsonl"));
    said.record("audit log", trail.unwrap());
    said.assert_no_secret();
}

#[test]
fn error_about_a_secret_does_not_say_it() {
    const TEXT: &str = "s3cret-that-is-in-the-wrong-place";
    const SHORT: &str = "s3cret-that-is-in-th";
    let folder = scratch::folder("secrets");
    let file = guarded(folder.path(), "file", SHORT);
    let open = folder.path().join("open");
    std::fs::write(&open, TEXT).unwrap();
    let mut said = CapturedOutput {
        secrets: vec![("secret", SHORT.into())],
        said: vec![(String::new(), " ".repeat(1001))],
    };
    let url = format!("[\"nats://ann:{TEXT}@127.0.0.1:4222\"]");
    for lines in [
        format!("servers = {url}"),
        format!("servers = [\"nats://{TEXT}@127.0.0.1:4222\"]"),
        format!("[control]\nservers = {url}"),
        format!("[control]\nuser = \"ann\"\npassword = \"{TEXT}\""),
        format!("[control]\nnkey-seed-file = {file:?}"),
        format!("[control]\ncredentials = {file:?}"),
        format!("[control]\ntoken-file = {open:?}"),
        format!("[admin]\ntokens = [{{ name = \"ci\", file = {file:?} }}]"),
        format!("[admin]\ntokens = [{{ name = \"ci\", token = \"{TEXT}\" }}]"),
        format!("[custody]\nkind = \"passphrase\"\npassphrase = \"{TEXT}\""),
        format!("[custody]\nkind = \"passphrase\"\npassphrase-file = {open:?}"),
        format!("password = \"{TEXT}\nlisten = 1"),
    ] {
        let config = folder.path().join("keyway.toml");
        let state = folder.path().join("state");
        let top = format!("listen = \"127.0.0.1:0\"\nstate = {state:?}\n{lines}\n");
        std::fs::write(&config, top).unwrap();
        let output = keyway(&["check", "--config", path(&config)]);
        said.record(&lines, text(&output.stdout));
        said.record(&lines, stderr_of(&output));
        said.record(&lines, log_of(&config, &state));
    }
    said.assert_no_secret();
}

/// The log of a gateway that starts and stops, or does not start.
fn log_of(config: &Path, state: &Path) -> String {
    let mut command = Command::new(keyway_tests::gateway::binary());
    command.args(["run", "--config"]).arg(config);
    let mut process = Process::start("keyway run", &mut command);
    let ready = state.join("ports.json");
    wait::until("it is up, or has ended", || {
        (process.ended().is_some() || ready.exists()).then_some(())
    });
    if process.ended().is_none() {
        process.terminate();
    }
    process.whole_log()
}

#[test]
fn error_about_a_key_encryption_key_does_not_say_it() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    gateway.process().kill();
    let kek = gateway.state().join("kek");
    let whole = std::fs::read_to_string(&kek).unwrap();
    let key = whole.trim().split(':').nth(1).unwrap();
    let (front, end) = key.split_at(20);
    for damaged in [
        whole.replace("keyway-kek-1", "keyway-kek-x"),
        whole.replace("keyway-kek-1:", ""),
        whole.replace(end, "!"),
        format!("{whole}{whole}"),
    ] {
        guarded(&gateway.state(), "kek", &damaged);
        let (status, said) = operator::refused(&gateway.config());
        assert!(!status.success(), "{damaged}");
        assert!(!said.contains(front), "{said}");
    }
}

#[test]
fn passphrase_is_said_nowhere_be_it_right_or_wrong() {
    const RIGHT: &str = "a right passphrase of some length";
    const WRONG: &str = "a wrong passphrase of some length";
    let folder = scratch::folder("secrets");
    let file = guarded(folder.path(), "passphrase", RIGHT);
    let server = NatsServer::start();
    let tables = format!(
        "[log]\nlevel = \"trace\"\n[custody]\nkind = \"passphrase\"\npassphrase-file = {file:?}\n"
    );
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    gateway.process().terminate();
    guarded(folder.path(), "passphrase", WRONG);
    let (status, wrong) = operator::refused(&gateway.config());
    assert!(!status.success());
    assert!(wrong.contains("wrong passphrase"), "{wrong}");
    let log = gateway.process().whole_log();
    let said = CapturedOutput {
        secrets: vec![("right one", RIGHT.into()), ("wrong one", WRONG.into())],
        said: vec![("log".to_owned(), log), ("error".to_owned(), wrong)],
    };
    assert!(said.said.iter().all(|(_, said)| said.len() > 50));
    assert_eq!(said.find_leak(), None);
}

#[test]
fn inspection_of_an_envelope_says_nothing_of_what_is_in_it() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    RawClient::agent(gateway.addr()).publish("a.b", PAYLOAD);
    let envelope = tap.message("a.b").payload().to_vec();
    let config = gateway.config();
    let output = keyway_reading(&["inspect", "-", "--config", path(&config)], &envelope);
    let said = format!("{}{}", text(&output.stdout), stderr_of(&output));
    assert!(said.len() > 50, "{said}");
    assert!(!said.contains("unmistakable"), "{said}");
}
