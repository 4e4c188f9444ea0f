//! Reading stored messages: mirrors, sources, republish, direct gets, backups.

use super::jetstream::{StreamFixture, api, create, read};
use super::world::{World, next, settle};
use async_nats::Client;
use bytes::Bytes;
use serde_json::{Value, json};

super::scenarios!(
    stream_mirror,
    stream_source,
    stream_republish,
    stream_subject_transform,
    stream_message_get,
    stream_direct_get,
    stream_direct_get_batch,
    stream_direct_get_multi_last,
    stream_direct_get_no_headers,
    stream_backup_restore,
    stream_compression,
);

/// A stream with this configuration copies the scenario's.
async fn copied(world: World, config: impl Fn(&str) -> Value) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 3).await;
    let copy = format!("{}_copy", made.world.named());
    let agent = made.publisher.client();
    create(&agent, &copy, config(&made.world.named())).await;
    let copy = made.reader.get_stream(copy).await.unwrap();
    for (number, message) in read(&copy, 3).await.iter().enumerate() {
        assert_eq!(message.payload, made.world.said(number));
        assert_eq!(message.subject.as_str(), made.world.subject("x"));
    }
}

async fn stream_mirror(world: World) {
    copied(world, |name| json!({ "mirror": { "name": name } })).await;
}

async fn stream_source(world: World) {
    copied(world, |name| json!({ "sources": [{ "name": name }] })).await;
}

async fn stream_republish(world: World) {
    for keyring in ["moved", "renamed"] {
        let (publisher, reader) = world.mixed_contexts().await;
        let of = |way: &str| format!("{keyring}.rs.{way}.stream_republish");
        let name = format!("rs_stream_republish_{keyring}");
        let config = json!({
            "subjects": [of("in")],
            "republish": { "src": of("in"), "dest": of("out") },
        });
        create(&publisher.client(), &name, config).await;
        let mut heard = reader.client().subscribe(of("out")).await.unwrap();
        settle(&reader.client()).await;
        let sent = publisher.publish(of("in"), world.said(keyring));
        sent.await.unwrap().await.unwrap();
        let message = next(&mut heard).await;
        let origin = message.headers.unwrap();
        assert_eq!(origin.get("Nats-Subject").unwrap().as_str(), of("in"));
        assert_eq!(message.payload, world.said(keyring));
    }
}

async fn stream_subject_transform(world: World) {
    for keyring in ["moved", "renamed"] {
        let (publisher, reader) = world.mixed_contexts().await;
        let of = |way: &str, last: &str| format!("{keyring}.rs.{way}.{last}");
        let name = format!("rs_stream_subject_transform_{keyring}");
        let config = json!({
            "subjects": [of("in", "stream_subject_transform")],
            "subject_transform": { "src": of("in", "*"), "dest": of("out", "{{wildcard(1)}}") },
        });
        create(&publisher.client(), &name, config).await;
        let sent = publisher.publish(of("in", "stream_subject_transform"), world.said(keyring));
        sent.await.unwrap().await.unwrap();
        let stream = reader.get_stream(name).await.unwrap();
        let message = &read(&stream, 1).await[0];
        assert_eq!(
            message.subject.as_str(),
            of("out", "stream_subject_transform")
        );
        assert_eq!(message.payload, world.said(keyring));
    }
}

async fn stream_message_get(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 3).await;
    let second = made.stream.get_raw_message(2).await.unwrap();
    assert_eq!(second.payload, made.world.said(1));
    let subject = made.world.subject("x");
    let last = made.stream.get_last_raw_message_by_subject(&subject).await;
    assert_eq!(last.unwrap().payload, made.world.said(2));
}

async fn direct(world: World, more: usize) -> StreamFixture {
    let made = StreamFixture::with(world, json!({ "allow_direct": true })).await;
    made.fill("x", 3).await;
    for number in 3..3 + more {
        made.put("y", made.world.said(number), &[]).await;
    }
    made
}

async fn stream_direct_get(world: World) {
    let made = direct(world, 0).await;
    let second = made.stream.direct_get(2).await.unwrap();
    assert_eq!(second.payload, made.world.said(1));
    let subject = made.world.subject("x");
    let last = made.stream.direct_get_last_for_subject(subject).await;
    assert_eq!(last.unwrap().payload, made.world.said(2));
}

