//! Publishing to streams, and their limits and retention.

use super::jetstream::{StreamFixture, create, head, read, until};
use super::world::{World, next};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::{consumer, message::PublishMessage};
use bytes::Bytes;
use serde_json::{Value, json};

super::scenarios!(
    stream_publish,
    stream_publish_async,
    stream_dedup,
    stream_expected_headers,
    stream_limits_file,
    stream_limits_memory,
    stream_interest,
    stream_work_queue,
    stream_rollup,
    stream_message_ttl,
    stream_purge_and_delete,
    stream_max_msg_size,
    stream_atomic_batch,
    stream_fast_ingest,
    stream_schedule,
    stream_counter,
);

async fn stream_publish(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    for number in 0..5_u64 {
        let sequence = made.put("x", made.world.said(number), &[]).await;
        assert_eq!(sequence, number + 1);
    }
    made.holds(0..5).await;
}

async fn stream_publish_async(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    let mut acks = Vec::new();
    for number in 0..100_u64 {
        let (subject, said) = (made.world.subject("x"), made.world.said(number));
        acks.push(made.publisher.publish(subject, said).await.unwrap());
    }
    for (number, ack) in (1..).zip(acks) {
        assert_eq!(ack.await.unwrap().sequence, number);
    }
    made.holds(0..100).await;
}

async fn stream_dedup(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    for again in [false, true] {
        let publish = PublishMessage::build()
            .message_id("once")
            .payload(made.world.said(0));
        let sent = made
            .publisher
            .send_publish(made.world.subject("x"), publish)
            .await;
        assert_eq!(sent.unwrap().await.unwrap().duplicate, again);
    }
    made.holds([0]).await;
}

async fn stream_expected_headers(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    for (expected, right) in [(0, true), (0, false), (1, true)] {
        let publish = PublishMessage::build()
            .expected_last_sequence(expected)
            .expected_stream(made.world.named())
            .payload(made.world.said(expected));
        let subject = made.world.subject("x");
        let sent = made.publisher.send_publish(subject, publish).await.unwrap();
        match sent.await {
            Ok(_) => assert!(right),
            Err(error) => {
                assert!(!right, "{error}");
                assert_eq!(error.kind(), PublishErrorKind::WrongLastSequence);
            }
        }
    }
    made.holds([0, 1]).await;
}

async fn limits(world: World, storage: &str) {
    let more = json!({ "max_msgs": 3, "discard": "old", "storage": storage });
    let made = StreamFixture::with(world, more).await;
    made.fill("x", 5).await;
    made.holds(2..5).await;
}

async fn stream_limits_file(world: World) {
    limits(world, "file").await;
}

async fn stream_limits_memory(world: World) {
    limits(world, "memory").await;
}

/// With this retention, the stream keeps messages until they are acknowledged.
async fn kept_until_acknowledged(world: World, retention: &str) {
    let made = StreamFixture::with(world, json!({ "retention": retention })).await;
    let config = consumer::pull::Config {
        durable_name: Some("worker".into()),
        ..consumer::pull::Config::default()
    };
    let worker = made.stream.create_consumer(config).await.unwrap();
    made.fill("x", 3).await;
    assert_eq!(made.stream.get_info().await.unwrap().state.messages, 3);
    let mut messages = worker.fetch().max_messages(3).messages().await.unwrap();
    for number in 0..3 {
        let message = next(&mut messages).await.unwrap();
        assert_eq!(message.payload, made.world.said(number));
        message.double_ack().await.unwrap();
    }
    made.shrinks_to(0).await;
}

async fn stream_interest(world: World) {
    kept_until_acknowledged(world, "interest").await;
}

async fn stream_work_queue(world: World) {
    kept_until_acknowledged(world, "workqueue").await;
}

async fn stream_rollup(world: World) {
    let made = StreamFixture::with(world, json!({ "allow_rollup_hdrs": true })).await;
    made.fill("x", 3).await;
    let said = made.world.said(7);
    made.put("x", said, &[("Nats-Rollup", "sub")]).await;
    made.holds([7]).await;
}

async fn stream_message_ttl(world: World) {
    let made = StreamFixture::with(world, json!({ "allow_msg_ttl": true })).await;
    made.put("stays", made.world.said(0), &[]).await;
    let said = made.world.said(1);
    made.put("goes", said, &[("Nats-TTL", "1s")]).await;
    made.shrinks_to(1).await;
    made.holds([0]).await;
}

async fn stream_purge_and_delete(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 3).await;
    made.put("y", made.world.said(3), &[]).await;
    assert!(made.stream.delete_message(2).await.unwrap());
    made.holds([0, 2, 3]).await;
    let purged = made.stream.purge().filter(made.world.subject("x")).await;
    assert_eq!(purged.unwrap().purged, 2);
    made.holds([3]).await;
}

