//! Promise: agents behind gateways can read each other's messages, and no plaintext is on the bus.

mod key_warm_up;
mod keyring_strictness;
mod policy_modes;
mod sealed_bus;
mod tampering;
mod unopenable_destinations;
mod versions;
mod withheld_causes;
mod withheld_status;

use keyway_tests::agent::publish;
use keyway_tests::envelope::{MAGIC, OVERHEAD, assert_no_plaintext};
use keyway_tests::{GatewayPair, NatsServer, RawClient};

/// A plaintext that must not be on the bus.
const SAID: &str = "the launch code is 0000";

#[test]
fn two_gateways_on_copies_of_a_state_directory_understand_each_other_also_after_restarts() {
    let mut pair = GatewayPair::start();
    for round in 0..3 {
        let mut subscriber = pair.subscriber("agents.*");
        pair.publisher().publish("agents.a", SAID.as_bytes());
        let message = subscriber.message("agents.a");
        assert_eq!(message.payload(), SAID.as_bytes(), "round {round}");
        match round {
            0 => pair.publish.restart(),
            _ => pair.deliver.restart(),
        }
    }
}

#[test]
fn the_bus_carries_envelopes_only() {
    let pair = GatewayPair::start();
    let mut tap = RawClient::agent(pair.server.addr());
    tap.subscribe(">");
    let (mut agent, mut other) = (pair.publisher(), pair.subscriber(">"));
    agent.publish("agents.a", SAID.as_bytes());
    agent.publish_with("agents.b", "NATS/1.0\r\nTrace: 17\r\n\r\n", SAID.as_bytes());
    agent.subscribe("_INBOX.q.*");
    agent.request("agents.c", "_INBOX.q.1", SAID.as_bytes());
    other.message("agents.c");
    other.publish("_INBOX.q.1", SAID.as_bytes());
    assert_eq!(agent.message("_INBOX.q.1").payload(), SAID.as_bytes());

    let frames = tap.arrived();
    for subject in ["agents.a", "agents.b", "agents.c", "_INBOX.q.1"] {
        let frame = frames.iter().find(|frame| frame.subject() == subject);
        frame.unwrap().assert_sealed(SAID.as_bytes());
    }
    // Nor anywhere else in what the server sent.
    assert_no_plaintext(tap.received(), SAID.as_bytes());
    let headers = other.message("agents.b");
    assert_eq!(headers.headers(), b"NATS/1.0\r\nTrace: 17\r\n\r\n");
    assert_eq!(headers.payload(), SAID.as_bytes());
    let bus = frames.iter().find(|frame| frame.subject() == "agents.b");
    assert_eq!(bus.unwrap().headers(), headers.headers());
}

#[test]
fn both_suites_are_understood_whatever_the_other_keyring_uses() {
    let tables = r#"
[[keyring]]
name = "gcm"
subjects = "g.>"
suite = "aes-256-gcm"
[[keyring]]
name = "siv"
subjects = "s.>"
suite = "aes-256-gcm-siv"
"#;
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber(">"));
    let mut agent = pair.publisher();
    for (subject, suite) in [("g.x", 1), ("s.x", 2)] {
        agent.publish(subject, SAID.as_bytes());
        let bus = tap.message(subject);
        bus.assert_sealed(SAID.as_bytes());
        assert_eq!(bus.payload()[2], 0x10 | suite, "{bus:?}");
        assert_eq!(subscriber.message(subject).payload(), SAID.as_bytes());
    }
}

#[test]
fn a_payload_that_looks_like_an_envelope_is_sealed_again_and_arrives_unchanged() {
    let pair = GatewayPair::start();
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber("a.*"));
    let mut agent = pair.publisher();
    agent.publish("a.1", SAID.as_bytes());
    let envelope = tap.message("a.1").payload().to_vec();
    for (subject, payload) in [("a.2", &envelope[..]), ("a.3", &MAGIC[..])] {
        agent.publish(subject, payload);
        let bus = tap.message(subject);
        assert!(bus.payload().starts_with(&MAGIC), "{bus:?}");
        assert_eq!(bus.payload().len(), payload.len() + OVERHEAD);
        assert_eq!(subscriber.message(subject).payload(), payload);
    }
}

