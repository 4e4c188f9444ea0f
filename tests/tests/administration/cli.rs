//! Promise: the command line does what its page says, tells scripts by exit codes what went wrong, and leaves nothing behind.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, json, keyway, keyway_reading, path, stderr_of, text};
use keyway_tests::crash_injection::CrashInjection;
use keyway_tests::{
    BusTap, Gateway, NatsServer, RawClient, gateway, metrics, scratch, tools, wait,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

#[test]
fn check_reports_every_mistake_and_exits_with_3() {
    let folder = scratch::folder("check");
    let file = folder.path().join("keyway.toml");
    std::fs::write(&file, "lisen = \"x\"\nrelay-only = 3\nstate = \"s\"\n").unwrap();
    let plain = keyway(&["check", path(&file)]);
    let said = text(&plain.stderr);
    assert_eq!(code(&plain), 3, "{said}");
    assert!(said.contains(":1:") && said.contains(":2:"), "{said}");
    assert!(said.contains("help: "), "{said}");
    let machine = keyway(&["check", "--json", path(&file)]);
    let report = json(&machine);
    assert_eq!((code(&machine), &report["valid"]), (3, &Value::Bool(false)));
    assert_eq!(report["errors"].as_array().unwrap().len(), 2, "{report}");
    std::fs::write(&file, "state = \"s\"\n").unwrap();
    assert_eq!(code(&keyway(&["check", path(&file)])), 0);
    assert_eq!(code(&keyway(&["run", "--config", "/nonexistent"])), 3);
}

#[test]
fn init_makes_a_state_directory_once_and_overwrites_nothing() {
    let folder = scratch::folder("init");
    let state = folder.path().join("state");
    let missing = keyway(&["keys", "--state", path(&state)]);
    assert_eq!(code(&missing), 4, "{}", text(&missing.stderr));
    assert_eq!(code(&keyway(&["init", "--state", path(&state)])), 0);
    let kek = std::fs::read(state.join("kek")).unwrap();
    let again = keyway(&["init", "--state", path(&state)]);
    assert_eq!(code(&again), 4, "{}", text(&again.stderr));
    assert_eq!(std::fs::read(state.join("kek")).unwrap(), kek);
    let listed = keyway(&["keys", "--json", "--state", path(&state)]);
    assert_eq!(json(&listed)["versions"].as_array().unwrap().len(), 0);
}

/// The state directory of an `init` with these arguments that was killed at this step; `None` if it finished before.
fn killed_at(step: usize, death: &CrashInjection, words: &[&str]) -> Option<(TempDir, PathBuf)> {
    let folder = scratch::folder("killed-init");
    let state = folder.path().join("state");
    let ended = death.with_kill_at(step, |environment| {
        let mut command = Command::new(gateway::binary());
        command.args(words).arg("--state").arg(&state);
        command
            .envs(environment.iter().copied())
            .envs([CrashInjection::EVERY_CHANGE]);
        command.output().unwrap()
    });
    ended.status.code().is_none().then_some((folder, state))
}

#[test]
fn init_that_was_killed_is_finished_by_the_next_or_by_what_it_says() {
    let death = CrashInjection::new();
    death.arm();
    let (mut killed, mut told) = (0, 0);
    while let Some((_folder, state)) = killed_at(killed, &death, &["init", "--proxy-key"]) {
        let had_key = state.join("proxy.nk").exists();
        let next = keyway(&["init", "--proxy-key", "--state", path(&state)]);
        let said = stderr_of(&next);
        if code(&next) != 0 {
            assert!(
                said.contains("holds a catalogue already"),
                "{killed}: {said}"
            );
            let remedy = format!("`keyway proxy-key --state {}` makes", path(&state));
            assert_eq!(said.contains(&remedy), !had_key, "{killed}: {said}");
            told += usize::from(!had_key);
        }
        let shown = keyway(&["proxy-key", "--state", path(&state)]);
        assert_eq!(code(&shown), 0, "{killed}: {}", stderr_of(&shown));
        assert!(text(&shown.stdout).contains("proxy key "), "{killed}");
        let verified = keyway(&["audit", "verify", "--state", path(&state)]);
        assert_eq!(code(&verified), 0, "{killed}: {}", stderr_of(&verified));
        killed += 1;
    }
    assert!(killed > 40 && told > 0, "{killed} {told}");
}

#[test]
fn passphrase_comes_from_a_file_and_a_wrong_one_is_refused() {
    let folder = scratch::folder("passphrase");
    let (state, right, wrong) = (
        folder.path().join("state"),
        folder.path().join("right"),
        folder.path().join("wrong"),
    );
    for (file, words) in [
        (&right, "correct horse battery"),
        (&wrong, "incorrect horse battery"),
    ] {
        std::fs::write(file, words).unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file, closed).unwrap();
    }
    let with = |command, file| {
        keyway(&[
            command,
            "--state",
            path(&state),
            "--passphrase-file",
            path(file),
        ])
    };
    assert_eq!(code(&with("init", &right)), 0);
    assert_eq!(code(&with("keys", &right)), 0);
    let refused = with("keys", &wrong);
    assert_eq!(code(&refused), 4);
    assert!(text(&refused.stderr).contains("wrong passphrase"));
    assert_eq!(code(&keyway(&["keys", "--state", path(&state)])), 4);
    // Keyway must be able to write there.
    for fd in ["1", "2"] {
        let misused = keyway(&["keys", "--passphrase-fd", fd]);
        assert_eq!(code(&misused), 2, "{}", stderr_of(&misused));
    }
}

