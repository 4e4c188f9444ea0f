//! Consumers of every kind.

use super::jetstream::{StreamFixture, api, head, until};
use super::world::{World, next, settle};
use async_nats::jetstream::consumer::{
    AckPolicy, DeliverPolicy, PriorityPolicy, ReplayPolicy, pull, push,
};
use async_nats::jetstream::{AckKind, Message, consumer::PullConsumer};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use std::time::Duration;

super::scenarios!(
    consumer_pull_fetch,
    consumer_pull_max_bytes,
    consumer_push,
    consumer_push_queue,
    consumer_ordered,
    consumer_flow_control,
    consumer_headers_only,
    consumer_acknowledgements,
    consumer_priority_group,
    consumer_pause,
    consumer_filter,
    consumer_replay,
);

fn worker() -> pull::Config {
    pull::Config {
        durable_name: Some("worker".into()),
        ..pull::Config::default()
    }
}

/// A stream with three messages, and a consumer of it.
async fn three(world: World, config: pull::Config) -> (StreamFixture, PullConsumer) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 3).await;
    let consumer = made.stream.create_consumer(config).await.unwrap();
    (made, consumer)
}

/// The messages that are available now.
async fn fetched(consumer: &PullConsumer) -> Vec<Message> {
    let messages = consumer.fetch().max_messages(10).messages().await.unwrap();
    messages.try_collect().await.unwrap()
}

/// Waits for the next message.
async fn awaited(consumer: &PullConsumer) -> Message {
    let mut messages = consumer.batch().max_messages(1).messages().await.unwrap();
    next(&mut messages).await.unwrap()
}

fn payloads(messages: &[Message]) -> Vec<Bytes> {
    let payloads = messages.iter().map(|message| message.payload.clone());
    payloads.collect()
}

fn said(world: &World, numbers: impl IntoIterator<Item = usize>) -> Vec<Bytes> {
    let said = numbers.into_iter().map(|number| world.said(number));
    said.collect()
}

async fn consumer_pull_fetch(world: World) {
    let (made, worker) = three(world, worker()).await;
    let messages = fetched(&worker).await;
    assert_eq!(payloads(&messages), said(&made.world, 0..3));
    for message in messages {
        message.double_ack().await.unwrap();
    }
    assert!(fetched(&worker).await.is_empty());
    made.fill("x", 1).await;
    assert_eq!(awaited(&worker).await.payload, made.world.said(0));
}

async fn consumer_pull_max_bytes(world: World) {
    let (made, worker) = three(world, worker()).await;
    let messages = fetched(&worker).await;
    let first = &messages[0];
    let parts = [
        first.subject.len(),
        first.reply.as_ref().unwrap().len(),
        first.payload.len(),
    ];
    // The size of one message, and a few bytes for a longer sequence in its reply subject.
    let enough = parts.iter().sum::<usize>() + 8;
    let other = pull::Config {
        durable_name: Some("others".into()),
        ..pull::Config::default()
    };
    let other = made.stream.create_consumer(other).await.unwrap();
    let fetch = other.fetch().max_messages(1).max_bytes(enough);
    let one: Vec<_> = fetch.messages().await.unwrap().try_collect().await.unwrap();
    assert_eq!(payloads(&one), said(&made.world, [0]));
}

async fn consumer_push(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    let config = push::Config {
        deliver_subject: made.world.subject("deliver").replacen("rs.", "deliver.", 1),
        ..push::Config::default()
    };
    let consumer = made.stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    settle(&made.reader.client()).await;
    made.fill("x", 5).await;
    for number in 0..5 {
        let message = next(&mut messages).await.unwrap();
        assert_eq!(message.payload, made.world.said(number));
        message.double_ack().await.unwrap();
    }
}

async fn consumer_push_queue(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    let config = push::Config {
        deliver_subject: "deliver.rs.consumer_push_queue".into(),
        deliver_group: Some("crew".into()),
        ..push::Config::default()
    };
    let consumer = made.stream.create_consumer(config).await.unwrap();
    let mut one = consumer.messages().await.unwrap();
    let mut other = consumer.messages().await.unwrap();
    settle(&made.reader.client()).await;
    made.fill("x", 40).await;
    let mut got = Vec::new();
    let mut shares = [0, 0];
    while got.len() < 40 {
        let (member, message) = tokio::select! {
            message = one.next() => (0, message),
            message = other.next() => (1, message),
        };
        let message = message.unwrap().unwrap();
        shares[member] += 1;
        message.ack().await.unwrap();
        got.push(message.payload.clone());
    }
    got.sort_unstable();
    let mut all = said(&made.world, 0..40);
    all.sort_unstable();
    assert_eq!(got, all);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

async fn consumer_ordered(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 20).await;
    let config = push::OrderedConfig {
        deliver_subject: made.reader.client().new_inbox(),
        ..push::OrderedConfig::default()
    };
    let consumer = made.stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    for number in 0..20 {
        let message = next(&mut messages).await.unwrap();
        assert_eq!(message.payload, made.world.said(number));
    }
    made.holds(0..20).await;
}