#[test]
fn an_empty_payload_passes_unchanged() {
    let pair = GatewayPair::start();
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber("a.*"));
    let mut agent = pair.publisher();
    agent.publish("a.1", b"");
    agent.publish_with("a.2", "NATS/1.0\r\nA: b\r\n\r\n", b"");
    for subject in ["a.1", "a.2"] {
        assert_eq!(tap.message(subject).payload(), b"");
        assert_eq!(subscriber.message(subject).payload(), b"");
    }
    assert_eq!(
        subscriber.message("a.2").headers(),
        b"NATS/1.0\r\nA: b\r\n\r\n"
    );
}

#[test]
fn a_payload_of_the_max_payload_that_info_names_arrives() {
    let server = NatsServer::configured("max_payload: 70000");
    let pair = GatewayPair::with(server, "", "");
    let mut subscriber = pair.subscriber("big.*");
    let mut agent = pair.publisher();
    let most = agent.info()["max_payload"].as_u64().unwrap();
    assert_eq!(most, 70_000 - 48);
    let payload = vec![b'x'; usize::try_from(most).unwrap()];
    agent.publish("big.1", &payload);
    assert_eq!(subscriber.message("big.1").payload(), payload);
    // Headers count.
    let headers = "NATS/1.0\r\nA: b\r\n\r\n";
    agent.publish_with("big.2", headers, &payload[headers.len()..]);
    let message = subscriber.message("big.2");
    assert_eq!(message.payload().len(), payload.len() - headers.len());
}

#[test]
fn one_byte_more_than_the_max_payload_that_info_names_is_refused_in_the_servers_words() {
    let server = NatsServer::configured("max_payload: 70000");
    let pair = GatewayPair::with(server, "", "");
    let mut subscriber = pair.subscriber("big.*");
    for more in [1, 48, 49] {
        let mut agent = pair.publisher();
        agent.send(&publish("big.1", None, b"before"));
        agent.send(&publish("big.2", None, &vec![b'x'; 70_000 - 48 + more]));
        let said = agent.until_end().to_vec();
        assert!(
            said.ends_with(b"-ERR 'Maximum Payload Violation'\r\n"),
            "{more}: {}",
            said.escape_ascii()
        );
        assert_eq!(subscriber.message("big.1").payload(), b"before");
        assert_eq!(subscriber.arrived().len(), 1, "{more}");
        subscriber.forget();
    }
}

#[test]
fn a_reply_is_sealed_as_its_request_was_whatever_the_inbox() {
    let tables = "[[keyring]]\nname = \"agents\"\nsubjects = \"agents.>\"\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let mut tap = pair.tap();
    let mut responder = pair.subscriber("*.ask");
    for inbox in ["_INBOX.abc.1", "_INBOX_me.abc.2", "my.inbox.3", "solo"] {
        let mut requester = pair.publisher();
        requester.subscribe(inbox);
        requester.request("agents.ask", inbox, b"what is it?");
        let request = responder.message("agents.ask");
        assert_eq!(request.words()[2], inbox);
        assert_eq!(request.payload(), b"what is it?");
        responder.publish(inbox, SAID.as_bytes());
        assert_eq!(requester.message(inbox).payload(), SAID.as_bytes());
        tap.message("agents.ask").assert_sealed(b"what is it?");
        tap.message(inbox).assert_sealed(SAID.as_bytes());
        responder.forget();
        tap.forget();
    }
}

#[test]
fn a_reply_to_a_plaintext_request_on_an_unprotected_subject_is_plaintext() {
    let tables = "[[keyring]]\nname = \"agents\"\nsubjects = \"agents.>\"\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let mut responder = pair.subscriber("*.ask");
    let mut bare = pair.bare();
    for inbox in ["_INBOX.abc.1", "my.inbox.2"] {
        bare.subscribe(inbox);
        bare.request("open.ask", inbox, b"what is it?");
        assert_eq!(responder.message("open.ask").payload(), b"what is it?");
        responder.publish(inbox, b"for everybody");
        assert_eq!(bare.message(inbox).payload(), b"for everybody");
    }
}

