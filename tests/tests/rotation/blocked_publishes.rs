//! Promise: a failed command has no effect, now or later, except that a revoked version stops sealing, which the answer says; and
//! whatever blocks publishes is reported by status, readiness, log and metrics.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::agent::publish;
use keyway_tests::command::{code, json, keyway, path, stderr_of, text};
use keyway_tests::mount::Mount;
use keyway_tests::traffic::CoreTraffic;
use keyway_tests::{Gateway, NatsServer, RawClient, metrics, wait};
use serde_json::Value;
use std::fs;
use std::process::Output;

fn run_command(gateway: &Gateway, words: &[&str]) -> Output {
    let config = gateway.config();
    keyway(&[words, &["--why", "a test", "--config", path(&config)]].concat())
}

/// The only keyring, as `keyway status` has it.
fn keyring(gateway: &Gateway) -> Value {
    let config = gateway.config();
    let report = json(&keyway(&["status", "--json", "--config", path(&config)]));
    report["keyrings"][0].clone()
}

/// Waits until status, readiness, log and metrics report that publishes wait, with this cause and these words.
fn stands_still(gateway: &mut Gateway, cause: &str, words: &[&str]) {
    let field = format!("cause=\"{cause}\"");
    let line = gateway.process().line("publishes wait", |line| {
        let said = line.contains("publishes wait") && line.contains(&field);
        said.then(|| line.to_owned())
    });
    let (status, ready) = metrics::get(gateway.admin(), "/readyz");
    assert_eq!(status, 503, "{ready}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
        assert!(ready.contains(word), "{word}: {ready}");
    }
    assert_eq!(keyring(gateway)["stopped"], cause);
    let told = gateway.metrics();
    let labels = [("keyring", "default"), ("cause", cause)];
    assert_eq!(told.sum("keyway_publish_stopped", &labels), 1.0);
    assert_eq!(told.sum("keyway_publish_stopped", &[]), 1.0);
}

/// Waits until no publish waits, and nothing but this is degraded.
fn goes_on(gateway: &Gateway, degraded: &str) {
    wait::until("a gateway that is ready", || {
        let (status, said) = metrics::get(gateway.admin(), "/readyz");
        let lines = said.lines().filter(|line| !line.contains(degraded));
        (status == 200 && lines.eq(["ready"])).then_some(())
    });
    assert_eq!(keyring(gateway)["stopped"], Value::Null);
    let told = gateway.metrics();
    assert_eq!(told.sum("keyway_publish_stopped", &[]), 0.0);
}

/// A gateway with a version 1 that only opens and a version 2 that seals, and whose audit log is closed.
fn with_closed_log(server: &NatsServer) -> Gateway {
    let mut gateway = Gateway::sealing(&server.url());
    gateway.rotate("default");
    assert!(gateway.process().terminate().success());
    let log = gateway.state().join("audit/log.jsonl");
    let altered = fs::read_to_string(&log).unwrap();
    fs::write(&log, altered.replacen("begun", "begot", 1)).unwrap();
    gateway.restart();
    gateway
}

#[test]
fn order_that_a_closed_log_refuses_changes_nothing() {
    let server = NatsServer::start();
    let gateway = with_closed_log(&server);
    let core = CoreTraffic::start(gateway.addr(), 1);
    core.await_progress();
    let before = (
        gateway.states(),
        keyring(&gateway)["outlook"]["stage"].clone(),
    );
    for words in [
        &["rotate"][..],
        &["archive", "1"],
        &["destroy", "1", "--force"],
        &["abort"],
    ] {
        let done = run_command(&gateway, words);
        assert_ne!(code(&done), 0, "{words:?}");
        let said = stderr_of(&done);
        let closed = said.contains("audit log is closed") || words == ["abort"];
        assert!(closed, "{words:?}: {said}");
        assert!(!said.contains("nothing is sealed"), "{words:?}: {said}");
        goes_on(&gateway, "audit log is closed");
        let after = (
            gateway.states(),
            keyring(&gateway)["outlook"]["stage"].clone(),
        );
        assert_eq!(before, after, "{words:?}");
    }
    core.await_progress();
    assert_eq!(core.finish().connections, 1);
}

