//! A JetStream stream, whose message is read after the key version that sealed it was replaced.

use async_nats::Client;
use async_nats::jetstream::{self, consumer, stream};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::cli::failure::Failure;

use super::agent::with_timeout;

/// The stream.
const STREAM: &str = "notes";

/// The only subject in it.
pub(super) const SUBJECT: &str = "notes.budget";

/// Makes the stream and stores a note.
pub(super) async fn store(client: &Client, note: &'static str) -> Result<(), Failure> {
    let context = jetstream::new(client.clone());
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        ..stream::Config::default()
    };
    with_timeout("make a stream", Box::pin(context.create_stream(config))).await?;
    let stored = context.publish(SUBJECT, note.into());
    let stored = with_timeout("store a note", Box::pin(stored.into_future())).await?;
    with_timeout("store a note", stored).await.map(drop)
}

/// Reads the note as an agent would: with a consumer of its own.
pub(super) async fn read(client: &Client) -> Result<Bytes, Failure> {
    let context = jetstream::new(client.clone());
    let stream = with_timeout("find the stream", Box::pin(context.get_stream(STREAM))).await?;
    let config = consumer::pull::Config::default();
    let consumer =
        with_timeout("make a consumer", Box::pin(stream.create_consumer(config))).await?;
    let fetch = consumer.fetch().max_messages(1).messages();
    let mut messages = with_timeout("fetch the note", Box::pin(fetch)).await?;
    let next = async {
        let next = messages.next().await;
        next.ok_or_else(|| "nothing came".into()).flatten()
    };
    let message = with_timeout::<_, async_nats::Error>("fetch the note", Box::pin(next)).await?;
    with_timeout("acknowledge the note", message.ack()).await?;
    Ok(message.message.payload.clone())
}

/// The note as it is stored on the server.
pub(super) async fn stored(client: &Client) -> Result<Bytes, Failure> {
    let context = jetstream::new(client.clone());
    let stream = with_timeout("find the stream", Box::pin(context.get_stream(STREAM))).await?;
    let stored = with_timeout("read the stream", Box::pin(stream.get_raw_message(1))).await?;
    Ok(stored.payload)
}
