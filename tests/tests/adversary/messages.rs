//! Messages between agents: dropped, replayed, moved, relabelled.

use super::{SAID, arrived, assert_nothing_withheld, assert_withheld, envelope, these};
use keyway_tests::frame::Frame;
use keyway_tests::{HostileBus, NatsServer};
use std::collections::VecDeque;

const TWO: &str = "[[keyring]]\nname = \"a\"\nsubjects = [\"a.>\", \"_INBOX.>\"]\n\
    [[keyring]]\nname = \"b\"\nsubjects = \"b.>\"\n";

#[test]
fn a_dropped_message_is_missed_and_nothing_tells() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let mut number = 0;
    hostile.adversary.on_message("a.b", move |frame| {
        number += 1;
        if number == 2 { vec![] } else { vec![frame] }
    });
    let mut peer = hostile.pair.publisher();
    for payload in [b"one", b"two", b"six"] {
        peer.publish("a.b", payload);
    }
    assert_eq!(
        arrived(&mut victim),
        these(&[("a.b", b"one"), ("a.b", b"six")])
    );
    assert_nothing_withheld(&hostile);
}

#[test]
fn a_replayed_message_is_delivered_again() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    hostile
        .adversary
        .on_message("a.b", |frame| vec![frame.clone(), frame]);
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(arrived(&mut victim), these(&[("a.b", SAID), ("a.b", SAID)]));
    assert_nothing_withheld(&hostile);
}

#[test]
fn reordered_messages_are_delivered_in_the_servers_order() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let mut held = VecDeque::new();
    hostile.adversary.on_message("a.b", move |frame| {
        held.push_front(frame);
        if held.len() == 3 {
            held.drain(..).collect()
        } else {
            vec![]
        }
    });
    let mut peer = hostile.pair.publisher();
    for payload in [b"one", b"two", b"six"] {
        peer.publish("a.b", payload);
    }
    let expected: [(&str, &[u8]); 3] = [("a.b", b"six"), ("a.b", b"two"), ("a.b", b"one")];
    assert_eq!(arrived(&mut victim), these(&expected));
    assert_nothing_withheld(&hostile);
}

#[test]
fn envelopes_swapped_between_subjects_are_withheld() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let sealed = [
        envelope(&hostile, "x.b", b"buy"),
        envelope(&hostile, "x.c", b"sell"),
    ];
    hostile.forge(&[
        Frame::delivery("a.c", "1", &sealed[0]),
        Frame::delivery("a.b", "1", &sealed[1]),
    ]);
    assert_withheld(&hostile, &mut victim, "unauthentic", 2.0);
}

#[test]
fn a_message_relabelled_with_another_subject_is_withheld() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let relabel = |frame: Frame| vec![frame.with_subject("a.payroll")];
    hostile.adversary.on_message("a.b", relabel);
    hostile.pair.publisher().publish("a.b", SAID);
    assert_withheld(&hostile, &mut victim, "unauthentic", 1.0);
}

#[test]
fn envelopes_swapped_between_keyrings_are_withheld() {
    let hostile = HostileBus::with(NatsServer::start(), TWO);
    let mut victim = hostile.victim(">");
    let sealed = envelope(&hostile, "a.x", SAID);
    // The genuine one has arrived by the time it is swapped.
    assert_eq!(arrived(&mut victim), these(&[("a.x", SAID)]));
    victim.forget();
    let swapped = Frame::delivery("b.x", "1", &sealed);
    hostile.forge(&[swapped]);
    assert_withheld(&hostile, &mut victim, "wrong-keyring", 1.0);
}

#[test]
fn in_a_keyring_without_subject_binding_a_moved_envelope_is_delivered() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\nbind = \"keyring\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let mut victim = hostile.victim("a.>");
    hostile
        .adversary
        .on_message("a.b", |frame| vec![frame.with_subject("a.c")]);
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(arrived(&mut victim), these(&[("a.c", SAID)]));
}

#[test]
fn a_message_given_to_another_subscription_is_delivered_there() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.b");
    victim.send(b"SUB a.c 2\r\n");
    victim.flush();
    hostile
        .adversary
        .on_message("a.b", |frame| vec![frame.with_sid("2")]);
    hostile.pair.publisher().publish("a.b", SAID);
    let message = victim.message("a.b");
    assert_eq!((message.words()[1], message.payload()), ("2", SAID));
}

#[test]
fn plaintext_in_place_of_an_envelope_is_withheld() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let forge = |frame: Frame| vec![frame.with_payload(b"trust me")];
    hostile.adversary.on_message("a.b", forge);
    let mut peer = hostile.pair.publisher();
    peer.publish("a.b", SAID);
    peer.publish_with("a.b", "NATS/1.0\r\nA: b\r\n\r\n", SAID);
    assert_withheld(&hostile, &mut victim, "plaintext", 2.0);
}

#[test]
fn headers_stripped_added_or_changed_are_delivered_so_around_the_payload() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let mut forged = VecDeque::from([
        "",
        "NATS/1.0\r\nA: forged\r\n\r\n",
        "NATS/1.0\r\nNats-Msg-Id: 7\r\nKV-Operation: DEL\r\n\r\n",
        "NATS/1.0 503\r\n\r\n",
    ]);
    let expected = forged.clone();
    hostile.adversary.on_message("a.b", move |frame| {
        vec![frame.with_headers(forged.pop_front().unwrap())]
    });
    let mut peer = hostile.pair.publisher();
    for _ in &expected {
        peer.publish_with("a.b", "NATS/1.0\r\nA: b\r\n\r\n", SAID);
    }
    let arrived = victim.arrived();
    let headers: Vec<_> = arrived.iter().map(Frame::headers).collect();
    assert_eq!(
        headers,
        expected.iter().map(|h| h.as_bytes()).collect::<Vec<_>>()
    );
    assert!(arrived.iter().all(|frame| frame.payload() == SAID));
}

#[test]
fn headers_that_name_the_subject_count_for_nothing_between_agents() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let sealed = envelope(&hostile, "x.b", SAID);
    let moved = Frame::delivery("a.c", "1", &sealed);
    let source = "NATS/1.0\r\nNats-Stream-Source: s 1 > > x.b\r\n\r\n";
    let subject = "NATS/1.0\r\nNats-Subject: x.b\r\n\r\n";
    let frames = [source, subject].map(|headers| moved.with_headers(headers));
    hostile.forge(&frames);
    let requests = frames.map(|frame| frame.with_reply("_INBOX.x.1"));
    hostile.forge(&requests);
    assert_withheld(&hostile, &mut victim, "unauthentic", 4.0);
}

#[test]
fn as_a_sourced_stream_message_an_envelope_is_withheld_under_any_subject_but_its_own() {
    let hostile = HostileBus::with(NatsServer::start(), TWO);
    let mut victim = hostile.victim("*.c");
    let sealed = envelope(&hostile, "a.b", SAID);
    let moved = |subject: &str, origin: &str| {
        Frame::delivery(subject, "1", &sealed)
            .with_reply("$JS.ACK.s.c.1.1.1.1.0")
            .with_headers(&format!(
                "NATS/1.0\r\nNats-Stream-Source: s 1 > > {origin}\r\n\r\n"
            ))
    };
    let frames = [
        moved("a.c", "a.b"),
        moved("b.c", "a.b"),
        moved("a.c", "a.x"),
    ];
    hostile.forge(&frames);
    assert_eq!(arrived(&mut victim), []);
    assert_eq!(hostile.pair.withheld("wrong-keyring"), 1.0);
    assert_eq!(hostile.pair.withheld("unauthentic"), 2.0);
}
