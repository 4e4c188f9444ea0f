//! Promise: the configured subjects, and no others, are sealed under their keyrings; what the server must read stays clear.

use keyway_tests::gateway::Settings;
use keyway_tests::operator::refused;
use keyway_tests::{Gateway, GatewayPair, NatsServer, RawClient, wait};
use std::path::Path;

const SAID: &[u8] = b"the launch code is 0000";

#[test]
fn the_most_specific_keyring_seals() {
    let tables = r#"
[[keyring]]
name = "all"
subjects = "a.>"
[[keyring]]
name = "calls"
subjects = "a.*.call"
[[keyring]]
name = "one"
subjects = ["a.b.call", "x.y"]
"#;
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber(">"));
    let mut agent = pair.publisher();
    let mut kids = Vec::new();
    for (subject, keyring) in [
        ("a.b", "all"),
        ("a.c.call", "calls"),
        ("a.b.call", "one"),
        ("x.y", "one"),
        ("a.b.call.d", "all"),
    ] {
        let sealed = || {
            pair.publish
                .metrics()
                .sum("keyway_sealed_messages_total", &[("keyring", keyring)])
        };
        let before = sealed();
        agent.publish(subject, SAID);
        assert_eq!(sealed() - before, 1.0, "{subject}");
        assert_eq!(subscriber.message(subject).payload(), SAID);
        let bus = tap.message(subject);
        bus.assert_sealed(SAID);
        kids.push(bus.kid());
    }
    assert_eq!(kids[0], kids[4]);
    assert_eq!(kids[2], kids[3]);
    kids.sort_unstable();
    kids.dedup();
    assert_eq!(kids.len(), 3);
    for open in ["x", "x.y.z", "b.a.call"] {
        agent.publish(open, SAID);
        assert_eq!(tap.message(open).payload(), SAID);
        assert_eq!(subscriber.message(open).payload(), SAID);
    }
}

#[test]
fn system_subjects_stay_clear_under_the_default_policy() {
    let pair = GatewayPair::start();
    let mut tap = pair.tap();
    let mut agent = pair.publisher();
    for subject in [
        "$JS.API.INFO",
        "$JS.hub.API.STREAM.NAMES",
        "$SRV.PING",
        "$SYS.x",
    ] {
        agent.publish(subject, b"{}");
        assert_eq!(tap.message(subject).payload(), b"{}", "{subject}");
    }
    agent.publish("$JS.ACK.s.c.1.2.3.4.5", b"+ACK");
    let acknowledged = tap.message("$JS.ACK.s.c.1.2.3.4.5");
    assert_eq!(acknowledged.payload(), b"+ACK");
    // Not every subject that begins with a dollar is a system subject: stores carry payloads of agents.
    for subject in ["$KV.b.k", "$JS.hub.API.$KV.b.k", "$O.b.C.x", "$mine"] {
        agent.publish(subject, SAID);
        tap.message(subject).assert_sealed(SAID);
    }
}

#[test]
fn a_service_that_is_discovered_answers_in_the_clear() {
    let pair = GatewayPair::start();
    let mut service = pair.subscriber("$SRV.PING");
    let mut bare = pair.bare();
    bare.subscribe("_INBOX.x.*");
    bare.request("$SRV.PING", "_INBOX.x.1", b"");
    service.message("$SRV.PING");
    service.publish("_INBOX.x.1", b"{\"name\":\"s\"}");
    assert_eq!(bare.message("_INBOX.x.1").payload(), b"{\"name\":\"s\"}");
}

#[test]
fn plaintext_is_accepted_in_a_migration_beside_envelopes() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\nplaintext = \"accept\"\nuntil = 2999-12-31\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber("a.>"));
    let mut bare = pair.bare();
    bare.publish("a.1", b"not moved yet");
    pair.publisher().publish("a.2", SAID);
    tap.message("a.2").assert_sealed(SAID);
    assert_eq!(subscriber.message("a.1").payload(), b"not moved yet");
    assert_eq!(subscriber.message("a.2").payload(), SAID);
    // An envelope that does not open is not plaintext; what only begins like one may be.
    let mut altered = tap.message("a.2").payload().to_vec();
    altered[40] ^= 1;
    bare.publish("a.2", &altered);
    bare.publish("a.2", &altered[..20]);
    let arrived = subscriber.arrived();
    assert_eq!(arrived.len(), 3);
    assert_eq!(arrived[2].payload(), &altered[..20]);
    assert_eq!(pair.withheld("unauthentic"), 1.0);
    let accepted = pair.deliver.metrics();
    assert_eq!(
        accepted.sum("keyway_plaintext_messages_total", &[("keyring", "a")]),
        2.0
    );
}

#[test]
fn in_a_migration_who_asks_in_plaintext_is_answered_in_plaintext() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\nplaintext = \"accept\"\nuntil = 2999-12-31\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let mut tap = pair.tap();
    let mut responder = pair.subscriber("a.ask");
    let (mut bare, mut agent) = (pair.bare(), pair.publisher());
    for (number, question) in [(1, &b"what?"[..]), (2, b"")] {
        let inbox = format!("_INBOX.x.{number}");
        bare.subscribe(&inbox);
        bare.request("a.ask", &inbox, question);
        wait::until("the request", || responder.arrived().pop());
        responder.publish(&inbox, SAID);
        assert_eq!(bare.message(&inbox).payload(), SAID);
        responder.forget();
    }
    agent.subscribe("_INBOX.y.1");
    agent.request("a.ask", "_INBOX.y.1", b"what?");
    responder.message("a.ask");
    responder.publish("_INBOX.y.1", SAID);
    assert_eq!(agent.message("_INBOX.y.1").payload(), SAID);
    tap.message("_INBOX.y.1").assert_sealed(SAID);
}

#[test]
fn a_gateway_does_not_start_after_the_migrations_last_day() {
    let folder = keyway_tests::scratch::folder("migration");
    let config = folder.path().join("keyway.toml");
    let text = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\nplaintext = \"accept\"\nuntil = 2020-01-01\n";
    std::fs::write(&config, text).unwrap();
    let (status, said) = refused(&config);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("the date has passed"), "{said}");
}

#[test]
fn a_relay_touches_nothing_and_needs_no_keys() {
    let server = NatsServer::start();
    let sealing = Gateway::sealing(&server.url());
    let broken = Settings {
        relay_only: true,
        state: Some(sealing.state()),
        ..Settings::default()
    };
    let catalogue = |state: &Path| state.join("catalogue.key");
    std::fs::write(catalogue(&sealing.state()), b"not a key").unwrap();
    let relay = Gateway::start(&server.url(), broken);
    let mut tap = keyway_tests::BusTap::open(server.addr());
    let (mut agent, mut other) = (
        RawClient::agent(relay.addr()),
        RawClient::agent(relay.addr()),
    );
    other.subscribe("a.>");
    agent.publish("a.1", SAID);
    assert_eq!(tap.message("a.1").payload(), SAID);
    assert_eq!(other.message("a.1").payload(), SAID);
    // The running gateway goes on sealing with the keys it has loaded; the relay passes envelopes on unchanged.
    RawClient::agent(sealing.addr()).publish("a.2", SAID);
    let bus = tap.message("a.2");
    bus.assert_sealed(SAID);
    assert_eq!(other.message("a.2").payload(), bus.payload());
    let rotated = relay.try_rotate("default");
    assert!(!rotated.0.success(), "{}", rotated.1);
}