#[test]
fn inspect_explains_every_published_vector() {
    let folder = scratch::folder("inspect");
    let file = scratch::repository().join("docs/envelope-vectors.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for vector in vectors["opens"].as_array().unwrap() {
        let envelope = vector["envelope"].as_str().unwrap();
        let words = ["inspect", "--json", "--state", path(folder.path())];
        let said = json(&keyway_reading(&words, envelope.as_bytes()));
        for field in ["kid", "lane", "counter"] {
            assert_eq!(said[field], vector[field], "{vector}");
        }
        assert_eq!(said["bound"].as_bool(), Some(!vector["subject"].is_null()));
        assert_eq!(said["envelope_bytes"], envelope.len() / 2);
    }
    let refused = keyway_reading(&["inspect"], b"just text");
    assert_eq!(code(&refused), 6, "{}", text(&refused.stderr));
    for unreadable in ["/nonexistent", path(folder.path())] {
        let refused = keyway(&["inspect", unreadable]);
        assert_eq!(code(&refused), 4, "{}", stderr_of(&refused));
        assert!(stderr_of(&refused).contains("help: name a readable file"));
    }
}

#[test]
fn inspect_opens_what_the_gateway_sealed_and_only_for_its_subject() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    RawClient::handshake(gateway.addr(), "").publish("talk.a", b"secret");
    let sealed = tap.message("talk.a");
    let state = gateway.state();
    let open = |more: &[&str]| {
        let words = [&["inspect", "--open", "--state", path(&state)], more].concat();
        keyway_reading(&words, sealed.payload())
    };
    let opened = open(&["--subject", "talk.a"]);
    assert_eq!(opened.stdout, b"secret", "{}", text(&opened.stderr));
    // As in a pipe: `nats sub --raw` appends a line end to the payload.
    let piped = [sealed.payload(), b"\n"].concat();
    let words = ["inspect", "--open", "--state", path(&state)];
    let words = [&words[..], &["--subject", "talk.a"]].concat();
    let opened = keyway_reading(&words, &piped);
    assert_eq!(opened.stdout, b"secret", "{}", text(&opened.stderr));
    let explained = keyway_reading(&["inspect", "--state", path(&state)], &piped);
    assert!(stderr_of(&explained).contains("line end"));
    assert_eq!(
        json(&open(&["--subject", "talk.a", "--json"]))["plaintext_base64"],
        "c2VjcmV0"
    );
    let moved = open(&["--subject", "talk.b"]);
    assert_eq!((code(&moved), moved.stdout.as_slice()), (6, &b""[..]));
    let unsaid = open(&[]);
    assert_eq!(code(&unsaid), 2);
    assert!(text(&unsaid.stderr).contains("--subject"));
}

#[test]
fn readiness_follows_the_server_and_health_does_not() {
    let mut server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let ready = || metrics::get(gateway.admin(), "/readyz");
    assert_eq!(ready(), (200, "ready\n".to_owned()));
    server.kill();
    // The gateway notices it with the first client that finds no server.
    RawClient::connect(gateway.addr()).until_end();
    let (status, reasons) = ready();
    assert_eq!(status, 503);
    assert!(reasons.contains("no NATS server"), "{reasons}");
    assert_eq!(
        metrics::get(gateway.admin(), "/healthz"),
        (200, "ok\n".to_owned())
    );
    server.restart();
    RawClient::handshake(gateway.addr(), "");
    wait::until("readiness", || (ready().0 == 200).then_some(()));
    // Key operations are not offered on TCP.
    assert_eq!(metrics::get(gateway.admin(), "/v1/keyrings").0, 404);
}

