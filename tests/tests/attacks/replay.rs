//! Requests and envelopes that are replayed by an attacker who cannot read them.

use super::{SAID, arrived, inbox, withheld};
use keyway_tests::{GatewayPair, NatsServer, RawClient};

/// A service behind the delivering gateway, and the envelope of an answered request of A to it.
struct ReplayFixture {
    pair: GatewayPair,
    service: RawClient,
    request: Vec<u8>,
}

fn fixture(tables: &str) -> ReplayFixture {
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let mut service = pair.subscriber("svc.*");
    service.subscribe("$SRV.PING");
    let mut tap = pair.tap();
    let mut a = pair.publisher();
    a.subscribe("_INBOX.a.*");
    a.request("svc.balance", "_INBOX.a.1", b"of A");
    let request = tap.message("svc.balance").payload().to_vec();
    assert_eq!(service.message("svc.balance").payload(), b"of A");
    service.publish("_INBOX.a.1", b"A has 7");
    assert_eq!(a.message("_INBOX.a.1").payload(), b"A has 7");
    service.take();
    ReplayFixture {
        pair,
        service,
        request,
    }
}

/// Replays the captured request with another reply subject.
fn replay(fixture: &ReplayFixture, reply: &str) {
    fixture
        .pair
        .bare()
        .request("svc.balance", reply, &fixture.request);
}

#[test]
fn replayed_request_is_not_answered_to_another_requester() {
    let mut fixture = fixture("");
    let mut b = fixture.pair.publisher();
    b.subscribe("_INBOX.b.*");
    // B waits for another service.
    b.request("elsewhere", "_INBOX.b.1", b"of B");
    b.take();
    // One that has not received the request itself.
    let mut other = fixture.pair.subscriber("svc.*");
    replay(&fixture, "_INBOX.b.1");
    assert_eq!(other.message("svc.balance").payload(), b"of A");
    other.publish("_INBOX.b.1", b"A has 7");
    assert_eq!(arrived(&mut b), []);
    assert_eq!(arrived(&mut fixture.service), []);
    assert_eq!(withheld(&fixture.pair.deliver, "reply"), 1.0);
    assert_eq!(withheld(&fixture.pair.publish, "unauthentic"), 1.0);
}

#[test]
fn replayed_request_does_not_reach_a_service_on_a_reply_subject_on_which_another_waits() {
    let mut fixture = fixture("");
    let mut b = fixture.pair.publisher();
    b.subscribe("_INBOX.b.*");
    b.request("svc.balance", "_INBOX.b.1", b"of B");
    fixture.service.message("svc.balance");
    fixture.service.take();
    replay(&fixture, "_INBOX.b.1");
    // Nor does an empty one, nor one in plaintext.
    fixture
        .pair
        .bare()
        .request("svc.balance", "_INBOX.b.1", b"");
    assert_eq!(arrived(&mut fixture.service), []);
    assert_eq!(withheld(&fixture.pair.deliver, "reply"), 2.0);
    fixture.service.publish("_INBOX.b.1", b"B has 9");
    assert_eq!(b.message("_INBOX.b.1").payload(), b"B has 9");
}

/// A service with several connections: on another than the request's nobody knows of it.
#[test]
fn answer_to_an_empty_request_is_none_to_a_sealed_one() {
    let ReplayFixture { pair, .. } = fixture("");
    let mut other = pair.subscriber("other");
    let mut b = pair.publisher();
    b.subscribe("_INBOX.b.*");
    b.request("elsewhere", "_INBOX.b.1", b"of B");
    b.take();
    pair.bare().request("other", "_INBOX.b.1", b"");
    other.message("other");
    other.publish("_INBOX.b.1", b"the list of all");
    assert_eq!(arrived(&mut b), []);
    assert_eq!(withheld(&pair.publish, "unauthentic"), 1.0);
    // A client that has sent sealed requests only so far.
    let mut a = pair.publisher();
    a.subscribe("_INBOX.a.*");
    for (request, inbox) in [
        (&b""[..], "_INBOX.a.2"),
        (b"what?", "_INBOX.a.2"),
        (b"", "_INBOX.a.2"),
    ] {
        a.request("other", inbox, request);
        other.message("other");
        other.take();
        let answer = [b"answers ", request].concat();
        other.publish(inbox, &answer);
        assert_eq!(a.message(inbox).payload(), answer);
        a.take();
    }
}

#[test]
fn unbound_answers_are_opened_by_whoever_listens() {
    let fixture = fixture("[[keyring]]\nname = \"all\"\nsubjects = \">\"\nanswers = \"unbound\"\n");
    let ReplayFixture {
        pair, mut service, ..
    } = fixture;
    let mut asks = pair.publisher();
    let mut listens = pair.publisher();
    listens.subscribe("_INBOX.both.*");
    asks.request("svc.balance", "_INBOX.both.1", b"of A");
    service.message("svc.balance");
    service.publish("_INBOX.both.1", b"A has 7");
    assert_eq!(listens.message("_INBOX.both.1").payload(), b"A has 7");
}