async fn consumer_flow_control(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    let config = push::Config {
        deliver_subject: made.reader.client().new_inbox(),
        ack_policy: AckPolicy::None,
        flow_control: true,
        idle_heartbeat: Duration::from_millis(200),
        ..push::Config::default()
    };
    let consumer = made.stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    settle(&made.reader.client()).await;
    // More than the server sends before it asks for flow control.
    let filler = ".".repeat(100_000);
    let mut acks = Vec::new();
    for number in 0..80 {
        let payload = made.world.said(format!("{number} {filler}"));
        let subject = made.world.subject("x");
        acks.push(made.publisher.publish(subject, payload).await.unwrap());
    }
    for number in 0..80 {
        let message = next(&mut messages).await.unwrap();
        let payload = made.world.said(format!("{number} {filler}"));
        assert_eq!(message.payload, payload);
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

async fn consumer_headers_only(world: World) {
    let config = pull::Config {
        headers_only: true,
        ..worker()
    };
    let (made, worker) = three(world, config).await;
    let told = made.world.said("with a header of its own");
    made.put("x", told.clone(), &[("Mine", "kept")]).await;
    let messages = fetched(&worker).await;
    let size = |message: &Message| {
        let headers = message.headers.as_ref().unwrap();
        let size = headers.get("Nats-Msg-Size").unwrap().as_str();
        size.parse::<usize>().unwrap()
    };
    assert_eq!(payloads(&messages), vec![Bytes::new(); 4]);
    assert_eq!(size(&messages[0]), made.world.said(0).len());
    assert_eq!(size(&messages[3]), told.len());
    let mine = messages[3].headers.as_ref().unwrap().get("Mine");
    assert_eq!(mine, head(&[("Mine", "kept")]).get("Mine"));
}

async fn consumer_acknowledgements(world: World) {
    let config = pull::Config {
        ack_wait: Duration::from_secs(2),
        ..worker()
    };
    let (made, worker) = three(world, config).await;
    let messages = fetched(&worker).await;
    let [nak, term, ack] = &messages[..] else {
        panic!("{messages:?}");
    };
    ack.ack_with(AckKind::Progress).await.unwrap();
    ack.double_ack().await.unwrap();
    term.double_ack_with(AckKind::Term).await.unwrap();
    let delay = Duration::from_millis(50);
    nak.ack_with(AckKind::Nak(Some(delay))).await.unwrap();
    // First the message of the NAK, then, unacknowledged, the same after `ack_wait`.
    for delivered in [2, 3] {
        let message = awaited(&worker).await;
        assert_eq!(message.payload, made.world.said(0));
        assert_eq!(message.info().unwrap().delivered, delivered);
        if delivered == 3 {
            message.double_ack().await.unwrap();
        }
    }
    let info = worker.get_info().await.unwrap();
    assert_eq!((info.num_ack_pending, info.num_pending), (0, 0));
}

async fn consumer_priority_group(world: World) {
    let config = pull::Config {
        priority_policy: PriorityPolicy::Overflow,
        priority_groups: vec!["crew".into()],
        ..worker()
    };
    let (made, worker) = three(world, config).await;
    for (pending, numbers) in [(10, 0..0), (1, 0..3)] {
        let fetch = worker.fetch().max_messages(3).group("crew");
        let messages = fetch.min_pending(pending).messages().await.unwrap();
        let messages: Vec<_> = messages.try_collect().await.unwrap();
        assert_eq!(payloads(&messages), said(&made.world, numbers));
    }
}

async fn consumer_pause(world: World) {
    let (made, worker) = three(world, worker()).await;
    let agent = made.reader.client();
    let pause = format!("CONSUMER.PAUSE.{}.worker", made.world.named());
    let asked = json!({ "pause_until": "2099-01-01T00:00:00Z" });
    assert_eq!(api(&agent, &pause, &asked).await["paused"], true);
    assert!(fetched(&worker).await.is_empty());
    made.stream.resume_consumer("worker").await.unwrap();
    let messages = fetched(&worker).await;
    assert_eq!(payloads(&messages), said(&made.world, 0..3));
}

async fn consumer_filter(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    for (number, last) in ["a", "b.c", "d", "b.e"].into_iter().enumerate() {
        made.put(last, made.world.said(number), &[]).await;
    }
    let config = pull::Config {
        filter_subjects: vec![made.world.subject("a"), made.world.subject("b.*")],
        ..worker()
    };
    let worker = made.stream.create_consumer(config).await.unwrap();
    let messages = fetched(&worker).await;
    assert_eq!(payloads(&messages), said(&made.world, [0, 1, 3]));
}

async fn consumer_replay(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 3).await;
    made.put("y", made.world.said(3), &[]).await;
    let by_sequence = DeliverPolicy::ByStartSequence { start_sequence: 2 };
    for (name, deliver_policy, numbers) in [
        ("since", by_sequence, vec![1, 2, 3]),
        ("last", DeliverPolicy::Last, vec![3]),
        ("each", DeliverPolicy::LastPerSubject, vec![2, 3]),
    ] {
        let config = pull::Config {
            durable_name: Some(name.into()),
            deliver_policy,
            filter_subject: made.world.subject(">"),
            replay_policy: ReplayPolicy::Original,
            ..pull::Config::default()
        };
        let consumer: PullConsumer = made.stream.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        for number in numbers {
            let message = next(&mut messages).await.unwrap();
            assert_eq!(message.payload, made.world.said(number), "{name}");
            message.ack().await.unwrap();
        }
        until(async || consumer.get_info().await.unwrap().num_ack_pending == 0).await;
    }
}
