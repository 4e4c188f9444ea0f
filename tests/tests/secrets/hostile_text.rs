//! Promise: text from outside cannot inject control sequences or lines into a terminal or a log.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{keyway, path};
use keyway_tests::{Gateway, NatsServer, RawClient, gateway, scratch};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

/// Every line break, C0 and C1 terminal control sequences, and bidirectional overrides.
const HOSTILE: &str = "x\u{1b}[2K\r\nok       everything is fine\n\u{9b}31m\u{7f}\u{8}\t\u{85}\u{202e}\u{2066}\u{2028}\u{1b}]0;t\u{7}y";

/// Fails if the text has a control character, or a line that begins with injected text.
fn is_clean(what: &str, shown: &[u8]) {
    let text = std::str::from_utf8(shown).unwrap();
    let steers = |letter: char| {
        letter != '\n' && letter.is_control()
            || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(steers), "{what}: {text:?}");
    let forged = text
        .lines()
        .find(|line| line.starts_with("ok       everything"));
    assert_eq!(forged, None, "{what}: {text}");
}

/// Fails unless a command's output is clean, and contains `shows`.
fn clean(words: &[&str], shows: &str) -> Output {
    let output = keyway(words);
    let what = words.join(" ");
    is_clean(&what, &output.stdout);
    is_clean(&what, &output.stderr);
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    let all = String::from_utf8(all).unwrap();
    assert!(all.contains(shows), "{what}: {all}");
    output
}

/// A server with hostile text in every field of INFO and in an `-ERR` that ends each connection.
fn hostile_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let info = json!({
                "server_id": HOSTILE, "server_name": HOSTILE, "version": HOSTILE, "cluster": HOSTILE, "go": HOSTILE,
                "host": HOSTILE, "port": 4222, "headers": true, "max_payload": 1_048_576, "proto": 1, "jetstream": true
            });
            drop(write!(socket, "INFO {info}\r\n"));
            let mut line = String::new();
            drop(BufReader::new(&socket).read_line(&mut line));
            let error = HOSTILE.replace(['\r', '\n'], " ");
            drop(write!(socket, "-ERR '{error}'\r\n"));
        }
    });
    addr
}

/// A configuration whose state directory is beside it.
fn deployment(server: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = scratch::folder("hostile");
    let state = folder.path().join("state");
    let config = folder.path().join("keyway.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nservers = [\"{server}\"]\nstate = {state:?}\n[admin]\nlisten = \"off\"\n"
    );
    std::fs::write(&config, text).unwrap();
    (folder, config)
}

#[test]
fn greeting_of_a_hostile_server_forges_nothing_in_what_doctor_says() {
    let server = format!("nats://{}", hostile_server());
    let (_folder, config) = deployment(&server);
    let shown = "runs nats-server x\\u{1b}[2K\\r\\nok ";
    clean(&["doctor", "--config", path(&config)], shown);
    clean(
        &["doctor", "--json", "--config", path(&config)],
        "x\\u001b[2K",
    );
}

/// A fake gateway at the admin socket, which answers every request with `answer` of its path.
fn hostile_gateway(
    socket: &std::path::Path,
    answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static,
) {
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || converse(&stream, &*answer));
        }
    });
}

