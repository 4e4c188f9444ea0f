//! Promise: one command does what an operator wants done to keys under live traffic, and a refusal says why and what would help.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

mod admin_commands;
mod admin_requests;
mod audit;
mod cli;
mod documents;
mod operating;
mod rollback;
mod state;
mod weakened_protection;

use keyway_tests::command::{code, json, keyway, path, stderr_of, text};
use keyway_tests::frame::Frame;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, gateway, metrics, scratch, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

const AGENTS: &str = "[[keyring]]\nname = \"agents\"\nsubjects = [\"agents.>\"]\n";

/// A gateway with the keyring `agents` and these lines in it.
fn agents(server: &str, lines: &str) -> Gateway {
    let settings = gateway::Settings {
        tables: format!("{AGENTS}{lines}"),
        ..Default::default()
    };
    Gateway::start(server, settings)
}

/// `keyway WORDS --config …` of this gateway.
fn run(gateway: &Gateway, words: &[&str]) -> Output {
    keyway(&[words, &["--config", path(&gateway.config())]].concat())
}

/// The JSON of a command that must succeed.
fn done(gateway: &Gateway, words: &[&str]) -> Value {
    let output = run(gateway, &[words, &["--json"]].concat());
    assert_eq!(code(&output), 0, "{words:?}: {}", stderr_of(&output));
    json(&output)
}

/// Fails unless the command exits with this code and names a cause and a remedy.
fn refused(gateway: &Gateway, words: &[&str], exit: i32, said: &[&str]) {
    let output = run(gateway, words);
    let text = stderr_of(&output);
    assert_eq!(code(&output), exit, "{words:?}: {text}");
    for word in said.iter().chain(&["error: ", "help: "]) {
        assert!(text.contains(word), "{words:?}: no `{word}` in {text}");
    }
}

/// The first version in `keyway status` that is in this state.
fn version(gateway: &Gateway, state: &str) -> Option<Value> {
    let status = done(gateway, &["status"]);
    let versions = status["keyrings"][0]["versions"]
        .as_array()
        .unwrap()
        .clone();
    versions
        .into_iter()
        .find(|version| version["state"] == state)
}

fn kid(frame: &Frame) -> String {
    let kid = frame.payload()[4..12].iter();
    kid.map(|byte| format!("{byte:02x}")).collect()
}

/// The answer of an admin socket to a request with these header lines: status, head, body.
fn ask(
    mut door: impl Read + Write,
    request: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let length = body.len();
    write!(door, "{request} HTTP/1.0\r\nHost: keyway\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}").unwrap();
    let mut answer = String::new();
    door.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn tcp(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).unwrap()
}

#[test]
fn revoked_version_seals_nothing_more_and_its_exposure_is_exact() {
    let server = NatsServer::start();
    let gateway = agents(&server.url(), "");
    let mut tap = BusTap::open(server.addr());
    let mut client = RawClient::handshake(gateway.addr(), "");
    client.send(b"SUB agents.> 1\r\n");
    for number in 0..7 {
        client.publish(&format!("agents.{number}"), b"secret");
    }
    let before = kid(&tap.message("agents.6"));
    let dry = done(&gateway, &["revoke", "--dry-run"]);
    assert_eq!(
        (&dry["state"], &dry["until"]),
        (&"active".into(), &Value::Null)
    );
    let revoked = done(&gateway, &["revoke", "--why", "laptop lost"]);
    let exposure = &revoked["exposure"];
    assert_eq!(exposure["kid"], before);
    assert_eq!(
        exposure["sealed"],
        serde_json::json!({"messages": 7, "bytes": 42})
    );
    assert_eq!(exposure["exact"], true);
    assert_eq!(exposure["subjects"], serde_json::json!(["agents.>"]));
    assert_eq!(exposure["opens"], false);
    assert!(exposure["until"].is_string() && exposure["lanes"].as_u64() >= Some(1));
    client.publish("agents.after", b"secret");
    let after = kid(&tap.message("agents.after"));
    assert_ne!(after, before);
    let active = version(&gateway, "active").unwrap();
    assert_eq!(
        (&active["kid"], &active["label"]),
        (&after.into(), &revoked["sealing"])
    );
    let label = exposure["label"].as_str().unwrap();
    refused(
        &gateway,
        &["revoke", label, "--why", "again"],
        8,
        &["already"],
    );
    refused(
        &gateway,
        &["restore", label, "--why", "x"],
        8,
        &["not suspended"],
    );
    let page = run(&gateway, &["revoke", "1", "--dry-run"]);
    assert!(
        text(&page.stdout).contains("agents.>"),
        "{}",
        text(&page.stdout)
    );
}

