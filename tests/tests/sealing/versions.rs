//! Promise: several key versions open at once, and one that a gateway has not loaded is looked up in the catalogue.

use keyway_tests::agent::publish;
use keyway_tests::{GatewayPair, RawClient, wait};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn agents_notice_nothing_of_a_rotation_between_messages() {
    let pair = GatewayPair::start();
    let (mut tap, mut agent) = (pair.tap(), pair.publisher());
    let mut subscriber = RawClient::agent(pair.publish.addr());
    subscriber.subscribe("a.*");
    for round in 0..5 {
        agent.publish(&format!("a.{round}"), b"hello");
        pair.publish.rotate("default");
    }
    let mut kids = HashSet::new();
    for round in 0..5 {
        let subject = format!("a.{round}");
        assert_eq!(subscriber.message(&subject).payload(), b"hello");
        kids.insert(tap.message(&subject).kid());
    }
    assert_eq!(kids.len(), 5);
}

#[test]
fn an_older_version_opens_beside_the_one_that_seals() {
    let mut pair = GatewayPair::start();
    let (mut tap, mut bare) = (pair.tap(), pair.bare());
    let mut sealed = Vec::new();
    for round in 0..3 {
        pair.publisher()
            .publish("a.b", format!("{round}").as_bytes());
        let frames = tap.until("a message", |frames| frames.len() == round + 1);
        sealed.push(frames[round].payload().to_vec());
        pair.publish.rotate("default");
    }
    for restarted in [false, true] {
        let mut subscriber = RawClient::agent(pair.publish.addr());
        subscriber.subscribe("a.b");
        for envelope in sealed.iter().rev() {
            bare.publish("a.b", envelope);
        }
        let payloads: Vec<_> = subscriber
            .arrived()
            .iter()
            .map(|frame| frame.payload().to_vec())
            .collect();
        assert_eq!(payloads, [b"2", b"1", b"0"], "restarted: {restarted}");
        pair.publish.restart();
    }
}

#[test]
fn a_record_that_is_there_when_it_is_missed_is_loaded_and_the_message_delivered() {
    let pair = GatewayPair::start();
    let mut subscriber = pair.subscriber("a.*");
    pair.publish.rotate("default");
    pair.copy_record("default");
    let mut agent = pair.publisher();
    for subject in ["a.1", "a.2"] {
        agent.publish(subject, b"under the second version");
        let message = subscriber.message(subject);
        assert_eq!(message.payload(), b"under the second version");
    }
    let loaded = [("outcome", "loaded")];
    let metrics = pair.deliver.metrics();
    assert_eq!(metrics.sum("keyway_key_misses_total", &loaded), 1.0);
    assert_eq!(pair.withheld("unknown-key"), 0.0);
}

#[test]
fn a_record_that_is_put_there_after_it_was_missed_is_loaded_later() {
    let pair = GatewayPair::start();
    let mut subscriber = pair.subscriber("a.*");
    pair.publish.rotate("default");
    let mut agent = pair.publisher();
    agent.publish("a.1", b"too early");
    assert_eq!(subscriber.arrived(), []);
    assert_eq!(pair.withheld("unknown-key"), 1.0);
    pair.copy_record("default");
    let message = wait::until("the message after the record was put there", || {
        agent.publish("a.2", b"in time");
        subscriber.arrived().pop()
    });
    assert_eq!(message.payload(), b"in time");
}

#[test]
fn a_gateway_seals_under_a_version_that_came_by_copy_with_its_log_after_its_restart() {
    let mut pair = GatewayPair::start();
    pair.publish.rotate("default");
    pair.deliver.process().kill();
    pair.copy_record("default");
    pair.copy_log();
    pair.deliver.restart();
    let mut tap = pair.tap();
    pair.publisher().publish("a.1", b"hello");
    RawClient::agent(pair.deliver.addr()).publish("a.2", b"hello");
    assert_eq!(tap.message("a.1").kid(), tap.message("a.2").kid());
}

#[test]
fn nothing_is_lost_or_reordered_while_keys_are_switched_under_load() {
    const SWITCHES: usize = 5;
    const PART: usize = 4_000;
    let pair = GatewayPair::start();
    let mut subscriber = RawClient::agent(pair.publish.addr());
    subscriber.subscribe("a.b");
    let mut agent = pair.publisher();
    let mut tap = pair.tap();
    // Limits the load, so that each switch comes in the middle of a part of it on any machine.
    let (goal, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let may_send = || sent.load(Ordering::Acquire) < goal.load(Ordering::Acquire);
    let mut send = || {
        for _ in 0..100 {
            let number = sent.fetch_add(1, Ordering::AcqRel).to_string();
            agent.send(&publish("a.b", None, number.as_bytes()));
        }
        agent.flush();
    };
    let load = || {
        for _ in 0..PART * SWITCHES / 100 {
            wait::until("leave to send", || may_send().then_some(()));
            send();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(load);
        for part in 1..=SWITCHES {
            goal.store(PART * part, Ordering::Release);
            let half = || (sent.load(Ordering::Acquire) >= PART * part - PART / 2).then_some(());
            wait::until("half of a part", half);
            pair.publish.rotate("default");
        }
    });
    let count = sent.into_inner();
    let got: Vec<usize> = subscriber
        .arrived()
        .iter()
        .map(|frame| String::from_utf8_lossy(frame.payload()).parse().unwrap())
        .collect();
    assert!(got.iter().copied().eq(0..count), "{} messages", got.len());
    let bus = tap.flush();
    let kids: HashSet<_> = bus.iter().map(|frame| frame.kid()).collect();
    // Each switch has messages before and behind it, except a last one that came late.
    assert!(kids.len() >= SWITCHES, "{} kids", kids.len());
}