#[test]
fn an_inbox_under_the_default_policy_is_sealed_also_on_a_prefix_of_ones_own() {
    let pair = GatewayPair::start();
    let mut tap = pair.tap();
    let mut responder = pair.subscriber("ask");
    for inbox in ["_INBOX.abc.1", "mine.1"] {
        let mut requester = pair.publisher();
        requester.subscribe(inbox);
        requester.request("ask", inbox, b"what is it?");
        responder.message("ask");
        responder.publish(inbox, SAID.as_bytes());
        assert_eq!(requester.message(inbox).payload(), SAID.as_bytes());
        tap.message(inbox).assert_sealed(SAID.as_bytes());
        responder.forget();
    }
}

#[test]
fn a_reply_to_an_empty_request_on_a_protected_subject_is_sealed() {
    for tables in [
        "",
        "[[keyring]]\nname = \"agents\"\nsubjects = \"agents.>\"\n",
    ] {
        let pair = GatewayPair::with(NatsServer::start(), "", tables);
        let mut tap = pair.tap();
        let mut responder = pair.subscriber("agents.ask");
        for inbox in ["_INBOX.abc.1", "my.inbox.2"] {
            let mut requester = pair.publisher();
            requester.subscribe(inbox);
            requester.request("agents.ask", inbox, b"");
            responder.message("agents.ask");
            responder.publish(inbox, SAID.as_bytes());
            assert_eq!(requester.message(inbox).payload(), SAID.as_bytes());
            tap.message(inbox).assert_sealed(SAID.as_bytes());
            responder.forget();
        }
    }
}

#[test]
fn no_responders_reaches_the_requester() {
    let pair = GatewayPair::start();
    let mut requester = pair.publisher();
    requester.subscribe("_INBOX.abc.*");
    requester.request("nobody.home", "_INBOX.abc.1", b"hello?");
    let status = requester.message("_INBOX.abc.1");
    assert!(
        status.headers().starts_with(b"NATS/1.0 503\r\n"),
        "{status:?}"
    );
    assert_eq!(status.payload(), b"");
}

#[test]
fn a_mapped_subject_opens_by_its_alias_and_not_without() {
    for (aliases, opens) in [
        (
            "aliases = [{ from = \"orders.*\", to = \"eu.orders.*\" }]",
            true,
        ),
        ("", false),
    ] {
        let server = NatsServer::configured("mappings = { \"orders.*\": \"eu.orders.$1\" }");
        let tables = format!(
            "[[keyring]]\nname = \"orders\"\nsubjects = [\"orders.>\", \"eu.orders.>\"]\n{aliases}\n"
        );
        let pair = GatewayPair::with(server, "", &tables);
        let mut subscriber = pair.subscriber("eu.>");
        pair.publisher().publish("orders.7", SAID.as_bytes());
        if opens {
            let message = subscriber.message("eu.orders.7");
            assert_eq!(message.payload(), SAID.as_bytes());
        } else {
            assert_eq!(subscriber.arrived(), []);
            assert_eq!(pair.withheld("unauthentic"), 1.0);
        }
    }
}

#[test]
fn an_envelope_bound_to_its_keyring_opens_on_any_subject_of_it() {
    let server = NatsServer::configured("mappings = { \"orders.*\": \"eu.orders.$1\" }");
    let tables = "[[keyring]]\nname = \"orders\"\nsubjects = [\"orders.>\", \"eu.orders.>\"]\nbind = \"keyring\"\n";
    let pair = GatewayPair::with(server, "", tables);
    let mut tap = pair.tap();
    let mut subscriber = pair.subscriber("eu.>");
    pair.publisher().publish("orders.7", SAID.as_bytes());
    assert_eq!(subscriber.message("eu.orders.7").payload(), SAID.as_bytes());
    let bus = tap.message("eu.orders.7");
    assert_eq!(bus.payload()[3], 0, "the bound flag: {bus:?}");
}

#[test]
fn equal_messages_look_different_and_name_one_key_version() {
    let pair = GatewayPair::start();
    let mut tap = pair.tap();
    let mut agent = pair.publisher();
    agent.publish("a.1", SAID.as_bytes());
    agent.publish("a.1", SAID.as_bytes());
    pair.publisher().publish("a.1", SAID.as_bytes());
    let frames = tap.until("three messages", |frames| frames.len() == 3);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.kid(), frames[0].kid());
        for other in &frames[index + 1..] {
            assert_ne!(frame.payload()[32..], other.payload()[32..]);
        }
    }
}