#[test]
fn version_goes_through_suspension_archive_and_destruction_by_command() {
    let server = NatsServer::start();
    let gateway = agents(&server.url(), "");
    let suspended = done(&gateway, &["suspend", "agents", "1", "--why", "odd"]);
    assert_eq!(suspended["versions"][0]["state"], "suspended");
    assert_eq!(suspended["versions"][1]["state"], "active");
    let restored = done(&gateway, &["restore", "1", "--why", "was nothing"]);
    assert_eq!(restored["versions"][0]["state"], "decrypt-only");
    refused(
        &gateway,
        &["archive", "2", "--why", "x"],
        8,
        &["only a decrypt-only version"],
    );
    refused(
        &gateway,
        &["destroy", "2", "--why", "x", "--force"],
        8,
        &["in use"],
    );
    let archived = done(&gateway, &["archive", "1", "--why", "done with it"]);
    assert_eq!(archived["versions"][0]["state"], "archived");
    let why = done(&gateway, &["keys", "why", "1"]);
    let reasons = why["reasons"].to_string();
    assert!(reasons.contains("JetStream cannot be asked"), "{why}");
    refused(
        &gateway,
        &["destroy", "1", "--why", "x"],
        4,
        &["cannot be proven", "[control]"],
    );
    let destroyed = done(&gateway, &["destroy", "1", "--force", "--why", "seen"]);
    assert_eq!(destroyed["versions"][0]["state"], "destroyed");
    refused(
        &gateway,
        &["destroy", "1", "--force", "--why", "x"],
        8,
        &["is destroyed"],
    );
    refused(
        &gateway,
        &["abort", "--why", "x"],
        8,
        &["no rotation is under way"],
    );
    refused(
        &gateway,
        &["suspend", "9", "--why", "x"],
        8,
        &["no version `9`"],
    );
    refused(&gateway, &["suspend", "--why", "x"], 2, &["which version"]);
    refused(&gateway, &["rotate", "--why", " "], 2, &["no reason"]);
    tells_who(&gateway, &["suspend", "archive", "destroy"]);
}

/// Fails unless the audit log ends with these actions and their requesters.
fn tells_who(gateway: &Gateway, actions: &[&str]) {
    let tail = done(gateway, &["audit", "tail", "-n", "50"]);
    let lines = tail["lines"].as_array().unwrap();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap())
        .collect();
    let uid = rustix::process::getuid().as_raw();
    for action in actions {
        let line = lines.iter().find(|line| line["action"] == *action);
        assert!(line.is_some(), "no {action} in {tail}");
        let line = line.unwrap();
        assert_eq!(line["who"], format!("uid:{uid}"));
        assert_eq!(line["through"], "admin-socket");
    }
    let shown = run(gateway, &["audit", "tail"]);
    assert!(
        text(&shown.stdout).contains("destroy"),
        "{}",
        stderr_of(&shown)
    );
}

#[test]
fn orders_are_carried_out_without_a_gateway_and_the_next_one_takes_them_up() {
    let server = NatsServer::start();
    let mut gateway = agents(&server.url(), "");
    gateway.process().kill();
    let switched = done(&gateway, &["rotate", "--why", "x", "--event", "personnel"]);
    assert!(
        switched["to"].as_str().unwrap().ends_with(".2"),
        "{switched}"
    );
    let revoked = done(&gateway, &["revoke", "--why", "lost"]);
    assert_eq!(revoked["exposure"]["label"], switched["to"]);
    let status = done(&gateway, &["status"]);
    assert_eq!(status["gateway"], Value::Null);
    assert_eq!(status["keyrings"][0]["versions"][1]["state"], "compromised");
    let why = done(&gateway, &["keys", "why", "2"]);
    assert!(why["reasons"].to_string().contains("evidence"), "{why}");
    assert_eq!(done(&gateway, &["drill"])["passed"], true);
    for running in [&["reload"][..], &["top"], &["audit", "tail"]] {
        refused(&gateway, running, 5, &["no gateway answers"]);
    }
    gateway.restart();
    let active = version(&gateway, "active").unwrap();
    assert_eq!(active["label"], revoked["sealing"]);
    assert_eq!(done(&gateway, &["drill"])["passed"], true);
}

