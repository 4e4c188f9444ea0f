//! Requests and their answers, statuses and empties.

use super::{SAID, arrived, assert_nothing_withheld, assert_withheld, envelope, these};
use keyway_tests::frame::Frame;
use keyway_tests::{Hostile, NatsServer, Raw};

/// An answer to a request on this inbox.
fn answer(inbox: &str, payload: &[u8]) -> Frame {
    Frame::delivery(inbox, "1", payload)
}

/// Somebody who has asked a protected subject, which nobody has answered; its `SUB` has the sid 1.
fn requester(hostile: &Hostile) -> Raw {
    let mut victim = hostile.victim("_INBOX.v.*");
    victim.request("a.ask", "_INBOX.v.1", SAID);
    victim.request("a.ask", "_INBOX.v.2", SAID);
    victim.forget();
    victim
}

#[test]
fn forged_statuses_are_delivered() {
    let hostile = Hostile::start();
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
    let hostile = Hostile::start();
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
    let hostile = Hostile::start();
    let mut victim = hostile.victim("a.>");
    let empty = Frame::delivery("a.b", "1", b"");
    hostile.forge(&[empty]);
    assert_eq!(arrived(&mut victim), these(&[("a.b", b"")]));
    assert_nothing_withheld(&hostile);
}

#[test]
fn a_payload_emptied_on_the_way_is_delivered_empty() {
    let hostile = Hostile::start();
    let mut victim = hostile.victim("a.>");
    hostile
        .adversary
        .on_message("a.b", |frame| vec![frame.with_payload(b"")]);
    hostile.pair.publisher().publish("a.b", SAID);
    assert_eq!(arrived(&mut victim), these(&[("a.b", b"")]));
}

#[test]
fn a_forged_acknowledgement_is_delivered_to_who_asked() {
    let hostile = Hostile::start();
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
    let hostile = Hostile::start();
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
    let hostile = Hostile::start();
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
    let hostile = Hostile::start();
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
    let hostile = Hostile::with(NatsServer::start(), tables);
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
