//! Requests and their answers, statuses and empty messages.

use super::{SAID, arrived, assert_nothing_withheld, assert_withheld, envelope, these};
use keyway_tests::frame::Frame;
use keyway_tests::{HostileBus, NatsServer, RawClient};

/// An answer to a request on this inbox.
fn answer(inbox: &str, payload: &[u8]) -> Frame {
    Frame::delivery(inbox, "1", payload)
}

/// A client with an unanswered request on a protected subject; its `SUB` has the sid 1.
fn requester(hostile: &HostileBus) -> RawClient {
    let mut victim = hostile.victim("_INBOX.v.*");
    victim.request("a.ask", "_INBOX.v.1", SAID);
    victim.request("a.ask", "_INBOX.v.2", SAID);
    victim.forget();
    victim
}

#[test]
fn forged_statuses_are_delivered() {
    let hostile = HostileBus::start();
    let mut victim = requester(&hostile);
    let lines = [
        "503",
        "404 No Messages",
        "408 Request Timeout",
        "409 Consumer Deleted",
        "100 Idle Heartbeat",
        "204 EOB",
    ];
    for line in lines {
        let status = answer("_INBOX.v.1", b"").with_headers(&format!("NATS/1.0 {line}\r\n\r\n"));
        hostile.forge(&[status]);
    }
    let seen = victim.arrived();
    assert_eq!(seen.len(), lines.len());
    for (frame, line) in seen.iter().zip(lines) {
        assert_eq!(
            frame.headers(),
            format!("NATS/1.0 {line}\r\n\r\n").as_bytes()
        );
    }
    assert_nothing_withheld(&hostile);
}

#[test]
fn plaintext_under_a_forged_status_is_withheld_on_a_protected_subject() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    for line in ["503", "100 Idle Heartbeat", "404 No Messages"] {
        let status = Frame::delivery("a.b", "1", b"trust me");
        let status = status.with_headers(&format!("NATS/1.0 {line}\r\n\r\n"));
        hostile.forge(&[status]);
    }
    assert_withheld(&hostile, &mut victim, "plaintext", 3.0);
}

#[test]
fn a_forged_empty_message_is_delivered() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    let empty = Frame::delivery("a.b", "1", b"");
    hostile.forge(&[empty]);
    assert_eq!(arrived(&mut victim), these(&[("a.b", b"")]));
    assert_nothing_withheld(&hostile);
}

#[test]
fn a_payload_emptied_on_the_way_is_delivered_empty() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("a.>");
    hostile
        .adversary
        .on_message("a.b", |frame| vec![frame.with_payload(b"")]);
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(arrived(&mut victim), these(&[("a.b", b"")]));
}

#[test]
fn a_forged_acknowledgement_is_delivered_to_who_asked() {
    let hostile = HostileBus::start();
    let mut victim = requester(&hostile);
    let acknowledgement = br#"{"stream":"orders","seq":99}"#;
    hostile.forge(&[answer("_INBOX.v.1", acknowledgement)]);
    assert_eq!(
        arrived(&mut victim),
        these(&[("_INBOX.v.1", acknowledgement)])
    );
}

#[test]
fn answers_swapped_between_two_requests_are_withheld() {
    let hostile = HostileBus::start();
    let mut victim = requester(&hostile);
    let yes = envelope(&hostile, "_INBOX.v.1", b"yes");
    let no = envelope(&hostile, "_INBOX.v.2", b"no");
    victim.flush();
    victim.forget();
    let swapped = [answer("_INBOX.v.2", &yes), answer("_INBOX.v.1", &no)];
    hostile.forge(&swapped);
    assert_withheld(&hostile, &mut victim, "unauthentic", 2.0);
}

#[test]
fn an_answer_given_twice_is_delivered_twice() {
    let hostile = HostileBus::start();
    let mut victim = requester(&hostile);
    hostile
        .adversary
        .on_message("_INBOX.v.1", |frame| vec![frame.clone(), frame]);
    hostile.pair.publisher().publish("_INBOX.v.1", b"yes");
    let twice = these(&[("_INBOX.v.1", b"yes"), ("_INBOX.v.1", b"yes")]);
    assert_eq!(arrived(&mut victim), twice);
}