/// The answers to a batched direct get, up to the empty one that ends it.
async fn many(agent: &Client, made: &StreamFixture, asked: Value) -> Vec<Bytes> {
    let inbox = agent.new_inbox();
    let mut answers = agent.subscribe(inbox.clone()).await.unwrap();
    let subject = format!("$JS.API.DIRECT.GET.{}", made.world.named());
    let sent = agent.publish_with_reply(subject, inbox, asked.to_string().into());
    sent.await.unwrap();
    let mut payloads = Vec::new();
    loop {
        let answer = next(&mut answers).await;
        if let Some(status) = answer.status {
            assert_eq!(status.as_u16(), 204);
            return payloads;
        }
        payloads.push(answer.payload);
    }
}

async fn stream_direct_get_batch(world: World) {
    let made = direct(world, 2).await;
    let agent = made.reader.client();
    let asked = json!({ "seq": 2, "batch": 3 });
    let said: Vec<_> = (1..4).map(|number| made.world.said(number)).collect();
    assert_eq!(many(&agent, &made, asked).await, said);
}

async fn stream_direct_get_multi_last(world: World) {
    let made = direct(world, 2).await;
    let agent = made.reader.client();
    let asked = json!({ "multi_last": [made.world.subject("x"), made.world.subject("y")] });
    let said = [made.world.said(2), made.world.said(4)];
    assert_eq!(many(&agent, &made, asked).await, said);
}

async fn stream_direct_get_no_headers(world: World) {
    let made = direct(world, 0).await;
    let agent = made.reader.client();
    let subject = made.world.subject("x");
    let stream = format!("$JS.API.DIRECT.GET.{}", made.world.named());
    for (question, number) in [("last_by_subj", 2), ("next_by_subj", 0)] {
        let asked = json!({ question: subject, "no_hdr": true }).to_string();
        let answer = agent.request(stream.clone(), asked.into()).await.unwrap();
        assert_eq!(answer.payload, made.world.said(number), "{question}");
        assert_eq!(answer.headers, None, "{question}");
    }
    by_sequence(made.world, "moved").await;
}

/// A direct get by sequence, where the request does not name the subject.
async fn by_sequence(world: World, keyring: &str) {
    let (publisher, reader) = world.mixed_contexts().await;
    let subject = format!("{keyring}.rs.in.stream_direct_get_no_headers");
    let config = json!({ "subjects": [subject], "allow_direct": true });
    let name = "rs_stream_direct_get_no_headers_sequence";
    create(&publisher.client(), name, config).await;
    let sent = publisher.publish(subject, world.said(keyring));
    sent.await.unwrap().await.unwrap();
    let asked = json!({ "seq": 1, "no_hdr": true }).to_string();
    let agent = reader.client();
    let stream = format!("$JS.API.DIRECT.GET.{name}");
    let answer = agent.request(stream, asked.into()).await.unwrap();
    assert_eq!(answer.payload, world.said(keyring));
}

async fn stream_backup_restore(world: World) {
    let made = StreamFixture::with(world, json!({})).await;
    made.fill("x", 5).await;
    let (agent, name) = (made.reader.client(), made.world.named());
    let inbox = agent.new_inbox();
    let mut sent = agent.subscribe(inbox.clone()).await.unwrap();
    let asked = json!({ "deliver_subject": inbox });
    let about = api(&agent, &format!("STREAM.SNAPSHOT.{name}"), &asked).await;
    let mut chunks = Vec::new();
    loop {
        let chunk = next(&mut sent).await;
        if chunk.payload.is_empty() {
            break;
        }
        chunks.push(chunk.payload);
        if let Some(reply) = chunk.reply {
            agent.publish(reply, Bytes::new()).await.unwrap();
        }
    }
    api(&agent, &format!("STREAM.DELETE.{name}"), &json!({})).await;
    let asked = json!({ "config": about["config"], "state": about["state"] });
    let granted = api(&agent, &format!("STREAM.RESTORE.{name}"), &asked).await;
    let to = granted["deliver_subject"].as_str().unwrap().to_owned();
    for chunk in chunks.into_iter().chain([Bytes::new()]) {
        let answer = agent.request(to.clone(), chunk).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        assert!(answer.get("error").is_none(), "{answer}");
    }
    made.holds(0..5).await;
}

async fn stream_compression(world: World) {
    let made = StreamFixture::with(world, json!({ "compression": "s2" })).await;
    made.fill("x", 20).await;
    made.holds(0..20).await;
}
