//! Promise: what was altered, moved, forged or injected on the bus is withheld and counted by its cause; the connection lives on.

use keyway_tests::agent::publish;
use keyway_tests::{GatewayPair, NatsServer, RawClient};

/// An envelope on the bus, and the subject that it was published on.
fn envelope(pair: &GatewayPair, subject: &str, payload: &[u8]) -> Vec<u8> {
    let mut tap = pair.tap();
    pair.publisher().publish(subject, payload);
    tap.message(subject).payload().to_vec()
}

/// Fails unless the subscriber has received nothing, and this many were withheld for this cause.
fn assert_withheld(pair: &GatewayPair, subscriber: &mut RawClient, cause: &str, count: f64) {
    assert_eq!(subscriber.arrived(), []);
    assert_eq!(pair.withheld(cause), count, "{cause}");
}

#[test]
fn one_flipped_bit_anywhere_is_withheld_and_counted_by_its_cause() {
    let pair = GatewayPair::start();
    let sealed = envelope(&pair, "a.b", b"hello");
    assert_eq!(sealed.len(), 48 + 5);
    let mut subscriber = pair.subscriber("a.b");
    let mut bare = pair.bare();
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        bare.send(&publish("a.b", None, &altered));
    }
    bare.publish("a.b", &sealed);
    // The genuine one comes through behind all the others, on the same connection.
    assert_eq!(subscriber.message("a.b").payload(), b"hello");
    assert_eq!(subscriber.arrived().len(), 1);
    // Magic; format and the unused flags; kid; an answer that was not requested; the other flags, lane, counter, ciphertext, tag.
    assert_eq!(pair.withheld("plaintext"), 16.0);
    assert_eq!(pair.withheld("bad-envelope"), 12.0);
    assert_eq!(pair.withheld("answer"), 1.0);
    assert_eq!(pair.withheld("unknown-key"), 64.0);
    assert_eq!(
        pair.withheld("unauthentic"),
        f64::from(3 + 128 + 32 + 5 * 8 + 128)
    );
}

#[test]
fn a_flipped_bit_in_a_reply_is_withheld_also_where_plaintext_replies_pass() {
    let pair = GatewayPair::start();
    let inbox = "_INBOX.abc.1";
    let sealed = envelope(&pair, inbox, b"hello");
    let mut requester = pair.subscriber(inbox);
    let mut bare = pair.bare();
    for bit in 16..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        bare.send(&publish(inbox, None, &altered));
    }
    bare.flush();
    assert_withheld(&pair, &mut requester, "bad-envelope", 12.0);
}

#[test]
fn an_envelope_cut_short_or_lengthened_is_withheld() {
    let pair = GatewayPair::start();
    let sealed = envelope(&pair, "a.b", b"hello");
    let mut subscriber = pair.subscriber("a.b");
    let mut bare = pair.bare();
    for len in 1..sealed.len() {
        bare.send(&publish("a.b", None, &sealed[..len]));
    }
    bare.publish("a.b", &[&sealed[..], b"!"].concat());
    assert_withheld(&pair, &mut subscriber, "plaintext", 1.0);
    // Down to a tag and no ciphertext it is an envelope, of another text.
    assert_eq!(pair.withheld("bad-envelope"), f64::from(48 - 2));
    assert_eq!(pair.withheld("unauthentic"), f64::from(5 + 1));
}

#[test]
fn an_envelope_moved_to_another_subject_is_withheld() {
    let pair = GatewayPair::start();
    let sealed = envelope(&pair, "a.b", b"hello");
    let mut subscriber = pair.subscriber(">");
    let mut bare = pair.bare();
    bare.publish("a.c", &sealed);
    bare.publish("a.b.c", &sealed);
    bare.publish("_INBOX.a.b", &sealed);
    bare.publish_with("a.d", "NATS/1.0\r\nNats-Subject: a.x\r\n\r\n", &sealed);
    assert_withheld(&pair, &mut subscriber, "unauthentic", 4.0);
}

