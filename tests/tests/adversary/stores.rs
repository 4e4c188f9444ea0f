//! Streams and stores: altered stored messages.

use super::{SAID, arrived, assert_withheld, envelope, these};
use keyway_tests::agent::publish;
use keyway_tests::frame::Frame;
use keyway_tests::{HostileBus, NatsServer, RawClient};

/// The headers of a stored message in the answer to a direct get.
fn stored(subject: &str) -> String {
    format!(
        "NATS/1.0\r\nNats-Stream: KV_b\r\nNats-Subject: {subject}\r\nNats-Sequence: 1\r\nNats-Time-Stamp: 2026-01-01T00:00:00Z\r\n\r\n"
    )
}

/// A client with an unanswered direct get of the key `a`.
fn reader(hostile: &HostileBus) -> RawClient {
    let mut victim = hostile.victim("_INBOX.v.*");
    hostile.adversary.on_message("_INBOX.v.1", |_frame| vec![]);
    let subject = "$JS.API.DIRECT.GET.KV_b.$KV.b.a";
    victim.send(&publish(subject, Some("_INBOX.v.1"), b""));
    victim.flush();
    victim.forget();
    victim
}

/// The same for the first stored message.
fn reader_of_any(hostile: &HostileBus) -> RawClient {
    let mut victim = hostile.victim("_INBOX.v.*");
    hostile.adversary.on_message("_INBOX.v.1", |_frame| vec![]);
    let body = br#"{"seq":1}"#;
    victim.request("$JS.API.DIRECT.GET.KV_b", "_INBOX.v.1", body);
    victim.forget();
    victim
}

fn answer(payload: &[u8]) -> Frame {
    Frame::delivery("_INBOX.v.1", "1", payload)
}

#[test]
fn a_forged_deletion_is_delivered() {
    let hostile = HostileBus::start();
    let mut watcher = hostile.victim("$KV.b.>");
    let headers = "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n";
    let deletion = Frame::delivery("$KV.b.a", "1", b"").with_headers(headers);
    hostile.forge(&[deletion]);
    let seen = watcher.message("$KV.b.a");
    assert_eq!(
        (seen.headers(), seen.payload()),
        (headers.as_bytes(), &b""[..])
    );
}

#[test]
fn a_put_made_a_deletion_by_its_header_is_delivered_so() {
    let hostile = HostileBus::start();
    let mut watcher = hostile.victim("$KV.b.>");
    let headers = "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n";
    hostile
        .adversary
        .on_message("$KV.b.a", move |frame| vec![frame.with_headers(headers)]);
    hostile.pair.publisher().publish("$KV.b.a", SAID);
    let seen = watcher.message("$KV.b.a");
    assert_eq!((seen.headers(), seen.payload()), (headers.as_bytes(), SAID));
}

#[test]
fn a_value_of_another_key_is_withheld_in_a_watch() {
    let hostile = HostileBus::start();
    let mut watcher = hostile.victim("$KV.b.>");
    let sealed = envelope(&hostile, "$KV.c.a", SAID);
    hostile.forge(&[Frame::delivery("$KV.b.a", "1", &sealed)]);
    assert_withheld(&hostile, &mut watcher, "unauthentic", 1.0);
}

#[test]
fn a_message_id_stripped_on_the_way_lets_a_repeated_publish_be_stored_twice() {
    let hostile = HostileBus::with(NatsServer::jetstream(), "");
    let mut bare = hostile.pair.bare();
    bare.subscribe("_INBOX.b.*");
    let config = br#"{"name":"s","subjects":["s.>"]}"#;
    bare.request("$JS.API.STREAM.CREATE.s", "_INBOX.b.1", config);
    bare.message("_INBOX.b.1");
    hostile.adversary.on_publish(|_connection, frame| {
        let strip = frame.has_body() && frame.subject().starts_with("s.");
        vec![if strip { frame.with_headers("") } else { frame }]
    });
    let mut victim = hostile.victim("_INBOX.v.*");
    for number in 1..=2 {
        let headers = "NATS/1.0\r\nNats-Msg-Id: 7\r\n\r\n";
        let inbox = format!("_INBOX.v.{number}");
        let total = headers.len() + SAID.len();
        let line = format!("HPUB s.a {inbox} {} {total}\r\n{headers}", headers.len());
        victim.send(&[line.as_bytes(), SAID, b"\r\n"].concat());
        let stored = victim.message(&inbox);
        let said: serde_json::Value = serde_json::from_slice(stored.payload()).unwrap();
        assert_eq!(said["seq"], number, "{said}");
    }
}

/// SECURITY.md: in the answer to a direct get the server names the subject that a message was stored under.
#[test]
fn a_direct_get_answered_with_another_key_of_the_keyring_is_delivered_under_its_true_name_only() {
    let hostile = HostileBus::start();
    let sealed = envelope(&hostile, "$KV.b.z", SAID);
    let mut victim = reader_of_any(&hostile);
    let true_name = answer(&sealed).with_headers(&stored("$KV.b.z"));
    let false_name = answer(&sealed).with_headers(&stored("$KV.b.a"));
    hostile.forge(&[false_name, true_name.clone()]);
    let seen = victim.arrived();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].headers(), true_name.headers());
    assert_eq!(seen[0].payload(), SAID);
    assert_eq!(hostile.pair.withheld("unauthentic"), 1.0);
}

