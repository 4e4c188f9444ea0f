//! Promise: everything that a first message needs is prepared before it comes: at a start, a rotation, a reload.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, RawClient, wait};

/// Odd, so that connections in turns of two, subscriber and publisher, have both been on every worker after as many turns.
const WORKERS: u32 = 3;
const KEYRING: &str = "[[keyring]]\nname = \"NAME\"\nsubjects = \"NAME.>\"\n";
const LANES: &str = "keyway_lanes_started_total";

fn keyring(name: &str) -> String {
    KEYRING.replace("NAME", name)
}

fn gateway(server: &NatsServer) -> Gateway {
    let settings = Settings {
        tables: format!(
            "[limits]\nworkers = {WORKERS}\n{}{}",
            keyring("a"),
            keyring("b")
        ),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// `keyway WORDS`, which must succeed.
fn run_command(gateway: &Gateway, words: &[&str]) {
    let done = keyway(&[words, &["--config", path(&gateway.config())]].concat());
    assert_eq!(code(&done), 0, "{words:?}: {}", stderr_of(&done));
}

/// Counts of what was made on demand: lanes that seal, lanes derived to open, versions waited for, grants.
fn made(gateway: &Gateway) -> [f64; 4] {
    let metrics = gateway.metrics();
    let of = |name, labels: &[_]| metrics.sum(name, labels);
    [
        of(LANES, &[]),
        of("keyway_lane_lookups_total", &[("found", "derived")]),
        of("keyway_key_misses_total", &[]),
        of("keyway_reservation_seconds_count", &[]),
    ]
}

fn lanes_of(gateway: &Gateway, keyring: &str) -> f64 {
    gateway.metrics().sum(LANES, &[("keyring", keyring)])
}

/// Fails if messages of new connections on every worker need anything made on demand.
fn assert_nothing_is_made_for_messages(gateway: &Gateway, subjects: &[&str]) {
    let before = made(gateway);
    for subject in subjects {
        for _worker in 0..WORKERS {
            let mut subscriber = RawClient::agent(gateway.addr());
            subscriber.subscribe(subject);
            RawClient::agent(gateway.addr()).publish(subject, b"first");
            assert_eq!(subscriber.message(subject).payload(), b"first");
        }
    }
    assert_eq!(made(gateway), before);
}

/// Waits until every worker has started this many lanes of the keyring.
fn await_lanes(gateway: &Gateway, keyring: &str, each: u32) {
    wait::until("a lane on every worker", || {
        (lanes_of(gateway, keyring) >= f64::from(each * WORKERS)).then_some(())
    });
}

#[test]
fn gateway_that_is_ready_has_all_that_first_messages_need() {
    let server = NatsServer::start();
    let mut gateway = gateway(&server);
    for _start in 0..2 {
        for keyring in ["a", "b"] {
            assert_eq!(lanes_of(&gateway, keyring), f64::from(WORKERS));
        }
        assert_nothing_is_made_for_messages(&gateway, &["a.x", "b.x"]);
        gateway.restart();
    }
}

#[test]
fn first_messages_after_a_switch_find_all_that_they_need() {
    let server = NatsServer::start();
    let gateway = gateway(&server);
    for (already, word) in [(1, "rotate"), (2, "revoke")] {
        run_command(&gateway, &[word, "a", "--why", "a test"]);
        await_lanes(&gateway, "a", already + 1);
        assert_nothing_is_made_for_messages(&gateway, &["a.x", "b.x"]);
    }
    assert_eq!(lanes_of(&gateway, "b"), f64::from(WORKERS));
}

#[test]
fn first_messages_of_a_keyring_that_a_reload_adds_find_all_that_they_need() {
    let server = NatsServer::start();
    let gateway = gateway(&server);
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text + &keyring("c")).unwrap();
    run_command(&gateway, &["reload"]);
    await_lanes(&gateway, "c", 1);
    assert_nothing_is_made_for_messages(&gateway, &["a.x", "b.x", "c.x"]);
}