#[test]
fn revocation_that_a_closed_log_refuses_stops_the_sealing_and_says_so_everywhere() {
    let server = NatsServer::start();
    let cases = [
        (&["suspend", "2"][..], "suspended"),
        (&["revoke"], "revoked"),
    ];
    for (words, mark) in cases {
        let mut gateway = with_closed_log(&server);
        let done = run_command(&gateway, words);
        assert_eq!(code(&done), 4, "{}", stderr_of(&done));
        for word in [
            "nothing is sealed under",
            "could not be written down",
            "audit log is closed",
            "a restart goes on with the order",
        ] {
            assert!(
                stderr_of(&done).contains(word),
                "{word}: {}",
                stderr_of(&done)
            );
        }
        stands_still(
            &mut gateway,
            "halted",
            &["audit log is closed", "publishes"],
        );
        let version = &keyring(&gateway)["versions"][1];
        assert_eq!(
            (&version["state"], &version["halted"]),
            (&"active".into(), &true.into())
        );
        let config = gateway.config();
        let shown = keyway(&["status", "--config", path(&config)]);
        let page = String::from_utf8(shown.stdout).unwrap();
        assert!(page.contains("halted: does not seal"), "{page}");
        let shown = keyway(&["revoke", "--dry-run", "--config", path(&config)]);
        let page = String::from_utf8(shown.stdout).unwrap();
        assert!(page.contains("and no more"), "{page}");
        // As the answer said.
        gateway.restart();
        stands_still(&mut gateway, "halted", &["audit log is closed"]);
        assert!(gateway.process().terminate().success());
        is_told_at_rest(&gateway, mark);
        let log = gateway.state().join("audit/log.jsonl");
        let whole = fs::read_to_string(&log).unwrap();
        fs::write(&log, whole.replacen("begot", "begun", 1)).unwrap();
        gateway.restart();
        goes_on(&gateway, "nothing");
        let states = gateway.states();
        let revoked = ["compromised", "suspended"].map(|state| states.get(state).copied());
        assert_eq!(states["active"], 1, "{states:?}");
        assert!(revoked.contains(&Some(1)), "{states:?}");
    }
}

/// Fails unless every command that shows version 2 without a gateway says that it does not seal, and why.
fn is_told_at_rest(gateway: &Gateway, mark: &str) {
    let config = gateway.config();
    let told = |words: &[&str]| keyway(&[words, &["--config", path(&config)]].concat());
    let version = &keyring(gateway)["versions"][1];
    assert_eq!(version["halted"], true, "{version}");
    let keys = json(&told(&["keys", "--json"]));
    assert_eq!(keys["versions"][0]["mark"], Value::Null, "{keys}");
    assert_eq!(keys["versions"][1]["mark"], mark, "{keys}");
    for (words, said) in [
        (&["status"][..], "halted: does not seal"),
        (&["keys"], &format!("active ({mark})")),
        (&["revoke", "--dry-run"], "and no more"),
        (&["keys", "why", "2"], "nothing is sealed under it"),
    ] {
        let shown = told(words);
        let page = text(&shown.stdout);
        assert!(page.contains(said), "{words:?}: {page}");
    }
}

#[test]
fn rotation_that_a_full_disk_refuses_is_not_made_once_there_is_room() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let Some(mount) = Mount::under(&mut gateway, 2304) else {
        return;
    };
    let filler = mount.fill();
    let (status, said) = gateway.try_rotate("default");
    assert!(
        !status.success() && said.contains("no space left"),
        "{said}"
    );
    fs::remove_file(filler).unwrap();
    // By then every retry has happened.
    goes_on(&gateway, "nothing");
    assert_eq!(
        gateway.states().into_iter().collect::<Vec<_>>(),
        [("active".to_owned(), 1)]
    );
}

#[test]
fn revocation_that_a_full_disk_refuses_is_told_and_made_once_there_is_room() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    gateway.process().kill();
    fs::remove_file(gateway.state().join("audit/reserve")).unwrap();
    let Some(mount) = Mount::small(&gateway.state(), 768) else {
        return;
    };
    gateway.restart();
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.b");
    let mut publisher = RawClient::agent(gateway.addr());
    let filler = mount.fill();
    let done = run_command(&gateway, &["revoke"]);
    assert_eq!(code(&done), 4, "{}", stderr_of(&done));
    assert!(
        stderr_of(&done).contains("nothing is sealed under"),
        "{}",
        stderr_of(&done)
    );
    stands_still(&mut gateway, "halted", &["o space left", "publishes"]);
    publisher.send(&publish("a.b", None, b"waits"));
    fs::remove_file(filler).unwrap();
    assert_eq!(subscriber.message("a.b").payload(), b"waits");
    goes_on(&gateway, "no reserve");
    let states = gateway.states();
    assert_eq!(
        (states["compromised"], states["active"]),
        (1, 1),
        "{states:?}"
    );
}

#[test]
fn budget_that_ends_while_a_closed_log_lets_no_successor_be_made_is_told() {
    let server = NatsServer::start();
    let mut gateway = with_closed_log(&server);
    // Its budget ends, and no successor can be made.
    let tables = "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\n\
                  rotate = { messages = 9 }\nlimit = { messages = 10 }\n";
    let text = fs::read_to_string(gateway.config()).unwrap();
    fs::write(gateway.config(), format!("{text}\n{tables}")).unwrap();
    gateway.restart();
    let mut publisher = RawClient::agent(gateway.addr());
    publisher.send(&publish("a.b", None, b"x").repeat(20));
    stands_still(
        &mut gateway,
        "used-up",
        &["audit log is closed", "publishes"],
    );
}