/// The answer of the unix socket to a request.
fn ask(socket: &Path, head: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    write!(stream, "{head} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn admin_socket_lists_and_switches_and_says_who_has_to_act() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let socket = gateway.state().join("admin.sock");
    let rotate = "POST /v1/keyrings/default/rotate";
    let (status, switched) = ask(&socket, rotate, "{\"why\":\"a test\"}");
    assert_eq!(
        (status, &switched["keyring"]),
        (200, &Value::from("default"))
    );
    let (_, keyrings) = ask(&socket, "GET /v1/keyrings", "");
    assert_eq!(
        keyrings[0]["versions"][1]["kid"], switched["kid"],
        "{keyrings}"
    );
    let (_, status) = ask(&socket, "GET /v1/status", "");
    assert_eq!(
        (&status["ready"], &status["relay_only"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    for (request, body, status, who) in [
        (rotate, "{}", 400, "client"),
        (rotate, "{\"why\":\" \"}", 400, "client"),
        (
            "POST /v1/keyrings/nope/rotate",
            "{\"why\":\"x\"}",
            422,
            "operator",
        ),
        ("GET /v1/keyrings/default/rotate", "", 405, "client"),
        ("GET /v2", "", 404, "client"),
    ] {
        let (answered, problem) = ask(&socket, request, body);
        assert_eq!(
            (answered, &problem["who"]),
            (status, &Value::from(who)),
            "{request}: {problem}"
        );
        assert_ne!(problem["help"], "", "{request}");
    }
    let relay = Gateway::relay(&server.url());
    let (status, problem) = ask(&relay.state().join("admin.sock"), rotate, "{\"why\":\"x\"}");
    assert_eq!(status, 409, "{problem}");
}

#[test]
fn every_metric_that_is_served_is_on_its_page_with_its_labels() {
    let page = std::fs::read_to_string(scratch::repository().join("docs/metrics.md")).unwrap();
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    RawClient::handshake(gateway.addr(), "").publish("talk.a", b"secret");
    let served = gateway.metrics();
    let samples = served
        .text()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut count = 0;
    for sample in samples {
        let (name, labels) = sample.split_once([' ', '{']).unwrap();
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` ")));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no row for {name}"));
        for label in labels
            .split_once('}')
            .map_or("", |(labels, _)| labels)
            .split(',')
        {
            let label = label.split('=').next().unwrap();
            assert!(
                label.is_empty() || label == "le" || row.contains(&format!("`{label}`")),
                "{row}: {label}"
            );
        }
        count += 1;
    }
    assert!(count > 20, "{}", served.text());
}

#[test]
fn demo_in_a_log_is_plain_text_keeps_its_promises_and_leaves_nothing() {
    let folder = scratch::folder("demo");
    let shown = Command::new(gateway::binary())
        .args(["demo", "--nats-server"])
        .arg(tools::path("server"))
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let page = text(&shown.stdout);
    assert_eq!(code(&shown), 0, "{page}{}", text(&shown.stderr));
    assert!(page.is_ascii() && !page.contains('\u{1b}'), "{page}");
    assert_eq!(page.matches("  ok: ").count(), 4, "{page}");
    let events = ["switched by hand", "replaced by usage", "revoked"];
    let happened = events.map(|event| page.matches(&format!("| key {event}: ")).count());
    assert_eq!(happened, [1, 2, 1], "{page}");
    // The exposure of a leaked key is counted by the gateway.
    assert!(
        page.contains("exposed: ") && !page.contains("at most"),
        "{page}"
    );
    assert!(page.contains("of 1000 messages sealed"), "{page}");
    assert!(page.lines().all(|line| line.len() <= 100), "{page}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(code(&keyway(&["demo", "--nats-server", "/nonexistent"])), 5);
}

#[test]
fn interrupted_demo_ends_its_server_and_removes_its_folders() {
    let folder = scratch::folder("demo");
    let mut child = Command::new(gateway::binary())
        .args(["demo", "--nats-server"])
        .arg(tools::path("server"))
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // At the first line everything runs.
    let mut first = [0; 1];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
    let ended = child.wait().unwrap().code();
    // The demo may just have finished.
    assert!(matches!(ended, Some(130 | 0)), "{ended:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let mut child = Command::new(gateway::binary())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stderr)), (0, ""));
}
