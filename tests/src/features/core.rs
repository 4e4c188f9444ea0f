//! Core NATS.

use super::world::{World, next, settle};
use async_nats::{Client, ConnectOptions, HeaderMap, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;

super::scenarios!(
    publish_subscribe,
    wildcards,
    queue_groups,
    headers,
    empty_payload,
    no_responders,
    request_reply,
    request_many,
    custom_inbox_prefix,
    drain,
);

async fn subscribe(reader: &Client, subject: String) -> Subscriber {
    let subscriber = reader.subscribe(subject).await.unwrap();
    settle(reader).await;
    subscriber
}

async fn publish_subscribe(world: World) {
    let (publisher, reader) = (world.publisher().await, world.reader().await);
    let mut subscriber = subscribe(&reader, world.subject("x")).await;
    for number in 0..50 {
        let said = world.said(number);
        publisher.publish(world.subject("x"), said).await.unwrap();
    }
    settle(&publisher).await;
    for number in 0..50 {
        assert_eq!(next(&mut subscriber).await.payload, world.said(number));
    }
}

async fn wildcards(world: World) {
    let (publisher, reader) = (world.publisher().await, world.reader().await);
    let mut one = subscribe(&reader, world.subject("*.c")).await;
    let mut rest = subscribe(&reader, world.subject(">")).await;
    for last in ["a.c", "b", "b.c"] {
        let said = world.said(last);
        publisher.publish(world.subject(last), said).await.unwrap();
    }
    settle(&publisher).await;
    for (subscriber, expected) in [
        (&mut one, &["a.c", "b.c"][..]),
        (&mut rest, &["a.c", "b", "b.c"]),
    ] {
        for last in expected {
            let message = next(subscriber).await;
            assert_eq!(message.subject.as_str(), world.subject(last));
            assert_eq!(message.payload, world.said(last));
        }
    }
}

async fn queue_groups(world: World) {
    let publisher = world.publisher().await;
    let mut members = Vec::new();
    for _ in 0..3 {
        let reader = world.reader().await;
        let member = reader
            .queue_subscribe(world.subject(">"), "crew".into())
            .await
            .unwrap();
        settle(&reader).await;
        members.push((reader, member));
    }
    for number in 0..60 {
        let said = world.said(number);
        publisher.publish(world.subject("x"), said).await.unwrap();
    }
    settle(&publisher).await;
    let mut got = Vec::new();
    for (reader, member) in members {
        settle(&reader).await;
        reader.drain().await.unwrap();
        let own: Vec<Bytes> = member.map(|message| message.payload).collect().await;
        assert!(!own.is_empty(), "a member got nothing");
        got.extend(own);
    }
    got.sort_unstable();
    let mut said: Vec<_> = (0..60).map(|number| world.said(number)).collect();
    said.sort_unstable();
    assert_eq!(got, said);
}

async fn headers(world: World) {
    let (publisher, reader) = (world.publisher().await, world.reader().await);
    let mut subscriber = subscribe(&reader, world.subject("x")).await;
    let mut headers = HeaderMap::new();
    headers.append("One", "1");
    headers.append("One", "uno");
    headers.insert("two-words", "a b: c");
    publisher
        .publish_with_headers(world.subject("x"), headers.clone(), world.said("x"))
        .await
        .unwrap();
    settle(&publisher).await;
    let message = next(&mut subscriber).await;
    assert_eq!(message.headers, Some(headers));
    assert_eq!(message.payload, world.said("x"));
}

async fn empty_payload(world: World) {
    let (publisher, reader) = (world.publisher().await, world.reader().await);
    let mut subscriber = subscribe(&reader, world.subject("x")).await;
    for said in [Bytes::new(), world.said("full")] {
        let subject = world.subject("x");
        publisher.publish(subject, said.clone()).await.unwrap();
        settle(&publisher).await;
        assert_eq!(next(&mut subscriber).await.payload, said);
    }
}

async fn no_responders(world: World) {
    let publisher = world.publisher().await;
    let error = publisher.request("nobody.rs", world.said("?")).await;
    assert_eq!(error.unwrap_err().kind(), RequestErrorKind::NoResponders);
}

/// Answers every request with the answers that `answers` makes of its payload.
async fn respond(world: &World, subject: String, answers: fn(&str) -> Vec<String>) {
    let reader = world.reader().await;
    let mut requests = subscribe(&reader, subject).await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.unwrap();
            for answer in answers(std::str::from_utf8(&request.payload).unwrap()) {
                reader.publish(reply.clone(), answer.into()).await.unwrap();
            }
            reader.flush().await.unwrap();
        }
    });
}

async fn ask(world: &World, agent: &Client) {
    respond(world, world.subject("ask"), |asked| {
        vec![format!("{asked} answered")]
    })
    .await;
    for number in 0..10 {
        let said = world.said(number);
        let reply = agent.request(world.subject("ask"), said).await.unwrap();
        assert_eq!(reply.payload, world.said(format!("{number} answered")));
    }
}

async fn request_reply(world: World) {
    ask(&world, &world.publisher().await).await;
}

async fn custom_inbox_prefix(world: World) {
    let options = ConnectOptions::new().custom_inbox_prefix("rs.custom_inbox_prefix.inbox");
    let agent = world.reader_with(options).await;
    ask(&world, &agent).await;
}

async fn request_many(world: World) {
    respond(&world, world.subject("ask"), |asked| {
        let answer = |number| format!("{asked} {number}");
        (0..5).map(answer).chain([String::new()]).collect()
    })
    .await;
    let agent = world.publisher().await;
    let inbox = agent.new_inbox();
    let mut answers = subscribe(&agent, inbox.clone()).await;
    agent
        .publish_with_reply(world.subject("ask"), inbox, world.said("?"))
        .await
        .unwrap();
    for number in 0..5 {
        let expected = world.said(format!("? {number}"));
        assert_eq!(next(&mut answers).await.payload, expected);
    }
    // The empty message that ends request-many.
    assert_eq!(next(&mut answers).await.payload, Bytes::new());
}

async fn drain(world: World) {
    let (publisher, reader) = (world.publisher().await, world.reader().await);
    let subscriber = subscribe(&reader, world.subject("x")).await;
    for number in 0..200 {
        let said = world.said(number);
        publisher.publish(world.subject("x"), said).await.unwrap();
    }
    settle(&publisher).await;
    // async-nats leaves its subscriptions once it has written the UNSUB, and drops what has not arrived by then.
    settle(&reader).await;
    reader.drain().await.unwrap();
    let got: Vec<Bytes> = subscriber.map(|message| message.payload).collect().await;
    let said: Vec<_> = (0..200).map(|number| world.said(number)).collect();
    assert_eq!(got, said);
}
