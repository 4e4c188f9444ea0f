//! Promise: pulls of official clients that are bounded by bytes are the same as on the bare server, however many have expired.
//! nats.py pulls by number alone.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats connects in a large future; a test stops at the first thing that is not as expected"
)]

use async_nats::jetstream::{self, consumer::pull};
use futures_util::TryStreamExt as _;
use keyway_tests::bus_tap::BusTap;
use keyway_tests::driver::{Client, Outcome, assert_passed, assert_same};
use keyway_tests::{Gateway, NatsServer, RawClient};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// What an envelope adds.
const OVERHEAD: i64 = 48;

const MAX_BYTES: usize = 65_536;

/// The bodies of the pulls that have reached a server.
fn pulls(tap: &mut BusTap, count: usize) -> Vec<Value> {
    let of = |frames: &[keyway_tests::frame::Frame]| -> Vec<Value> {
        let pulls = frames
            .iter()
            .filter(|frame| frame.subject().starts_with("$JS.API.CONSUMER.MSG.NEXT."));
        let bodies = pulls.map(|frame| serde_json::from_slice(frame.payload()).unwrap());
        bodies.collect()
    };
    let seen = tap.until("pulls", |frames| of(frames).len() >= count);
    of(&seen)[..count].to_vec()
}

/// A pull as it reaches the server behind a gateway, with room for the overhead of its messages.
fn widened(pull: &Value) -> Value {
    let mut pull = pull.clone();
    let bytes = pull["max_bytes"].as_i64().unwrap();
    let room = bytes / 40 + 1;
    let batch = pull["batch"].as_i64().unwrap();
    pull["max_bytes"] = json!(bytes + OVERHEAD * batch.min(room));
    pull
}

fn consumes(url: &str) -> Vec<Outcome> {
    Client::JavaScript.edge(url, "consumes_by_bytes", |cue| panic!("unknown cue {cue}"))
}

#[test]
fn nats_js_asks_for_the_same_with_each_pull() {
    let servers = [NatsServer::jetstream(), NatsServer::jetstream()];
    let gateway = Gateway::sealing(&servers[1].url());
    let (bare, through) = std::thread::scope(|scope| {
        let ask = |url: String, server: SocketAddr| {
            let mut tap = BusTap::open(server);
            let run = scope.spawn(move || consumes(&url));
            move || {
                let outcomes = run.join().unwrap();
                let tapped = pulls(&mut tap, outcomes[0].seen.len());
                (outcomes, tapped)
            }
        };
        let bare = ask(servers[0].url(), servers[0].addr());
        let through = ask(gateway.url(), servers[1].addr());
        (bare(), through())
    });
    assert_passed("on the server itself", &bare.0);
    assert_same("through the gateway", &bare.0, &through.0);
    let asked: Vec<Value> = bare.0[0]
        .seen
        .iter()
        .map(|asked| serde_json::from_str(asked).unwrap())
        .collect();
    assert_eq!(bare.1, asked);
    let wider: Vec<_> = asked.iter().map(widened).collect();
    assert_eq!(through.1, wider);
    // Some were for the rest of `max_bytes`, others for all of it.
    let of = |bytes: &Value| {
        asked
            .iter()
            .filter(|pull| &pull["max_bytes"] == bytes)
            .count()
    };
    let whole = of(&json!(MAX_BYTES));
    assert!((2..asked.len()).contains(&whole), "{asked:?}");
}

/// Messages that are read as they come by async-nats, which pulls by bytes.
async fn read(url: String) {
    let client = async_nats::connect(url).await.unwrap();
    let context = jetstream::new(client);
    let stream = jetstream::stream::Config {
        name: "BYTES".into(),
        subjects: vec!["bytes.>".into()],
        ..jetstream::stream::Config::default()
    };
    let stream = context.create_stream(stream).await.unwrap();
    let config = pull::Config {
        durable_name: Some("c".into()),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let pulls = consumer
        .stream()
        .max_messages_per_batch(100)
        .max_bytes_per_batch(MAX_BYTES)
        .expires(Duration::from_secs(1));
    let mut messages = pulls.messages().await.unwrap();
    let mut read = 0;
    while let Some(message) = messages.try_next().await.unwrap() {
        read += message.payload.len();
        if message.payload.ends_with(b"end") {
            break;
        }
    }
    assert_eq!(read, 10 * 1000 + 40 * 2000 + 3);
}

/// The pulls of async-nats over idle expiries and two bursts.
fn asks(url: &str, server: SocketAddr) -> Vec<Value> {
    let mut tap = BusTap::open(server);
    let url = url.to_owned();
    let addr = url.trim_start_matches("nats://").parse().unwrap();
    let reader = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(Box::pin(read(url)));
    });
    pulls(&mut tap, 3);
    let mut publisher = RawClient::agent(addr);
    for (count, size) in [(10, 1000), (40, 2000)] {
        for _ in 0..count {
            publisher.publish("bytes.x", &vec![b'x'; size]);
        }
    }
    // A burst is more than one pull asks for.
    let asked = pulls(&mut tap, 6);
    publisher.publish("bytes.x", b"end");
    reader.join().unwrap();
    asked
}

#[test]
fn async_nats_asks_for_the_same_with_each_pull() {
    let servers = [NatsServer::jetstream(), NatsServer::jetstream()];
    let gateway = Gateway::sealing(&servers[1].url());
    let bare = asks(&servers[0].url(), servers[0].addr());
    let through = asks(&gateway.url(), servers[1].addr());
    let wider: Vec<_> = bare.iter().map(widened).collect();
    assert_eq!(through, wider);
}
