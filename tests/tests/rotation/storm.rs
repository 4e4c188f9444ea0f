//! Promise: however keys are rotated, and however often, no message is lost, duplicated, reordered or withheld, and stored
//! messages stay readable.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected; its counts are its own"
)]

use keyway_tests::agent::publish;
use keyway_tests::gateway::Settings;
use keyway_tests::metrics::Metrics;
use keyway_tests::{Gateway, NatsServer, RawClient, wait};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Messages of each agent.
const MESSAGES: usize = 30_000;
/// Messages of each agent in flight.
const WINDOW: usize = 1_000;
/// Messages that are stored.
const STORED: usize = 2_000;
/// Messages after which a key is replaced by usage.
const THRESHOLD: usize = 3_000;
/// Rotations that must have happened at least, of either kind.
const LEAST: f64 = 3.0;

/// A gateway that rotates after this few messages, with an admin socket.
fn gateway(server: &NatsServer) -> Gateway {
    let tables = format!(
        "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\nrotate = {{ messages = {THRESHOLD} }}\nlimit = {{ messages = {} }}\noverlap = \"1h\"\n",
        4 * THRESHOLD
    );
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// Rotates over the admin socket, as `keyway rotate` does.
fn rotate(gateway: &Gateway) {
    let body = "{\"why\":\"a storm\"}";
    let mut socket = UnixStream::connect(gateway.state().join("admin.sock")).unwrap();
    write!(
        socket,
        "POST /v1/keyrings/default/rotate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

/// An operator who rotates whenever `turn` holds.
fn operate(gateway: &Gateway, over: &AtomicBool, turn: impl Fn() -> bool) {
    while !over.load(Ordering::Acquire) {
        if turn() {
            rotate(gateway);
        }
    }
}

fn rotations(metrics: &Metrics, trigger: &str) -> f64 {
    let labels = [("trigger", trigger), ("outcome", "done")];
    metrics.sum("keyway_rotations_total", &labels)
}

/// How far a publisher and its subscriber are.
#[derive(Default)]
struct PublishProgress {
    sent: AtomicUsize,
    heard: AtomicUsize,
    over: AtomicBool,
}

impl PublishProgress {
    /// Publishes numbers from 0 on, at least `MESSAGES` of them and until `enough`.
    fn talk(&self, agent: &mut RawClient, subject: &str, enough: impl Fn() -> bool) {
        let mut sent = 0;
        while sent < MESSAGES || !enough() {
            let mut bytes = Vec::new();
            for number in sent..sent + 100 {
                bytes.extend(publish(subject, None, number.to_string().as_bytes()));
            }
            agent.send(&bytes);
            sent += 100;
            self.sent.store(sent, Ordering::Release);
            // Limits the messages in flight.
            wait::until("the subscriber", || {
                (self.heard.load(Ordering::Acquire) + WINDOW >= sent).then_some(())
            });
        }
        agent.flush();
        self.over.store(true, Ordering::Release);
    }

    /// Reads numbers from 0 on, in order, until everything that was sent has come.
    fn listen(&self, agent: &mut RawClient, subject: &str) {
        let mut next = 0;
        loop {
            let over = self.over.load(Ordering::Acquire);
            for frame in agent.take_arrived() {
                let text = String::from_utf8_lossy(frame.payload());
                assert_eq!((frame.subject(), text), (subject, next.to_string().into()));
                next += 1;
            }
            self.heard.store(next, Ordering::Release);
            if over {
                assert_eq!(next, self.sent.load(Ordering::Acquire), "{subject}");
                return;
            }
        }
    }
}

#[test]
fn nothing_is_lost_doubled_out_of_turn_or_withheld_in_a_storm_of_rotations() {
    let server = NatsServer::start();
    let gateway = gateway(&server);
    let subjects = ["storm.one", "storm.two"];
    let courses = subjects.map(|_subject| PublishProgress::default());
    let over = AtomicBool::new(false);
    let happened = || {
        let metrics = gateway.metrics();
        [&["manual"][..], &["messages", "forecast"]].map(|triggers| {
            let counts = triggers.iter().map(|trigger| rotations(&metrics, trigger));
            counts.sum::<f64>()
        })
    };
    let enough = || happened().iter().all(|count| *count >= LEAST);
    // Both kinds must happen, and each delays the other.
    let behind = || happened()[1] >= happened()[0];
    std::thread::scope(|scope| {
        let operator = scope.spawn(|| operate(&gateway, &over, behind));
        let talking = subjects.iter().zip(&courses).map(|(subject, course)| {
            let mut subscriber = RawClient::agent(gateway.addr());
            subscriber.subscribe(subject);
            let mut publisher = RawClient::agent(gateway.addr());
            let heard = scope.spawn(move || course.listen(&mut subscriber, subject));
            let enough = &enough;
            (
                scope.spawn(move || course.talk(&mut publisher, subject, enough)),
                heard,
            )
        });
        let talking: Vec<_> = talking.collect();
        let ended: Vec<_> = talking
            .into_iter()
            .flat_map(|(talked, heard)| [talked.join(), heard.join()])
            .collect();
        over.store(true, Ordering::Release);
        operator.join().unwrap();
        ended.into_iter().for_each(Result::unwrap);
    });
    let metrics = gateway.metrics();
    assert!(enough(), "{}", metrics.text());
    for lost in ["withheld", "refused"] {
        let name = format!("keyway_{lost}_messages_total");
        assert_eq!(metrics.sum(&name, &[]), 0.0, "{}", metrics.text());
    }
    assert_eq!(metrics.sum("keyway_failed_opens_total", &[]), 0.0);
    assert_eq!(metrics.sum("keyway_key_events_failed_total", &[]), 0.0);
}

#[test]
fn everything_that_was_stored_in_a_storm_of_rotations_opens_afterwards() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server);
    let mut agent = RawClient::agent(gateway.addr());
    let inbox = "_INBOX.storm.1";
    agent.subscribe(inbox);
    let stream = "{\"name\":\"STORM\",\"subjects\":[\"stored.>\"],\"storage\":\"memory\"}";
    ask(&mut agent, "$JS.API.STREAM.CREATE.STORM", stream);
    for number in 0..STORED {
        agent.send(&publish(
            "stored.a",
            Some(inbox),
            number.to_string().as_bytes(),
        ));
        if number.is_multiple_of(STORED / 20) {
            rotate(&gateway);
        }
    }
    wait::until("every acknowledgement", || {
        (agent.arrived().len() >= STORED).then_some(())
    });
    agent.forget();
    // Also by a gateway that has to load every version anew.
    for restarted in [false, true] {
        let mut reader = RawClient::agent(gateway.addr());
        reader.subscribe("read.storm");
        let consumer = "{\"stream_name\":\"STORM\",\"config\":{\"deliver_subject\":\"read.storm\",\"ack_policy\":\"none\",\"deliver_policy\":\"all\"}}";
        reader.subscribe(inbox);
        reader.send(&publish(
            "$JS.API.CONSUMER.CREATE.STORM",
            Some(inbox),
            consumer.as_bytes(),
        ));
        let mut read = Vec::new();
        wait::until("every stored message", || {
            let arrived = reader.take_arrived();
            let stored = arrived
                .iter()
                .filter(|frame| frame.subject() == "stored.a")
                .map(|frame| String::from_utf8_lossy(frame.payload()).into_owned());
            read.extend(stored);
            (read.len() >= STORED).then_some(())
        });
        let all = (0..STORED).map(|number| number.to_string());
        assert!(read.iter().cloned().eq(all), "restarted: {restarted}");
        gateway.restart();
    }
}

/// A request to JetStream that must work.
fn ask(agent: &mut RawClient, subject: &str, body: &str) {
    let inbox = "_INBOX.storm.1";
    agent.send(&publish(subject, Some(inbox), body.as_bytes()));
    let answer = agent.message(inbox);
    let answer: Value = serde_json::from_slice(answer.payload()).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    agent.forget();
}