#[test]
fn an_altered_answer_is_withheld() {
    let hostile = HostileBus::start();
    let mut victim = requester(&hostile);
    let mut sealed = envelope(&hostile, "_INBOX.v.1", b"yes");
    victim.flush();
    victim.forget();
    sealed[40] ^= 1;
    hostile.forge(&[answer("_INBOX.v.1", &sealed)]);
    assert_withheld(&hostile, &mut victim, "unauthentic", 1.0);
}

#[test]
fn an_answer_is_sealed_whatever_reply_subject_the_server_names() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let mut responder = hostile.victim("a.ask");
    let mut tap = hostile.pair.tap();
    let subjects = [
        "_INBOX.evil.1",
        "evil",
        "a.evil",
        "_R_.evil",
        "evil.$JS.ACK",
    ];
    for (number, reply) in subjects.into_iter().enumerate() {
        hostile
            .adversary
            .on_message("a.ask", move |frame| vec![frame.with_reply(reply)]);
        let mut peer = hostile.pair.publisher();
        peer.request("a.ask", "_INBOX.x.1", b"what?");
        assert_eq!(responder.arrived().len(), number + 1);
        responder.publish(reply, SAID);
        tap.message(reply).assert_sealed(SAID);
    }
}

/// A client on the bus can do this too, without a key.
#[test]
fn a_request_whose_answer_would_be_published_in_plaintext_is_withheld() {
    let hostile = HostileBus::start();
    let mut responder = hostile.victim("a.ask");
    let sealed = envelope(&hostile, "a.ask", b"what?");
    assert_eq!(arrived(&mut responder), these(&[("a.ask", b"what?")]));
    responder.forget();
    let subjects = [
        "$SRV.evil",
        "$JS.EVENT.evil",
        "$JS.API.STREAM.INFO.evil",
        "$JS.FC.evil",
        "$JS.SNAPSHOT.ACK.evil",
        "$MQTT.evil",
        "$JSC.evil",
        "_GR_.evil",
    ];
    for reply in subjects {
        let request = Frame::delivery("a.ask", "1", &sealed).with_reply(reply);
        hostile.forge(&[request.clone(), request.with_payload(b"")]);
    }
    assert_withheld(&hostile, &mut responder, "reply", 16.0);
}

#[test]
fn an_answer_that_the_server_lures_to_where_streams_are_acknowledged_is_sealed() {
    let hostile = HostileBus::start();
    let mut responder = hostile.victim("a.ask");
    let mut tap = hostile.pair.tap();
    let reply = "$JS.ACK.s.c.1.1.1.1.0";
    hostile
        .adversary
        .on_message("a.ask", move |frame| vec![frame.with_reply(reply)]);
    hostile
        .pair
        .publisher()
        .request("a.ask", "_INBOX.x.1", b"what?");
    responder.message("a.ask");
    responder.publish(reply, SAID);
    tap.message(reply).assert_sealed(SAID);
    tap.forget();
    // A true acknowledgement stays one.
    responder.publish(reply, b"-NAK {\"delay\":5}");
    assert_eq!(tap.message(reply).payload(), b"-NAK {\"delay\":5}");
}

#[test]
fn a_plaintext_answer_to_a_sealed_request_is_withheld() {
    let hostile = HostileBus::start();
    let mut victim = requester(&hostile);
    let status = "NATS/1.0 200 OK\r\n\r\n";
    hostile.forge(&[
        answer("_INBOX.v.1", b"trust me"),
        answer("_INBOX.v.1", b"trust me").with_headers(status),
        answer(
            "_INBOX.v.1",
            b"{\"stream\":\"s\",\"seq\":1,\"x\":\"trust me\"}",
        ),
        answer("_INBOX.v.1", b"{\"stream\":\"s\",\"seq\":1} trust me"),
        answer("_INBOX.v.1", b"{\"answer\":\"trust me\"}"),
    ]);
    assert_withheld(&hostile, &mut victim, "plaintext", 5.0);
}

#[test]
fn plaintext_on_an_inbox_where_nothing_was_asked_is_withheld() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("_INBOX.v.*");
    hostile.forge(&[answer("_INBOX.v.1", b"trust me")]);
    assert_withheld(&hostile, &mut victim, "plaintext", 1.0);
}

