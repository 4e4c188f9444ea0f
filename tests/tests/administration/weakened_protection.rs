//! Promise: a configuration change that weakens protection is in the audit log before it takes effect, with old and new values;
//! it does not take effect where it cannot be logged.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::gateway::Settings;
use keyway_tests::operator::refused;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, metrics};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

const STRICT: &str = "[[keyring]]\nname = \"agents\"\nsubjects = [\"agents.>\"]\n";

fn lines(gateway: &Gateway) -> Vec<Value> {
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let lines = log.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

fn edit(gateway: &Gateway, from: &str, to: &str) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(gateway.config(), text.replace(from, to)).unwrap();
}

fn reload(gateway: &Gateway) -> Output {
    keyway(&["reload", "--config", path(&gateway.config())])
}

fn position(lines: &[Value], what: impl Fn(&Value) -> bool) -> usize {
    let found = lines.iter().position(what);
    found.unwrap_or_else(|| panic!("{lines:#?}"))
}

fn is_weaken(line: &Value, kind: &str) -> bool {
    line["kind"] == kind && line["action"] == "weaken"
}

fn digests(lines: &[Value]) -> Vec<&Value> {
    let policies = lines.iter().map(|line| &line["policy"]["sha256"]);
    policies.filter(|digest| !digest.is_null()).collect()
}

fn agents(server: &str) -> Gateway {
    let settings = Settings {
        tables: STRICT.to_owned(),
        ..Settings::default()
    };
    Gateway::start(server, settings)
}

#[test]
fn reload_that_unprotects_is_a_key_event_with_each_value_before_and_after() {
    let server = NatsServer::start();
    let gateway = agents(&server.url());
    edit(
        &gateway,
        "[\"agents.>\"]",
        "[\"agents.kept\"]\nopen-compromised = true",
    );
    assert_eq!(code(&reload(&gateway)), 0);
    let lines = lines(&gateway);
    let intent = position(&lines, |line| is_weaken(line, "intent"));
    let outcome = position(&lines, |line| is_weaken(line, "outcome"));
    let told = position(&lines, |line| line["note"] == "configuration-reloaded");
    assert!(intent < outcome && outcome < told);
    let changes = json!([
        {"key": "keyring.agents.open-compromised", "old": false, "new": true},
        {"key": "keyring.agents.subjects", "old": ["agents.>"], "new": ["agents.kept"]},
    ]);
    for line in [intent, outcome].map(|at| lines.get(at).unwrap()) {
        assert_eq!(line["changes"], changes, "{line}");
        assert_eq!(line["scope"], json!(["agents.>"]));
        assert!(line["who"].as_str().unwrap().starts_with("uid:"));
    }
    let told = lines.get(told).unwrap();
    assert_eq!(told["changes"], changes);
    let result = told["result"].as_str().unwrap();
    assert!(
        result.contains("keyring.agents.subjects: [\"agents.>\"] -> [\"agents.kept\"]"),
        "{result}"
    );
    let digests = digests(&lines);
    assert_eq!(digests.len(), 2);
    assert_ne!(digests.first(), digests.last());
}

#[test]
fn reload_that_weakens_is_refused_while_the_log_is_closed_and_one_that_does_not_is_done() {
    let server = NatsServer::start();
    let mut gateway = agents(&server.url());
    assert!(gateway.process().terminate().success());
    alter(&gateway.state().join("audit/log.jsonl"));
    gateway.restart();
    edit(&gateway, "[\"agents.>\"]", "[\"agents.kept\"]");
    let done = reload(&gateway);
    assert_eq!(code(&done), 4, "{}", stderr_of(&done));
    assert!(
        stderr_of(&done).contains("the audit log is closed"),
        "{}",
        stderr_of(&done)
    );
    let mut tap = BusTap::open(server.addr());
    RawClient::agent(gateway.addr()).publish("agents.a", b"secret");
    tap.message("agents.a").assert_sealed(b"secret");
    let (_status, ready) = metrics::get(gateway.admin(), "/readyz");
    assert!(ready.contains("audit log"), "{ready}");
    edit(&gateway, "[\"agents.kept\"]", "[\"agents.>\", \"more.>\"]");
    let done = reload(&gateway);
    assert_eq!(code(&done), 0, "{}", stderr_of(&done));
}

/// Alters one letter of the second line.
fn alter(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap();
    std::fs::write(log, text.replacen("\"intent\"", "\"Intent\"", 1)).unwrap();
}

#[test]
fn start_in_a_weaker_configuration_is_written_down_first_and_refused_where_that_cannot_be() {
    let mut gateway = agents("nats://127.0.0.1:9");
    assert!(gateway.process().terminate().success());
    let before = lines(&gateway).len();
    edit(
        &gateway,
        "subjects = [\"agents.>\"]",
        "subjects = [\"agents.>\"]\nretain = \"shred\"",
    );
    gateway.restart();
    assert!(gateway.process().terminate().success());
    let lines = lines(&gateway);
    let new = lines.get(before..).unwrap();
    let intent = position(new, |line| is_weaken(line, "intent"));
    let started = position(new, |line| line["note"] == "gateway-started");
    let outcome = position(new, |line| is_weaken(line, "outcome"));
    assert!(intent < started && started < outcome, "{new:#?}");
    let outcome = new.get(outcome).unwrap();
    let change = json!([{"key": "keyring.agents.retain", "old": "destroy", "new": "shred"}]);
    assert_eq!(
        (&outcome["changes"], &outcome["outcome"]),
        (&change, &json!("done"))
    );
    alter(&gateway.state().join("audit/log.jsonl"));
    gateway.restart();
    assert!(gateway.process().terminate().success());
    edit(&gateway, "[\"agents.>\"]", "[\"agents.kept\"]");
    let (status, said) = refused(&gateway.config());
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("protects less"), "{said}");
}

#[test]
fn start_that_changes_nothing_repeats_the_digest_and_no_event() {
    let mut gateway = agents("nats://127.0.0.1:9");
    gateway.restart();
    let lines = lines(&gateway);
    assert!(!lines.iter().any(|line| line["action"] == "weaken"));
    let digests = digests(&lines);
    assert_eq!(digests.len(), 2);
    assert_eq!(digests.first(), digests.last());
    let whole = lines
        .iter()
        .filter(|line| line["policy"]["settings"].is_object());
    assert_eq!(whole.count(), 1);
}

#[test]
fn relay_is_written_down_where_there_is_a_log_and_says_so_where_there_is_none() {
    let server = NatsServer::start();
    let mut gateway = agents(&server.url());
    assert!(gateway.process().terminate().success());
    edit(&gateway, "servers = ", "relay-only = true\nservers = ");
    gateway.restart();
    let (_status, ready) = metrics::get(gateway.admin(), "/readyz");
    assert!(ready.contains("degraded: it relays only"), "{ready}");
    assert!(!ready.contains("audit log"), "{ready}");
    assert!(gateway.process().terminate().success());
    let lines = lines(&gateway);
    let outcome = position(&lines, |line| is_weaken(line, "outcome"));
    let change = json!([{"key": "relay-only", "old": false, "new": true}]);
    assert_eq!(lines.get(outcome).unwrap()["changes"], change);
    assert_eq!(lines.last().unwrap()["note"], "gateway-stopped");
    let alone = Gateway::relay(&server.url());
    let (_status, ready) = metrics::get(alone.admin(), "/readyz");
    assert!(ready.contains("the audit log does not say so"), "{ready}");
}
