//! Promise: streams, consumers and key-value stores work through a gateway that seals everything, and store envelopes.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    clippy::unwrap_used,
    reason = "async-nats connects in a large future, which a test's stack holds; a test's own functions may stop it too"
)]

use async_nats::jetstream::{self, Context, consumer, kv, stream};
use futures_util::StreamExt as _;
use keyway_tests::{BusTap, Gateway, NatsServer};

const SAID: &[u8] = b"the launch code is 0000";

async fn context(gateway: &Gateway) -> Context {
    jetstream::new(async_nats::connect(gateway.url()).await.unwrap())
}

#[tokio::test]
async fn a_stream_is_made_published_to_and_consumed() {
    let server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    let context = context(&gateway).await;
    let config = stream::Config {
        name: "orders".into(),
        subjects: vec!["orders.>".into()],
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    for number in 1..=5_u64 {
        let ack = context.publish("orders.new", SAID.into()).await.unwrap();
        assert_eq!(ack.await.unwrap().sequence, number);
    }
    tap.message("orders.new").assert_sealed(SAID);
    let config = consumer::pull::Config {
        durable_name: Some("worker".into()),
        ..consumer::pull::Config::default()
    };
    let mut worker = stream.create_consumer(config).await.unwrap();
    let mut messages = worker.fetch().max_messages(5).messages().await.unwrap();
    for _ in 0..5 {
        let message = messages.next().await.unwrap().unwrap();
        assert_eq!(message.payload, SAID);
        message.double_ack().await.unwrap();
    }
    assert_eq!(worker.info().await.unwrap().num_ack_pending, 0);
    let config = consumer::push::OrderedConfig {
        deliver_subject: "_INBOX.ordered".into(),
        ..consumer::push::OrderedConfig::default()
    };
    let ordered = stream.create_consumer(config).await.unwrap();
    let mut messages = ordered.messages().await.unwrap();
    for _ in 0..5 {
        assert_eq!(messages.next().await.unwrap().unwrap().payload, SAID);
    }
}

#[tokio::test]
async fn a_key_value_store_is_written_read_and_watched() {
    let server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    let context = context(&gateway).await;
    let config = kv::Config {
        bucket: "b".into(),
        history: 5,
        ..kv::Config::default()
    };
    let store = context.create_key_value(config).await.unwrap();
    store.put("k", "first".into()).await.unwrap();
    store.put("k", SAID.into()).await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), SAID);
    tap.until("both on the bus", |frames| {
        frames
            .iter()
            .filter(|frame| frame.subject() == "$KV.b.k")
            .count()
            == 2
    });
    let mut history = store.history("k").await.unwrap();
    let mut values = Vec::new();
    while let Some(entry) = history.next().await {
        values.push(entry.unwrap().value);
    }
    assert_eq!(values, [&b"first"[..], SAID]);
    let mut watch = store.watch_all().await.unwrap();
    store.delete("k").await.unwrap();
    assert_eq!(
        watch.next().await.unwrap().unwrap().operation,
        kv::Operation::Delete
    );
    assert!(store.get("k").await.unwrap().is_none());
}