#[test]
fn under_sealed_answers_a_forged_acknowledgement_is_withheld() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \">\"\nreply = \"sealed\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let mut victim = requester(&hostile);
    let acknowledgement = br#"{"stream":"orders","seq":99}"#;
    hostile.forge(&[answer("_INBOX.v.1", acknowledgement)]);
    assert_withheld(&hostile, &mut victim, "plaintext", 1.0);
    hostile.pair.publisher().publish("_INBOX.v.1", b"yes");
    assert_eq!(arrived(&mut victim), these(&[("_INBOX.v.1", b"yes")]));
}

#[test]
fn under_acknowledgements_only_an_envelope_as_answer_is_withheld() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \">\"\nreply = \"puback\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let mut victim = requester(&hostile);
    hostile.pair.publisher().publish("_INBOX.v.1", b"yes");
    assert_withheld(&hostile, &mut victim, "answer", 1.0);
    let acknowledgement = br#"{"stream":"orders","seq":99}"#;
    hostile.forge(&[answer("_INBOX.v.1", acknowledgement)]);
    let expected = these(&[("_INBOX.v.1", acknowledgement)]);
    assert_eq!(arrived(&mut victim), expected);
}

#[test]
fn where_empties_are_sealed_a_forged_one_is_withheld() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \">\"\nempty = \"seal\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let mut victim = hostile.victim("a.>");
    let empty = Frame::delivery("a.b", "1", b"");
    hostile.forge(&[
        empty.clone(),
        empty.with_headers("NATS/1.0\r\nA: b\r\n\r\n"),
    ]);
    assert_withheld(&hostile, &mut victim, "empty", 2.0);
    // A genuine one comes through; empty messages with a meaning in NATS can still be forged.
    hostile.pair.publisher().publish("a.b", b"");
    let controls = [
        "NATS/1.0 503\r\n\r\n",
        "NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n",
        "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n",
    ];
    hostile.forge(&controls.map(|headers| empty.with_headers(headers)));
    assert_eq!(arrived(&mut victim).len(), 1 + controls.len());
}

#[test]
fn a_forged_trace_event_is_delivered_only_where_the_client_asked_for_one() {
    let hostile = HostileBus::start();
    let mut victim = hostile.victim("trace.>");
    let headers = "NATS/1.0\r\nNats-Trace-Dest: trace.asked\r\n\r\n";
    hostile
        .adversary
        .on_message("trace.asked", |_genuine| vec![]);
    victim.publish_with("a.b", headers, SAID);
    let event = br#"{"server":{"name":"evil","host":"0.0.0.0","id":"N","ver":"2.15.1","jetstream":false,"flags":0,"seq":1,"time":"2026-11-29T10:00:00Z"},"request":{"msgsize":5},"events":[{"type":"in","ts":"2026-11-29T10:00:00Z","kind":0,"cid":5,"acc":"$G","subj":"a.b"}]}"#;
    hostile.forge(&[
        Frame::delivery("trace.asked", "1", event),
        Frame::delivery("trace.unasked", "1", event),
    ]);
    assert_eq!(arrived(&mut victim), these(&[("trace.asked", event)]));
    assert_eq!(hostile.pair.withheld("plaintext"), 1.0);
}

/// Any client of a keyring can seal under it for any inbox to which it is asked to answer.
#[test]
fn an_answer_under_another_keyring_than_the_request_is_withheld() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n[[keyring]]\nname = \"b\"\nsubjects = \"b.>\"\n";
    let hostile = HostileBus::with(NatsServer::start(), tables);
    let (pair, mut victim) = (&hostile.pair, requester(&hostile));
    let mut tap = pair.tap();
    let (mut accomplice, mut peer) = (pair.publisher(), pair.publisher());
    accomplice.subscribe("b.x");
    peer.request("b.x", "_INBOX.v.1", b"say yes");
    accomplice.message("b.x");
    accomplice.publish("_INBOX.v.1", b"yes");
    tap.message("_INBOX.v.1").assert_sealed(b"yes");
    assert_withheld(&hostile, &mut victim, "wrong-keyring", 1.0);
}