async fn stream_max_msg_size(world: World) {
    let made = StreamFixture::with(world, json!({ "max_msg_size": 100 })).await;
    assert_eq!(made.stream.cached_info().config.max_message_size, 100);
    let text = made.world.said("").to_vec();
    let of = |size: usize| Bytes::from([&text[..], &vec![b'.'; size - text.len()]].concat());
    made.put("x", of(100), &[]).await;
    let sent = made.publisher.publish(made.world.subject("x"), of(101));
    let error = sent.await.unwrap().await.unwrap_err();
    assert!(error.to_string().contains("maximum"), "{error}");
    assert_eq!(made.read(1).await[0].payload, of(100));
}

async fn stream_atomic_batch(world: World) {
    let made = StreamFixture::with(world, json!({ "allow_atomic": true })).await;
    let agent = made.publisher.client();
    for number in 0..3_usize {
        let place = (number + 1).to_string();
        let mut headers = head(&[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", &place)]);
        if number == 2 {
            headers.insert("Nats-Batch-Commit", "1");
        }
        let (subject, said) = (made.world.subject("x"), made.world.said(number));
        let sent = agent.request_with_headers(subject, headers, said);
        let answer = sent.await.unwrap().payload;
        if number == 2 {
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(
                (&answer["batch"], &answer["count"]),
                (&json!("b"), &json!(3))
            );
        } else {
            assert!(answer.is_empty());
            assert_eq!(made.stream.get_info().await.unwrap().state.messages, 0);
        }
    }
    made.holds(0..3).await;
}

async fn stream_fast_ingest(world: World) {
    let made = StreamFixture::with(world, json!({ "allow_batched": true })).await;
    let agent = made.publisher.client();
    let inbox = agent.new_inbox();
    let mut answers = agent.subscribe(format!("{inbox}.>")).await.unwrap();
    for number in 0..50_usize {
        let operation = match number {
            0 => 0,
            49 => 2,
            _ => 1,
        };
        let reply = format!("{inbox}.10.fail.{}.{operation}.$FI", number + 1);
        let (subject, said) = (made.world.subject("x"), made.world.said(number));
        let sent = agent.publish_with_reply(subject, reply, said);
        sent.await.unwrap();
    }
    let mut flows = 0;
    loop {
        let answer: Value = serde_json::from_slice(&next(&mut answers).await.payload).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        if answer.get("batch").is_some() {
            assert_eq!(answer["count"], 50);
            break;
        }
        flows += 1;
    }
    assert!(flows > 0, "no flow control");
    made.holds(0..50).await;
}

async fn stream_schedule(world: World) {
    for keyring in ["moved", "renamed"] {
        let (publisher, reader) = world.mixed_contexts().await;
        let of = |way: &str| format!("{keyring}.rs.{way}.stream_schedule");
        let name = format!("rs_stream_schedule_{keyring}");
        let config = json!({
            "subjects": [of("in"), of("out")],
            "allow_msg_schedules": true,
            "allow_msg_ttl": true,
        });
        create(&publisher.client(), &name, config).await;
        let headers = head(&[
            ("Nats-Schedule", "@at 2020-01-01T00:00:00Z"),
            ("Nats-Schedule-Target", &of("out")),
        ]);
        let sent = publisher.publish_with_headers(of("in"), headers, world.said(keyring));
        sent.await.unwrap().await.unwrap();
        // A schedule whose time has come is replaced by the message to its target.
        let stream = reader.get_stream(name).await.unwrap();
        until(async || {
            stream
                .get_last_raw_message_by_subject(&of("out"))
                .await
                .is_ok()
        })
        .await;
        let read = read(&stream, 1).await;
        assert_eq!(read[0].subject.as_str(), of("out"));
        assert_eq!(read[0].payload, world.said(keyring));
    }
}

async fn stream_counter(world: World) {
    // A counter stream on a sealed subject is refused.
    let agent = world.publisher().await;
    let config = json!({ "name": "c", "subjects": ["rs.c"], "allow_msg_counter": true });
    let asked = agent.request("$JS.API.STREAM.CREATE.c", config.to_string().into());
    let answer: Value = serde_json::from_slice(&asked.await.unwrap().payload).unwrap();
    let told = answer["error"]["description"].as_str().unwrap();
    assert!(told.contains("counters cannot be sealed"), "{told}");
    let (publisher, reader) = world.mixed_contexts().await;
    let subject = "counter.rs.stream_counter";
    let more = json!({ "allow_msg_counter": true, "allow_direct": true });
    let made = StreamFixture::on(world, publisher, reader, subject, more).await;
    let agent = made.publisher.client();
    for (step, value) in [("+1", "1"), ("+5", "6"), ("-2", "4")] {
        let headers = head(&[("Nats-Incr", step)]);
        let sent = agent.request_with_headers(subject, headers, Bytes::new());
        let answer: Value = serde_json::from_slice(&sent.await.unwrap().payload).unwrap();
        assert_eq!(answer["val"], value, "{answer}");
    }
    let last = made.stream.direct_get_last_for_subject(subject).await;
    assert_eq!(last.unwrap().payload, r#"{"val":"4"}"#);
}