#[test]
fn status_and_top_show_what_is_used_without_colours_in_a_log() {
    let server = NatsServer::start();
    let limits = "rotate = { messages = 900 }\nlimit = { messages = 1000 }\n";
    let gateway = agents(&server.url(), limits);
    let mut client = RawClient::handshake(gateway.addr(), "");
    for _ in 0..5 {
        client.send(b"PUB agents.a 2\r\nhi\r\n");
    }
    client.flush();
    let active = version(&gateway, "active").unwrap();
    assert_eq!(
        active["used"],
        serde_json::json!({"messages": 5, "bytes": 10})
    );
    assert_eq!(active["left"]["messages"], 995);
    assert_eq!(active["exhausted"], false);
    for words in [&["status"][..], &["top"]] {
        let shown = run(&gateway, words);
        let page = text(&shown.stdout);
        assert_eq!(code(&shown), 0, "{}", stderr_of(&shown));
        assert!(page.is_ascii() && !page.contains('\u{1b}'), "{page}");
        assert!(
            page.contains("[----------] 0.5 % of 1000 messages"),
            "{page}"
        );
        assert!(page.contains("ready"), "{page}");
    }
}

#[test]
fn reload_changes_thresholds_and_subjects_under_live_connections() {
    let server = NatsServer::start();
    let mut gateway = agents(&server.url(), "");
    let mut tap = BusTap::open(server.addr());
    let mut client = RawClient::handshake(gateway.addr(), "");
    client.send(b"SUB > 1\r\n");
    client.publish("agents.a", b"one");
    client.publish("tools.a", b"clear");
    assert_eq!(tap.message("tools.a").payload(), b"clear");
    let written = std::fs::read_to_string(gateway.config()).unwrap();
    // The new keyring comes first in the file; the old one keeps its index all the same.
    let changed = written.replace(
        AGENTS,
        &format!("[log]\nlevel = \"debug\"\n[[keyring]]\nname = \"tools\"\nsubjects = [\"tools.>\"]\n{AGENTS}rotate = {{ messages = 5 }}\n"),
    );
    let changed = changed.replace("[admin]\n", "[limits]\nworkers = 1\n[admin]\n");
    std::fs::write(gateway.config(), changed).unwrap();
    let reloaded = done(&gateway, &["reload"]);
    let applied = reloaded["applied"].to_string();
    for word in [
        "`tools` is new",
        "keyring.agents.rotate.messages: 1000000000 -> 5",
        "log.level",
    ] {
        assert!(applied.contains(word), "{reloaded}");
    }
    // The file names the port that the operating system chose at the start.
    assert_eq!(
        reloaded["restart"],
        serde_json::json!(["listen", "limits.workers"])
    );
    says_that_a_limit_has_changed(&gateway);
    tap.forget();
    client.publish("tools.b", b"two");
    let carried = tap.message("tools.b");
    assert_ne!(carried.payload(), b"two");
    for number in 0..8 {
        client.publish(&format!("agents.{number}"), b"three");
    }
    wait::until("a rotation by messages", || {
        version(&gateway, "decrypt-only")
    });
    let frames = client.flush();
    for payload in [&b"one"[..], b"two", b"three"] {
        let heard = frames.iter().filter(|frame| frame.verb() == "MSG");
        assert!(heard.map(Frame::payload).any(|heard| heard == payload));
    }
    let sealed = gateway
        .metrics()
        .sum("keyway_sealed_messages_total", &[("keyring", "tools")]);
    assert!((sealed - 1.0).abs() < 0.1, "{sealed}");
    let names = done(&gateway, &["status"])["keyrings"].clone();
    assert_eq!(
        (&names[0]["keyring"], &names[1]["keyring"]),
        (&"agents".into(), &"tools".into())
    );
    keeps_what_it_has(&mut gateway, &written);
    client.publish("agents.still", b"four");
    client.flush();
}

/// Changes limits of a keyring, not its subjects; fails unless the reload reports them.
fn says_that_a_limit_has_changed(gateway: &Gateway) {
    let changed = std::fs::read_to_string(gateway.config()).unwrap();
    let changed = changed.replace(
        "rotate = { messages = 5 }",
        "rotate = { messages = 5, bytes = 10_000 }\nlimit = { bytes = 100_000_000 }",
    );
    std::fs::write(gateway.config(), changed).unwrap();
    assert_eq!(
        done(gateway, &["reload"])["applied"],
        serde_json::json!([
            "keyring.agents.limit.bytes: 4398046511104 -> 100000000",
            "keyring.agents.rotate.bytes: 1099511627776 -> 10000"
        ])
    );
}

