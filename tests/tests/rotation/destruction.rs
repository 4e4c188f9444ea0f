//! Promise: no key is destroyed early because the server alone says so, nor by one person where approval takes two.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::gateway::{Settings, binary};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, scratch, wait};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Whether a command succeeds, and its output.
fn keyway(gateway: &Gateway, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    let output = command.args(words).arg("--config").arg(gateway.config());
    let output = output.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// The answer to an approval with a token.
fn approve_by_token(gateway: &Gateway, body: &str) -> String {
    let mut door = TcpStream::connect(gateway.admin()).unwrap();
    let length = body.len();
    write!(
        door,
        "POST /v1/keyrings/a/versions/1/destroy HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    door.read_to_string(&mut answer).unwrap();
    answer
}

fn is(gateway: &Gateway, state: &str) -> bool {
    gateway.states().get(state) == Some(&1)
}

/// A gateway with the keyring `a`; `admin` goes into `[admin]`, `lines` into the keyring.
fn started(server: &NatsServer, admin: &str, lines: &str) -> Gateway {
    let control = format!("[control]\nservers = [\"{}\"]\n", server.url());
    let keyring = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\noverlap = \"1s\"\n";
    let settings = Settings {
        tables: format!("{admin}{control}{keyring}{lines}\n"),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// The same with version 1 archived.
fn rotated(server: &NatsServer, admin: &str, lines: &str) -> Gateway {
    let gateway = started(server, admin, lines);
    archive(&gateway);
    gateway
}

fn archive(gateway: &Gateway) {
    gateway.rotate("a");
    wait::until("the end of the overlap", || {
        is(gateway, "archived").then_some(())
    });
}

/// A second person's token, in this folder, as a line of `[admin]`.
fn second(folder: &Path) -> String {
    let file = folder.join("token");
    std::fs::write(&file, TOKEN).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    format!("tokens = [{{ name = \"second\", file = {file:?} }}]\n")
}

#[test]
fn version_that_nothing_needs_is_held_and_the_reason_is_told_until_a_reload_holds_it_no_more() {
    let server = NatsServer::jetstream();
    let gateway = rotated(&server, "", "hold = \"10d\"");
    let (_done, why) = keyway(&gateway, &["keys", "why", "1"]);
    assert!(why.contains("held until"), "{why}");
    let written = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), written.replace("10d", "0s")).unwrap();
    let (done, said) = keyway(&gateway, &["reload"]);
    assert!(done, "{said}");
    // A message opened within the last minute, or the overlap, prevents it.
    wait::until("the destruction", || {
        is(&gateway, "destroyed").then_some(())
    });
}

#[test]
fn destruction_takes_a_second_person_over_a_restart() {
    let server = NatsServer::jetstream();
    let folder = scratch::folder("second");
    let admin = second(folder.path());
    let lines = "retain = \"archive\"\ndestroy = \"approved\"";
    let mut gateway = rotated(&server, &admin, lines);
    let approve = ["destroy", "1", "--approve", "--force", "--why", "agreed"];
    let (done, said) = keyway(&gateway, &approve);
    assert!(!done && said.contains("nobody has asked"), "{said}");
    let (done, said) = keyway(&gateway, &["destroy", "1", "--force", "--why", "old"]);
    assert!(
        done && said.contains("somebody else has to approve"),
        "{said}"
    );
    gateway.restart();
    for _ in 0..2 {
        let (done, said) = keyway(&gateway, &approve);
        assert!(!done && said.contains("somebody else has to"), "{said}");
    }
    // The approval must name that it is forced.
    let unaware = approve_by_token(&gateway, "{\"why\":\"fine\",\"approve\":true}");
    assert!(unaware.contains("by force"), "{unaware}");
    assert!(is(&gateway, "archived"));
    let body = "{\"why\":\"fine\",\"approve\":true,\"force\":true}";
    let answer = approve_by_token(&gateway, body);
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(is(&gateway, "destroyed"));
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let says = |words: &[&str]| {
        let mut lines = log.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(
        says(&["\"intent\"", "\"destroy-requested\"", "uid:", "old"]),
        "{log}"
    );
    let approved = [
        "\"intent\"",
        "\"destroy\"",
        "token:second",
        "fine; approves",
        "old",
    ];
    assert!(says(&approved), "{log}");
}

#[test]
fn approval_forces_nothing_that_was_not_asked_for_by_force() {
    let server = NatsServer::jetstream();
    let folder = scratch::folder("second");
    let lines = "retain = \"archive\"\ndestroy = \"approved\"";
    let gateway = started(&server, &second(folder.path()), lines);
    let mut tap = BusTap::open(server.addr());
    let mut agent = RawClient::agent(gateway.addr());
    agent.publish("a.b", b"secret");
    let sealed = tap.message("a.b");
    archive(&gateway);
    let (done, said) = keyway(&gateway, &["destroy", "1", "--why", "old"]);
    assert!(done && is(&gateway, "archived"), "{said}");
    // The version is needed again since.
    agent.subscribe("a.b");
    let mut bus = RawClient::agent(server.addr());
    bus.publish("a.b", sealed.payload());
    agent.until("what was sealed before", |bytes| {
        bytes.windows(6).any(|part| part == b"secret")
    });
    wait::until("that it is known", || {
        let (_done, why) = keyway(&gateway, &["keys", "why", "1"]);
        why.contains("was opened").then_some(())
    });
    let body = "{\"why\":\"fine\",\"approve\":true,\"force\":true}";
    let answer = approve_by_token(&gateway, body);
    assert!(answer.contains("was opened"), "{answer}");
    assert!(is(&gateway, "archived"));
}

#[test]
fn version_that_the_gateway_wants_destroyed_waits_for_anybody_s_approval() {
    let server = NatsServer::jetstream();
    let gateway = rotated(&server, "", "hold = \"0s\"\ndestroy = \"approved\"");
    wait::until("what it waits for", || {
        let (_done, status) = keyway(&gateway, &["status", "--json"]);
        status.contains("has to approve").then_some(())
    });
    assert!(is(&gateway, "archived"));
    let (done, said) = keyway(&gateway, &["destroy", "1", "--approve", "--why", "seen"]);
    assert!(done && said.contains("is destroyed"), "{said}");
}
