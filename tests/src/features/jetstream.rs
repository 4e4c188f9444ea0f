//! Helpers for scenarios with streams, consumers and stores.

use super::world::{World, next};
use async_nats::jetstream::{Context, Message, consumer, stream};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;

/// A stream of the scenario's subjects, with the contexts of a publisher and of a reader.
pub(super) struct StreamFixture {
    pub(super) world: World,
    pub(super) publisher: Context,
    pub(super) reader: Context,
    pub(super) stream: stream::Stream,
}

impl StreamFixture {
    /// Creates the stream; `more` is merged into its configuration.
    pub(super) async fn with(world: World, more: Value) -> Self {
        let (publisher, reader) = world.contexts().await;
        let subjects = world.subject(">");
        Self::on(world, publisher, reader, &subjects, more).await
    }

    /// The same on these subjects, with these agents.
    pub(super) async fn on(
        world: World,
        publisher: Context,
        reader: Context,
        subjects: &str,
        more: Value,
    ) -> Self {
        let mut config = json!({ "subjects": [subjects], "storage": "file" });
        merge(&mut config, more);
        create(&publisher.client(), &world.named(), config).await;
        let stream = reader.get_stream(world.named()).await.unwrap();
        Self {
            world,
            publisher,
            reader,
            stream,
        }
    }

    /// Publishes `said(0)` to `said(count - 1)` and waits for each acknowledgement.
    pub(super) async fn fill(&self, last: &str, count: usize) {
        for number in 0..count {
            self.put(last, self.world.said(number), &[]).await;
        }
    }

    /// Publishes with headers; returns the sequence.
    pub(super) async fn put(&self, last: &str, said: Bytes, headers: &[(&str, &str)]) -> u64 {
        let subject = self.world.subject(last);
        let sent = self
            .publisher
            .publish_with_headers(subject, head(headers), said);
        sent.await.unwrap().await.unwrap().sequence
    }

    /// Reads the first `count` messages.
    pub(super) async fn read(&self, count: usize) -> Vec<Message> {
        read(&self.stream, count).await
    }

    /// Fails unless the stream holds exactly what `said` makes of these numbers.
    pub(super) async fn holds(&self, numbers: impl IntoIterator<Item = usize>) {
        let said: Vec<_> = numbers.into_iter().map(|n| self.world.said(n)).collect();
        let messages = self.stream.get_info().await.unwrap().state.messages;
        assert_eq!(usize::try_from(messages).unwrap(), said.len());
        let read = self.read(said.len()).await;
        let read: Vec<_> = read.iter().map(|message| message.payload.clone()).collect();
        assert_eq!(read, said);
    }

    /// Waits until the stream holds this many messages.
    pub(super) async fn shrinks_to(&self, messages: u64) {
        until(async || self.stream.get_info().await.unwrap().state.messages == messages).await;
    }
}

/// Reads the first `count` messages of a stream with an ordered consumer.
pub(super) async fn read(stream: &stream::Stream, count: usize) -> Vec<Message> {
    let config = consumer::pull::OrderedConfig::default();
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut read = Vec::new();
    for _ in 0..count {
        read.push(next(&mut messages).await.unwrap());
    }
    read
}

/// Polls until the condition holds; the scenario's own time limit ends it otherwise.
pub(super) async fn until<F: Future<Output = bool>>(mut probe: impl FnMut() -> F) {
    while !probe().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A header block.
pub(super) fn head(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, *value);
    }
    headers
}

/// Asks the `JetStream` API, which must not refuse.
pub(super) async fn api(agent: &Client, request: &str, body: &Value) -> Value {
    let subject = format!("$JS.API.{request}");
    let reply = agent.request(subject, body.to_string().into()).await;
    let answer: Value = serde_json::from_slice(&reply.unwrap().payload).unwrap();
    assert!(answer.get("error").is_none(), "{request}: {answer}");
    answer
}

/// Creates a stream with this configuration; returns the answer.
pub(super) async fn create(agent: &Client, name: &str, mut config: Value) -> Value {
    merge(&mut config, json!({ "name": name }));
    api(agent, &format!("STREAM.CREATE.{name}"), &config).await
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    into.as_object_mut().unwrap().extend(more);
}