#[test]
fn bound_answer_does_not_open_on_a_connection_that_has_not_asked() {
    let ReplayFixture {
        pair, mut service, ..
    } = fixture("");
    let mut asks = pair.publisher();
    let mut listens = pair.publisher();
    listens.subscribe("_INBOX.both.*");
    asks.request("svc.balance", "_INBOX.both.1", b"of A");
    service.message("svc.balance");
    service.publish("_INBOX.both.1", b"A has 7");
    assert_eq!(arrived(&mut listens), []);
    assert_eq!(withheld(&pair.publish, "answer"), 1.0);
}

#[test]
fn several_requests_on_one_reply_subject_are_all_answered() {
    let ReplayFixture {
        pair, mut service, ..
    } = fixture("");
    let mut asks = pair.publisher();
    asks.subscribe("_INBOX.fixed");
    for number in 0..3 {
        asks.request(
            "svc.balance",
            "_INBOX.fixed",
            format!("{number}").as_bytes(),
        );
    }
    assert_eq!(service.take_arrived().len(), 3);
    for _ in 0..2 {
        service.publish("_INBOX.fixed", SAID);
        assert_eq!(asks.message("_INBOX.fixed").payload(), SAID);
        asks.take();
    }
    // After a reconnection, too, once something was answered.
    let mut again = pair.publisher();
    again.subscribe("_INBOX.fixed");
    again.request("svc.balance", "_INBOX.fixed", b"3");
    assert_eq!(service.take_arrived().len(), 1);
    service.publish("_INBOX.fixed", SAID);
    assert_eq!(again.message("_INBOX.fixed").payload(), SAID);
}

#[test]
fn requests_on_a_fixed_reply_subject_arrive_whatever_came_with_it_before_and_is_not_answered() {
    let ReplayFixture {
        pair, mut service, ..
    } = fixture("");
    let mut keyless = pair.bare();
    for (number, first) in ["", "in the clear", "sealed"].into_iter().enumerate() {
        let reply = format!("_INBOX.fixed{number}");
        match first {
            "sealed" => pair.publisher().request("svc.balance", &reply, b"first"),
            "" => keyless.request("svc.balance", &reply, b""),
            _ => keyless.request("$SRV.PING", &reply, first.as_bytes()),
        }
        keyless.flush();
        service.take_arrived();
        // A new connection each, as after a restart.
        for _ in 0..2 {
            let mut asks = pair.publisher();
            asks.subscribe(&reply);
            asks.request("svc.balance", &reply, b"of A");
            assert_eq!(service.message("svc.balance").payload(), b"of A", "{first}");
            service.take();
            service.publish(&reply, SAID);
            assert_eq!(asks.message(&reply).payload(), SAID, "{first}");
        }
    }
}

#[test]
fn requests_under_unbound_answers_on_one_reply_subject_all_arrive() {
    let tables = "[[keyring]]\nname = \"all\"\nsubjects = \">\"\nanswers = \"unbound\"\n";
    let ReplayFixture {
        pair, mut service, ..
    } = fixture(tables);
    for _ in 0..3 {
        pair.publisher()
            .request("svc.balance", "_INBOX.fixed", b"again");
        assert_eq!(service.message("svc.balance").payload(), b"again");
        service.take();
    }
}

#[test]
fn request_that_is_passed_on_is_answered_by_whoever_gets_it() {
    let ReplayFixture {
        pair, mut service, ..
    } = fixture("");
    let mut worker = pair.subscriber("work.*");
    let mut asks = pair.publisher();
    asks.subscribe("_INBOX.asks.*");
    asks.request("svc.balance", "_INBOX.asks.1", b"of A");
    service.message("svc.balance");
    service.request("work.balance", "_INBOX.asks.1", b"of A");
    assert_eq!(worker.message("work.balance").payload(), b"of A");
    worker.publish("_INBOX.asks.1", b"A has 7");
    assert_eq!(asks.message("_INBOX.asks.1").payload(), b"A has 7");
}

#[test]
fn envelope_that_is_bound_to_its_keyring_alone_opens_on_none_but_its_subjects() {
    let tables = "[[keyring]]\nname = \"loose\"\nsubjects = \"loose.>\"\nbind = \"keyring\"\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let mut tap = pair.tap();
    pair.publisher().publish("loose.a", SAID);
    let envelope = tap.message("loose.a").payload().to_vec();
    let mut victim = pair.subscriber(">");
    victim.request("open.ask", "_INBOX.victim.1", b"what?");
    victim.take();
    let mut keyless = pair.bare();
    let inbox = inbox();
    for subject in ["open.news", &inbox, "_INBOX.victim.1", "$SRV.x", "mine.1"] {
        keyless.publish(subject, &envelope);
    }
    for (subject, payload) in arrived(&mut victim) {
        assert_ne!(payload, SAID, "{subject}");
    }
    keyless.publish("loose.b", &envelope);
    assert_eq!(victim.message("loose.b").payload(), SAID);
}