/// Fails unless a file with mistakes, and one without a keyring, change nothing; for SIGHUP the log says so.
fn keeps_what_it_has(gateway: &mut Gateway, first: &str) {
    std::fs::write(gateway.config(), first).unwrap();
    refused(gateway, &["reload"], 4, &["leaves some out", "restart"]);
    std::fs::write(gateway.config(), format!("{first}nonsense = 1\nmore = 2\n")).unwrap();
    gateway.process().signal(Signal::HUP);
    for word in ["nonsense", "nothing is reloaded"] {
        gateway
            .process()
            .line(word, |line| line.contains(word).then_some(()));
    }
    let socket = std::os::unix::net::UnixStream::connect(gateway.state().join("admin.sock"));
    let (status, _head, body) = ask(socket.unwrap(), "POST /v1/reload", "", "");
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("nonsense") && body.contains("more"), "{body}");
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let failed =
        |line: &&str| line.contains("\"action\":\"reload\"") && line.contains("\"refused\"");
    let failed: Vec<&str> = log.lines().filter(failed).collect();
    assert_eq!(failed.len(), 3, "{log}");
    let by_signal = |line: &&str| line.contains("\"through\":\"signal\"");
    assert!(failed.iter().any(by_signal), "{failed:?}");
    assert!(failed[2].contains("nonsense"), "{failed:?}");
}

#[test]
fn hang_up_signal_reloads() {
    let mut gateway = agents("nats://127.0.0.1:9", "");
    let written = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), format!("{written}overlap = \"7m\"\n")).unwrap();
    gateway.process().signal(Signal::HUP);
    gateway.process().line("the reload", |line| {
        line.contains("configuration reloaded").then_some(())
    });
    let overlap = done(&gateway, &["status"])["keyrings"][0]["terms"]["overlap_seconds"].clone();
    assert_eq!(overlap, 420);
}

#[test]
fn tcp_takes_a_token_for_what_the_owner_may_do_and_shows_the_rest() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let folder = scratch::folder("token");
    let file = folder.path().join("ci");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let settings = |file: &Path| gateway::Settings {
        top: format!(
            "admin.tokens = [{{ name = \"ci\", file = {file:?} }}]\nadmin.listen = \"127.0.0.1:0\"\n"
        ),
        ..Default::default()
    };
    let server = NatsServer::start();
    let mut gateway = with_tokens(&server.url(), settings(&file));
    let admin = gateway.admin();
    let rotate = "POST /v1/keyrings/default/rotate";
    for shown in [
        "",
        "Authorization: Bearer x\r\n",
        "Authorization: Basic eA==\r\n",
    ] {
        let (status, head, body) = ask(tcp(admin), rotate, shown, "{\"why\":\"x\"}");
        assert_eq!(status, 401, "{body}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
    }
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for other in ["Authorization: Basic eA==\r\n", &bearer] {
        for shown in [format!("{bearer}{other}"), format!("{other}{bearer}")] {
            let (status, _head, body) = ask(tcp(admin), rotate, &shown, "{\"why\":\"x\"}");
            assert_eq!(status, 401, "{body}");
        }
    }
    let (status, _head, body) = ask(tcp(admin), rotate, &bearer, "{\"why\":\"by token\"}");
    assert_eq!(status, 200, "{body}");
    let (status, _head, body) = ask(tcp(admin), "GET /v1/audit", &bearer, "");
    assert_eq!(status, 200);
    assert!(
        body.contains("token:ci") && body.contains("admin-tcp"),
        "{body}"
    );
    assert_eq!(metrics::get(admin, "/readyz").0, 200);
    assert!(gateway.process().terminate().success());
    let log = gateway.process().whole_log();
    assert!(!log.contains(TOKEN), "{log}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let again = keyway(&["run", "--config", path(&gateway.config())]);
    assert_eq!(code(&again), 4, "{}", stderr_of(&again));
    assert!(
        stderr_of(&again).contains("token of [admin]"),
        "{}",
        stderr_of(&again)
    );
}

/// The harness writes `[admin]` itself; these lines belong in it.
fn with_tokens(server: &str, settings: gateway::Settings) -> Gateway {
    let tokens = settings
        .top
        .lines()
        .next()
        .unwrap()
        .trim_start_matches("admin.");
    let tables = format!("{tokens}\n");
    Gateway::start(
        server,
        gateway::Settings {
            tables,
            top: String::new(),
            ..settings
        },
    )
}

#[test]
fn every_path_of_the_openapi_document_is_served() {
    let gateway = Gateway::sealing("nats://127.0.0.1:9");
    let door =
        || std::os::unix::net::UnixStream::connect(gateway.state().join("admin.sock")).unwrap();
    let (status, _head, body) = ask(door(), "GET /v1/openapi.json", "", "");
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&body).unwrap();
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path
                .replace("{keyring}", "default")
                .replace("{version}", "1");
            let request = format!("{} {path}", method.to_uppercase());
            let (status, _head, body) = ask(door(), &request, "", "");
            assert!(status != 404 && status != 405, "{request}: {status} {body}");
            count += 1;
        }
    }
    assert!(count > 20, "{document}");
}
