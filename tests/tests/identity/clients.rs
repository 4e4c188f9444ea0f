//! Promise: an official client that a keyring does not name is treated as by the server's permissions: it gets the one error that
//! does not end its connection, and never a plaintext.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::driver::{Client, Outcome, assert_passed, assert_same};
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, RawClient};

const PLANNER: &str = r#""user":"planner","pass":"p","headers":true"#;

/// The server lets the guest do everything; the gateway does not.
const LENIENT: &str = "authorization { users: [ {user: planner, password: p}, {user: guest, password: g} ] }\njetstream { store_dir: \"STORE\" }";

/// The server's own permissions deny the guest `a.>`.
const STRICT: &str = "authorization { users: [ {user: planner, password: p}, {user: guest, password: g, permissions: { publish: { deny: \"a.>\" }, subscribe: { deny: \"a.>\" } } } ] }";

/// `a.>` for the planner alone, in both directions; `b.>` for everybody.
const KEYRINGS: &str = "[[keyring]]\nname = \"open\"\nsubjects = [\"b.>\"]\n[[keyring]]\nname = \"k\"\nsubjects = [\"a.>\"]\npublish-by = [\"user:planner\"]\ndeliver-to = [\"user:planner\"]\n";

fn gateway(server: &NatsServer) -> Gateway {
    let settings = Settings {
        tables: KEYRINGS.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// Runs the scenario, while the planner publishes on `a`, then on `b`.
fn play(client: Client, url: &str, scenario: &str) -> Vec<Outcome> {
    let addr = url.trim_start_matches("nats://").parse().unwrap();
    client.edge(url, scenario, |cue| {
        assert_eq!(cue, "speak");
        let mut planner = RawClient::handshake(addr, PLANNER);
        planner.publish("b.first", b"open");
        planner.publish("a.x", b"secret");
        planner.publish("a.y", b"secret");
        planner.publish("b.last", b"open");
    })
}

fn is_treated_as_by_permissions(client: Client) {
    let (lenient, strict) = (
        NatsServer::configured(LENIENT),
        NatsServer::configured(STRICT),
    );
    let gateway = gateway(&lenient);
    for scenario in ["guest_publishes", "guest_subscribes"] {
        let by_server = play(client, &strict.url(), scenario);
        assert_passed("by the server's permissions", &by_server);
        let errors = |word: &str| {
            let seen = by_server[0].seen.iter();
            seen.filter(|line| line.to_lowercase().contains(word))
                .count()
        };
        assert!(errors("permissions violation") >= 1, "{by_server:?}");
        let by_gateway = play(client, &gateway.url(), scenario);
        assert_same("by the gateway's keyrings", &by_server, &by_gateway);
    }
    let labels = [("cause", "identity"), ("keyring", "k")];
    let metrics = gateway.metrics();
    for name in [
        "keyway_refused_messages_total",
        "keyway_withheld_messages_total",
    ] {
        assert_eq!(metrics.sum(name, &labels), 2.0, "{name}");
    }
}

#[test]
fn nats_py_is_treated_as_by_permissions() {
    is_treated_as_by_permissions(Client::Python);
}

#[test]
fn nats_js_is_treated_as_by_permissions() {
    is_treated_as_by_permissions(Client::JavaScript);
}

fn fails_at_once(client: Client) -> Vec<String> {
    let server = NatsServer::configured(LENIENT);
    let gateway = gateway(&server);
    let outcome = play(client, &gateway.url(), "guest_asks");
    assert_passed("requests of a guest", &outcome);
    outcome[0].seen.clone()
}

#[test]
fn nats_py_s_refused_requests_fail_at_once_and_others_are_answered() {
    let seen = fails_at_once(Client::Python);
    assert_eq!(
        seen,
        ["NoRespondersError", "NoStreamResponseError", "re: ?"]
    );
}

#[test]
fn nats_js_s_refused_requests_fail_at_once_and_others_are_answered() {
    let seen = fails_at_once(Client::JavaScript);
    let (last, refused) = seen.split_last().unwrap();
    assert_eq!(last, "re: ?");
    assert_eq!(refused.len(), 3);
    let at_once = |line: &String| line != "an answer" && !line.to_lowercase().contains("timeout");
    assert!(refused.iter().all(at_once), "{seen:?}");
}