#[test]
fn a_direct_get_answered_without_a_subject_is_withheld() {
    let hostile = HostileBus::start();
    let asked = envelope(&hostile, "$KV.b.a", SAID);
    let other = envelope(&hostile, "$KV.b.z", SAID);
    let mut victim = reader(&hostile);
    let unnamed = |sealed| answer(sealed).with_headers("NATS/1.0\r\nNats-Sequence: 1\r\n\r\n");
    hostile.forge(&[unnamed(&other), answer(&other), unnamed(&asked)]);
    assert_withheld(&hostile, &mut victim, "answer", 3.0);
}

#[test]
fn a_direct_get_of_a_subject_answered_with_another_is_withheld() {
    let hostile = HostileBus::start();
    let sealed = envelope(&hostile, "$KV.b.z", SAID);
    let mut victim = reader(&hostile);
    hostile.forge(&[answer(&sealed).with_headers(&stored("$KV.b.z"))]);
    assert_withheld(&hostile, &mut victim, "answer", 1.0);
}

#[test]
fn a_direct_get_of_the_last_of_one_subject_answered_with_another_is_withheld() {
    let hostile = HostileBus::start();
    let asked = envelope(&hostile, "$KV.b.a", SAID);
    let other = envelope(&hostile, "$KV.b.z", SAID);
    let mut victim = hostile.victim("_INBOX.v.*");
    hostile.adversary.on_message("_INBOX.v.1", |_frame| vec![]);
    let body = br#"{"multi_last":["$KV.b.a"]}"#;
    victim.request("$JS.API.DIRECT.GET.KV_b", "_INBOX.v.1", body);
    victim.forget();
    let named = |sealed, subject| answer(sealed).with_headers(&stored(subject));
    hostile.forge(&[named(&other, "$KV.b.z"), named(&asked, "$KV.b.a")]);
    assert_eq!(arrived(&mut victim), these(&[("_INBOX.v.1", SAID)]));
    assert_eq!(hostile.pair.withheld("answer"), 1.0);
}

#[test]
fn a_subject_named_where_nothing_stored_was_asked_for_counts_for_nothing() {
    let hostile = HostileBus::start();
    let sealed = envelope(&hostile, "$KV.b.a", SAID);
    let mut victim = hostile.victim("_INBOX.v.*");
    victim.request("a.ask", "_INBOX.v.1", SAID);
    victim.forget();
    hostile.forge(&[answer(&sealed).with_headers(&stored("$KV.b.a"))]);
    assert_withheld(&hostile, &mut victim, "unauthentic", 1.0);
}

#[test]
fn a_value_that_is_out_of_date_is_delivered() {
    let hostile = HostileBus::start();
    let old = envelope(&hostile, "$KV.b.a", b"old");
    let _new = envelope(&hostile, "$KV.b.a", b"new");
    let mut victim = reader(&hostile);
    hostile.forge(&[answer(&old).with_headers(&stored("$KV.b.a"))]);
    assert_eq!(arrived(&mut victim), these(&[("_INBOX.v.1", b"old")]));
}

#[test]
fn plaintext_in_the_answer_to_a_direct_get_is_withheld() {
    let hostile = HostileBus::start();
    let mut victim = reader(&hostile);
    hostile.forge(&[
        answer(b"trust me").with_headers(&stored("$KV.b.a")),
        answer(b"trust me").with_headers("NATS/1.0\r\nNats-Sequence: 1\r\n\r\n"),
        answer(b"trust me"),
    ]);
    assert_withheld(&hostile, &mut victim, "plaintext", 3.0);
}

#[test]
fn plaintext_of_an_unprotected_subject_is_withheld_where_a_protected_one_was_asked_for() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"$KV.b.>\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let mut victim = reader(&hostile);
    hostile.forge(&[
        answer(b"trust me").with_headers(&stored("$KV.b.a")),
        answer(b"trust me").with_headers(&stored("open.x")),
    ]);
    assert_eq!(arrived(&mut victim), []);
    assert_eq!(hostile.pair.withheld("plaintext"), 1.0);
    assert_eq!(hostile.pair.withheld("answer"), 1.0);
}

#[test]
fn a_direct_get_answered_from_another_keyring_is_delivered_under_its_true_name_only() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"$KV.b.>\"\n[[keyring]]\nname = \"b\"\nsubjects = \"c.>\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let sealed = envelope(&hostile, "c.x", SAID);
    let mut victim = reader_of_any(&hostile);
    let named = |subject: &str| answer(&sealed).with_headers(&stored(subject));
    hostile.forge(&[named("$KV.b.a"), named("c.y"), named("c.x")]);
    let seen = victim.arrived();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].headers(), stored("c.x").as_bytes());
    assert_eq!(hostile.pair.withheld("wrong-keyring"), 1.0);
    assert_eq!(hostile.pair.withheld("unauthentic"), 1.0);
}