#[test]
fn plaintext_injected_on_a_protected_subject_is_withheld() {
    let pair = GatewayPair::start();
    let mut subscriber = pair.subscriber(">");
    let mut bare = pair.bare();
    bare.publish("a.b", b"trust me");
    bare.publish("a.b", b"\0");
    bare.publish_with("a.b", "NATS/1.0\r\nA: b\r\n\r\n", b"trust me");
    bare.request("a.b", "_INBOX.x.1", b"trust me");
    assert_withheld(&pair, &mut subscriber, "plaintext", 4.0);
}

#[test]
fn plaintext_under_a_forged_status_line_is_withheld() {
    let pair = GatewayPair::start();
    let mut subscriber = pair.subscriber(">");
    let mut bare = pair.bare();
    let lines = [
        "503",
        "503 No Responders",
        "100 Idle Heartbeat",
        "404",
        "429 Too Many Requests",
    ];
    for line in lines {
        bare.publish_with("a.b", &format!("NATS/1.0 {line}\r\n\r\n"), b"trust me");
    }
    let forged =
        "NATS/1.0\r\nNats-Subject: $JS.EVENT.x\r\nNats-Stream: s\r\nNats-Sequence: 1\r\n\r\n";
    bare.publish_with("a.b", forged, b"trust me");
    assert_withheld(&pair, &mut subscriber, "plaintext", 6.0);
}

#[test]
fn an_envelope_of_another_keyring_is_withheld() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\nbind = \"keyring\"\n\
        [[keyring]]\nname = \"b\"\nsubjects = \"b.>\"\nbind = \"keyring\"\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let sealed = envelope(&pair, "a.x", b"hello");
    let mut subscriber = pair.subscriber(">");
    let mut bare = pair.bare();
    bare.publish("b.x", &sealed);
    assert_withheld(&pair, &mut subscriber, "wrong-keyring", 1.0);
    bare.publish("a.y", &sealed);
    assert_eq!(subscriber.message("a.y").payload(), b"hello");
}

#[test]
fn envelopes_of_a_stranger_are_withheld_while_others_go_on() {
    let pair = GatewayPair::start();
    let stranger = GatewayPair::start();
    let foreign = envelope(&stranger, "a.b", b"hello");
    let mut flooded = pair.subscriber("a.b");
    let mut other = pair.subscriber("a.c");
    let (mut bare, mut agent) = (pair.bare(), pair.publisher());
    for kid in 0..200_u8 {
        let mut made_up = foreign.clone();
        made_up[4] = kid;
        bare.send(&publish("a.b", None, &made_up));
    }
    bare.flush();
    agent.publish("a.c", b"meanwhile");
    agent.publish("a.b", b"and then");
    assert_eq!(other.message("a.c").payload(), b"meanwhile");
    assert_eq!(flooded.message("a.b").payload(), b"and then");
    assert_eq!(flooded.arrived().len(), 1);
    assert_eq!(pair.withheld("unknown-key"), 200.0);
}

#[test]
fn plaintext_on_an_inbox_that_nobody_was_told_of_is_withheld() {
    let pair = GatewayPair::start();
    let mut agent = RawClient::agent(pair.deliver.addr());
    agent.subscribe("mine.1");
    let mut bare = pair.bare();
    bare.publish("mine.1", b"unasked");
    assert_eq!(agent.arrived(), []);
    assert_eq!(pair.withheld("plaintext"), 1.0);
}

#[test]
fn on_an_unprotected_subject_everything_passes_unchanged() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let mut sealed = envelope(&pair, "a.b", b"hello");
    sealed[40] ^= 1;
    let mut subscriber = pair.subscriber("open.>");
    let mut bare = pair.bare();
    bare.publish("open.1", b"hi");
    bare.publish("open.2", &sealed);
    bare.publish("open.3", &[0xFA, 0x4B, 0x11]);
    assert_eq!(subscriber.message("open.1").payload(), b"hi");
    assert_eq!(subscriber.message("open.2").payload(), sealed);
    assert_eq!(subscriber.message("open.3").payload(), [0xFA, 0x4B, 0x11]);
}