fn converse(mut stream: &UnixStream, answer: impl Fn(&str) -> (u16, Value)) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut lengths = head
        .iter()
        .filter_map(|line| line.strip_prefix("content-length: "));
    let length: usize = lengths.next().map_or(0, |length| length.parse().unwrap());
    reader.read_exact(&mut vec![0; length]).unwrap();
    let (status, body) = answer(first.split(' ').nth(1).unwrap());
    let body = body.to_string();
    let length = body.len();
    let head = "Connection: close\r\nContent-Length";
    write!(
        stream,
        "HTTP/1.1 {status} x\r\n{head}: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

/// What an answer has where a word or a time of a report is due.
#[derive(Clone, Copy)]
enum Words {
    Known,
    Hostile,
}

impl Words {
    fn or(self, known: &str) -> Value {
        match self {
            Self::Known => json!(known),
            Self::Hostile => json!(HOSTILE),
        }
    }
}

const TIME: &str = "2026-11-23T10:00:00Z";

fn version(words: Words) -> Value {
    json!({
        "number": 1, "label": HOSTILE, "kid": HOSTILE, "commitment": HOSTILE, "suite": HOSTILE, "state": "active",
        "nist": HOSTILE, "created": words.or(TIME), "since": words.or(TIME), "activated": null, "deactivated": null,
        "overlap_ends": null, "sealed": amount(), "used": amount(), "left": amount(), "outstanding": amount(), "exhausted": false, "lanes": 1,
        "opened": null, "kept": HOSTILE
    })
}

fn amount() -> Value {
    json!({ "messages": 1, "bytes": 1 })
}

fn exposure(words: Words) -> Value {
    json!({
        "keyring": HOSTILE, "label": HOSTILE, "kid": HOSTILE, "state": words.or("compromised"), "subjects": [HOSTILE],
        "from": words.or(TIME), "until": words.or(TIME), "sealed": amount(), "exact": true, "lanes": 1, "opens": true
    })
}

/// An answer in which every text is hostile, and with [`Words::Hostile`] what is no free text, too.
fn hostile_answer(path: &str, words: Words) -> (u16, Value) {
    let mut retired = version(words);
    retired["state"] = words.or("archived");
    let keyring = json!({
        "keyring": HOSTILE, "suite": HOSTILE, "subjects": [HOSTILE], "publish_by": [HOSTILE], "deliver_to": [HOSTILE],
        "terms": {
            "rotate_after_seconds": 1, "rotate_jitter_percent": 1, "rotate": amount(), "limit": amount(), "overlap_seconds": 1,
            "retain": HOSTILE, "hold_seconds": 1, "destroy": HOSTILE, "open_suspended": false, "open_compromised": false
        },
        "outlook": {
            "rotates": words.or(TIME), "rotates_in_seconds": 1, "threshold_in_seconds": null, "limit_in_seconds": null,
            "stage": words.or("none"), "failure": HOSTILE
        },
        "versions": [version(words), retired]
    });
    let place = path.split('?').next().unwrap().rsplit('/').next().unwrap();
    let body = match place {
        "status" => json!({
            "version": HOSTILE, "relay_only": false, "ready": false, "reasons": [HOSTILE], "degraded": [HOSTILE]
        }),
        "keyrings" => json!([keyring]),
        "metrics" => json!(HOSTILE),
        "why" => json!({ "label": HOSTILE, "state": words.or("archived"), "reasons": [HOSTILE] }),
        "exposure" => exposure(words),
        "rotate" => json!({ "keyring": HOSTILE, "from": HOSTILE, "to": HOSTILE, "kid": HOSTILE }),
        "revoke" => json!({ "exposure": exposure(words), "sealing": HOSTILE, "failure": HOSTILE }),
        "drill" => json!([
            { "what": HOSTILE, "failed": HOSTILE, "microseconds": 1 }, { "what": HOSTILE, "failed": null, "microseconds": 1 }
        ]),
        "reload" => json!({ "applied": [HOSTILE], "restart": [HOSTILE], "warnings": [
            { "what": HOSTILE, "help": HOSTILE }
        ] }),
        "audit" => json!({ "lines": [HOSTILE] }),
        _changed => keyring,
    };
    (200, body)
}

/// Every command that sends a request to a gateway.
const ASKING: [&[&str]; 12] = [
    &["status"],
    &["top"],
    &["keys", "why", "1"],
    &["rotate", "--why", "a"],
    &["revoke", "--why", "a"],
    &["suspend", "1", "--why", "a"],
    &["restore", "1", "--why", "a"],
    &["archive", "1", "--why", "a"],
    &["destroy", "1", "--why", "a"],
    &["abort", "--why", "a"],
    &["drill", "--why", "a"],
    &["reload"],
];

#[test]
fn words_that_no_gateway_says_are_refused_and_steer_no_terminal() {
    let (folder, config) = deployment("nats://127.0.0.1:9");
    hostile_gateway(&folder.path().join("state/admin.sock"), |path| {
        hostile_answer(path, Words::Hostile)
    });
    for words in ASKING.iter().filter(|words| words[0] != "top") {
        clean(&[words, &["--config", path(&config)][..]].concat(), "");
    }
}

#[test]
fn answers_of_a_hostile_gateway_steer_no_terminal() {
    let (folder, config) = deployment("nats://127.0.0.1:9");
    hostile_gateway(&folder.path().join("state/admin.sock"), |path| {
        hostile_answer(path, Words::Known)
    });
    for words in ASKING {
        let place = ["--config", path(&config)];
        clean(&[words, &place].concat(), "x\\u{1b}[2K\\r\\nok ");
        if words[0] != "top" {
            clean(
                &[words, &place, &["--json"]].concat(),
                "x\\u001b[2K\\r\\nok ",
            );
        }
    }
    clean(
        &["revoke", "--dry-run", "--config", path(&config)],
        "error: ",
    );
    clean(&["audit", "tail", "--config", path(&config)], "");
    clean(
        &["audit", "tail", "--json", "--config", path(&config)],
        "x\\u001b[2K",
    );
}

#[test]
fn refusals_of_a_hostile_gateway_steer_no_terminal() {
    let (folder, config) = deployment("nats://127.0.0.1:9");
    hostile_gateway(&folder.path().join("state/admin.sock"), |_path| {
        (
            400,
            json!({ "error": HOSTILE, "help": HOSTILE, "who": HOSTILE }),
        )
    });
    for words in ASKING {
        let place = ["--config", path(&config)];
        clean(&[words, &place].concat(), "error: x\\u{1b}[2K\\r\\nok ");
    }
}

/// Sends a request through the admin socket; returns the whole answer.
fn ask(gateway: &Gateway, request: &str, body: &str) -> Vec<u8> {
    let mut socket = UnixStream::connect(gateway.state().join("admin.sock")).unwrap();
    let length = body.len();
    write!(socket, "{request} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let body = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap();
    answer.split_off(body.saturating_add(4))
}

#[test]
fn reasons_and_subjects_of_strangers_steer_no_log_and_no_reader_of_one() {
    for format in ["text", "json"] {
        let server = NatsServer::start();
        let mut gateway = Gateway::start(
            &server.url(),
            gateway::Settings {
                tables: format!("[log]\nformat = \"{format}\"\n"),
                ..Default::default()
            },
        );
        let mut client = RawClient::handshake(gateway.addr(), "");
        client.send(b"SUB > 1\r\n");
        client.flush();
        // On the bus itself: plaintext that the gateway withholds and logs.
        let mut stranger = RawClient::handshake(server.addr(), "");
        let subject: String = HOSTILE.split_ascii_whitespace().collect();
        stranger.publish(&subject, b"forged");
        stranger.flush();
        client.flush();
        let why = json!({ "why": HOSTILE }).to_string();
        is_clean(
            "rotate",
            &ask(&gateway, "POST /v1/keyrings/default/rotate", &why),
        );
        is_clean("audit", &ask(&gateway, "GET /v1/audit", ""));
        is_clean(
            "no such",
            &ask(&gateway, "POST /v1/keyrings/%1B%5B2K%0Aok/rotate", &why),
        );
        let place = ["--config", path(&gateway.config())].map(str::to_owned);
        let [option, config] = &place;
        for words in [["audit", "show"], ["audit", "tail"]] {
            clean(&[&words[..], &[option, config]].concat(), "manual");
            let json = [&words[..], &[option, config, "--json"]].concat();
            clean(&json, "u001b[2K");
        }
        clean(&["status", option, config], "ready");
        clean(&["keys", "why", "\u{1b}[2K", option, config], "error: ");
        clean(&["status", "\u{1b}[2K\u{9b}"], "\\u{9b}");
        assert!(gateway.process().terminate().success());
        let log = gateway.process().whole_log();
        is_clean("log", log.as_bytes());
        let escaped = ["x\\u{1b}[2K", "x\\u001b[2K"];
        for (what, shown) in [
            ("did not go through", &escaped[..]),
            ("key event", &["u{1b}[2K"]),
        ] {
            let mut lines = log.lines().filter(|line| line.contains(what));
            let shows = |line: &str| shown.iter().any(|shown| line.contains(shown));
            assert!(lines.any(shows), "{what}: {log}");
        }
    }
}
