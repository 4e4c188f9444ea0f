//! Promise: an operator's commands reach the intended gateway and no other, and what it writes to the state directory and the log
//! is true.

use keyway_tests::command::{code, json, keyway, path, stderr_of, text};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, gateway, scratch};
use serde_json::Value;

#[test]
fn rotate_switches_versions_under_traffic_and_the_old_one_still_opens() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    let mut client = RawClient::handshake(gateway.addr(), "");
    client.send(b"SUB talk.> 1\r\n");
    client.publish("talk.before", b"one");
    let config = gateway.config();
    let words = [
        "rotate",
        "--why",
        "a test",
        "--json",
        "--config",
        path(&config),
    ];
    let switched = json(&keyway(&words));
    client.publish("talk.after", b"two");
    let (before, after) = (tap.message("talk.before"), tap.message("talk.after"));
    assert_ne!(before.payload()[4..12], after.payload()[4..12], "the kid");
    // What the bus delivers late is still opened.
    let mut bus = RawClient::handshake(server.addr(), "");
    bus.send(format!("PUB talk.before {}\r\n", before.payload().len()).as_bytes());
    bus.send(&[before.payload(), b"\r\n"].concat());
    bus.flush();
    client.forget();
    let heard = client.flush();
    assert!(
        heard.iter().any(|frame| frame.payload() == b"one"),
        "{heard:?}"
    );
    let listed = json(&keyway(&["keys", "--json", "--config", path(&config)]));
    let states: Vec<&str> = listed["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["decrypt-only", "active"]);
    assert_eq!(listed["versions"][1]["label"], switched["to"]);
    assert!(gateway.process().log().contains("a test"));
    // Without a gateway the same command works on the state directory.
    gateway.process().kill();
    let third = keyway(&words);
    let line = stderr_of(&third).to_owned();
    assert!(
        line.contains("rotated") && line.contains("a test"),
        "{line}"
    );
    let third = json(&third);
    assert_eq!(third["from"], switched["to"]);
    gateway.restart();
    RawClient::handshake(gateway.addr(), "").publish("talk.third", b"three");
    let kid = third["kid"].as_str().unwrap();
    let carried = tap.message("talk.third");
    let hex: String = carried.payload()[4..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, kid);
}

#[test]
fn rotate_and_init_beside_a_gateway_that_they_do_not_reach_say_so() {
    let gateway = Gateway::sealing("nats://127.0.0.1:9");
    let config = gateway.config();
    let elsewhere = config.with_file_name("elsewhere.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let written = written.replace("[admin]\n", "[admin]\nsocket = \"elsewhere.sock\"\n");
    std::fs::write(&elsewhere, written).unwrap();
    let lost = keyway(&["rotate", "--why", "x", "--config", path(&elsewhere)]);
    assert_eq!(code(&lost), 4);
    let said = stderr_of(&lost);
    assert!(
        said.contains("elsewhere.sock") && said.contains("pass the `--config`"),
        "{said}"
    );
    for command in ["status", "doctor"] {
        let seen = keyway(&[command, "--config", path(&elsewhere)]);
        let said = text(&seen.stdout);
        assert!(said.contains("a gateway runs on"), "{command}: {said}");
        assert!(said.contains("elsewhere.sock"), "{command}: {said}");
    }
    let again = keyway(&["init", "--config", path(&config)]);
    assert_eq!(code(&again), 4);
    assert!(
        stderr_of(&again).contains("initialised already"),
        "{}",
        stderr_of(&again)
    );
}

#[test]
fn rotate_without_a_gateway_adds_no_keyring_to_those_of_another_configuration() {
    let folder = scratch::folder("rotate");
    let state = folder.path().join("state");
    let config = folder.path().join("keyway.toml");
    let keyring = "[[keyring]]\nname = \"agents\"\nsubjects = \"a.>\"\n";
    std::fs::write(&config, format!("state = {state:?}\n{keyring}")).unwrap();
    assert_eq!(code(&keyway(&["init", "--config", path(&config)])), 0);
    let configured = ["rotate", "--why", "x", "--config", path(&config)];
    assert_eq!(code(&keyway(&configured)), 0);
    let stranger = keyway(&["rotate", "--why", "x", "--state", path(&state)]);
    let said = stderr_of(&stranger);
    assert_eq!(code(&stranger), 4, "{said}");
    assert!(
        said.contains("agents") && said.contains("`--config`"),
        "{said}"
    );
    assert!(!state.join("catalogue/default.json").exists());
}

#[test]
fn announced_addresses_are_those_of_a_gateway_that_runs() {
    let mut gateway = Gateway::sealing("nats://127.0.0.1:9");
    let announced = gateway.state().join("ports.json");
    assert!(announced.exists());
    gateway.process().kill();
    // A failed start removes the addresses of the process before.
    let taken = std::net::TcpListener::bind(gateway.addr()).unwrap();
    let failed = keyway(&["run", "--config", path(&gateway.config())]);
    assert_eq!(code(&failed), 4, "{}", stderr_of(&failed));
    assert!(!announced.exists());
    drop(taken);
    gateway.restart();
    assert!(gateway.process().terminate().success());
    assert!(!announced.exists());
}

#[test]
fn doubts_about_the_configuration_are_in_the_log_s_format() {
    let settings = gateway::Settings {
        tables: "[log]\nformat = \"json\"\n".to_owned(),
        relay_only: true,
        ..Default::default()
    };
    let mut gateway = Gateway::start("nats://127.0.0.1:9", settings);
    assert!(gateway.process().terminate().success());
    let log = gateway.process().whole_log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let doubt = lines
        .iter()
        .find(|line| line["key"] == "relay-only")
        .unwrap();
    assert_eq!(doubt["level"], "WARN");
    assert!(
        doubt["line"].is_u64() && doubt["help"].is_string(),
        "{doubt}"
    );
}

#[test]
fn rotate_asks_for_a_reason_and_a_keyring_that_exists() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let config = gateway.config();
    let config = path(&config);
    assert_eq!(code(&keyway(&["rotate", "--config", config])), 2);
    assert_eq!(
        code(&keyway(&["rotate", "--why", " ", "--config", config])),
        2
    );
    let unknown = keyway(&["rotate", "nope", "--why", "x", "--config", config]);
    assert_eq!(code(&unknown), 2);
    assert!(stderr_of(&unknown).contains("name one of: default"));
}
