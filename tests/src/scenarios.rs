//! The scenario list in async-nats; the drivers in `tests/clients` have it in other languages.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats connects in a large future; a test's stack holds it"
)]

use crate::certificates::ClientTls;
use crate::driver::Outcome;
use crate::wait::DEADLINE;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

type Seen = Vec<String>;
type Scenario = fn(World) -> Pin<Box<dyn Future<Output = Seen>>>;

/// Each scenario and its name.
const LIST: &[(&str, Scenario)] = &[
    ("publish_subscribe", |world| {
        Box::pin(publish_subscribe(world))
    }),
    ("wildcards", |world| Box::pin(wildcards(world))),
    ("queue_group", |world| Box::pin(queue_group(world))),
    ("request_mux", |world| Box::pin(request_mux(world))),
    ("request_inbox", |world| Box::pin(request_inbox(world))),
    ("no_responders", |world| Box::pin(no_responders(world))),
    ("headers", |world| Box::pin(headers(world))),
    ("auto_unsubscribe", |world| {
        Box::pin(auto_unsubscribe(world))
    }),
    ("echo_off", |world| Box::pin(echo_off(world))),
    ("sizes", |world| Box::pin(sizes(world))),
    ("too_large", |world| Box::pin(too_large(world))),
    ("burst", |world| Box::pin(burst(world))),
    ("flush_is_a_barrier", |world| {
        Box::pin(flush_is_a_barrier(world))
    }),
    ("drain", |world| Box::pin(drain(world))),
    ("reconnect_front", |world| {
        Box::pin(reconnect(world, "restart-front"))
    }),
    ("reconnect_server", |world| {
        Box::pin(reconnect(world, "restart-server"))
    }),
];

/// Runs every scenario against `url`; see [`crate::driver::Client::run`] for the cues. A failing scenario panics.
pub fn run(url: &str, cue: &mut dyn FnMut(&str)) -> Vec<Outcome> {
    run_over(url, None, cue)
}

/// The same over TLS.
pub fn run_over(url: &str, tls: Option<&ClientTls>, cue: &mut dyn FnMut(&str)) -> Vec<Outcome> {
    LIST.iter()
        .map(|(name, scenario)| perform(name, *scenario, (url, tls), cue))
        .collect()
}

/// Runs a scenario on a thread of its own, so that cues are handled while its client goes on.
fn perform(
    name: &str,
    scenario: Scenario,
    (url, tls): (&str, Option<&ClientTls>),
    cue: &mut dyn FnMut(&str),
) -> Outcome {
    let (cues, mut asked) = mpsc::unbounded_channel();
    let (answer, answers) = mpsc::unbounded_channel();
    let world = World {
        url: url.to_owned(),
        tls: tls.cloned(),
        cues,
        answers,
    };
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { timeout(DEADLINE * 2, scenario(world)).await.unwrap() })
    });
    while let Some(wanted) = asked.blocking_recv() {
        cue(wanted);
        answer.send(()).unwrap();
    }
    let seen = thread
        .join()
        .unwrap_or_else(|_| panic!("async-nats at {url}: {name} failed; its panic is above"));
    Outcome {
        name: name.to_owned(),
        pass: true,
        detail: String::new(),
        seen,
    }
}

struct World {
    url: String,
    tls: Option<ClientTls>,
    cues: mpsc::UnboundedSender<&'static str>,
    answers: mpsc::UnboundedReceiver<()>,
}

impl World {
    async fn connect(&self) -> Client {
        self.connect_with(ConnectOptions::new()).await
    }

    async fn connect_with(&self, options: ConnectOptions) -> Client {
        let options = match &self.tls {
            Some(tls) => tls.of(options),
            None => options,
        };
        options
            .connection_timeout(DEADLINE)
            .request_timeout(Some(DEADLINE))
            .connect(&self.url)
            .await
            .unwrap()
    }
}

/// A message as it is compared: subject, length and digest of the payload, headers.
fn note(message: &Message) -> String {
    let digest = Sha256::digest(&message.payload);
    let mut text = format!(
        "{} {} {:02x?}",
        message.subject,
        message.payload.len(),
        &digest[..8]
    );
    let mut pairs: Vec<_> = message.headers.iter().flat_map(HeaderMap::iter).collect();
    pairs.sort_by_key(|(name, _)| name.to_string());
    for (name, values) in pairs {
        write!(text, " {name}={values:?}").unwrap();
    }
    text
}

/// Pseudorandom bytes, the same in every run.
fn payload(size: usize, seed: usize) -> Bytes {
    Sha256::digest(seed.to_be_bytes())
        .iter()
        .copied()
        .cycle()
        .take(size)
        .collect()
}

async fn next(subscriber: &mut Subscriber) -> Message {
    timeout(DEADLINE, subscriber.next())
        .await
        .expect("a message in time")
        .expect("an open subscription")
}

async fn take(subscriber: &mut Subscriber, count: usize) -> Seen {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(note(&next(subscriber).await));
    }
    seen
}

/// Publishes a last message, and expects it to be the next one received.
async fn nothing_before(
    last: &str,
    client: &Client,
    subject: &'static str,
    subscriber: &mut Subscriber,
) {
    client
        .publish(subject, last.to_owned().into())
        .await
        .unwrap();
    assert_eq!(
        next(subscriber).await.payload,
        last.as_bytes(),
        "another message came first"
    );
}

/// Waits until the server has processed what this client sent: a round trip, as flushing only empties the client's buffer.
async fn settle(client: &Client) {
    let error = client
        .request("nobody.listens", "".into())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

async fn publish_subscribe(world: World) -> Seen {
    let client = world.connect().await;
    let mut subscriber = client.subscribe("basic.x").await.unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    for data in [
        &b"hello"[..],
        b"",
        b"\r\nPUB basic.y 3\r\nabc\r\n",
        &every_byte,
        "čau".as_bytes(),
    ] {
        client
            .publish("basic.x", data.to_vec().into())
            .await
            .unwrap();
    }
    let seen = take(&mut subscriber, 5).await;
    nothing_before("last", &client, "basic.x", &mut subscriber).await;
    seen
}

async fn wildcards(world: World) -> Seen {
    let client = world.connect().await;
    let mut subscribers = Vec::new();
    for (filter, count) in [("w.*", 1), ("w.>", 4), ("w.*.c", 2), ("w.a.c", 1)] {
        subscribers.push((client.subscribe(filter).await.unwrap(), count));
    }
    for subject in ["w.a", "w.a.c", "w.b.c", "w.a.b.c", "other.a"] {
        client.publish(subject, subject.into()).await.unwrap();
    }
    let mut seen = Vec::new();
    for (subscriber, count) in &mut subscribers {
        seen.extend(take(subscriber, *count).await);
    }
    seen
}

async fn queue_group(world: World) -> Seen {
    let (merged, mut arrivals) = mpsc::unbounded_channel();
    for member in 0..3 {
        let client = world.connect().await;
        let mut subscriber = client
            .queue_subscribe("work.>", "crew".to_owned())
            .await
            .unwrap();
        settle(&client).await;
        let merged = merged.clone();
        tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                let told = merged.send((member, note(&message)));
                assert!(told.is_ok(), "a message too many");
            }
            drop(client);
        });
    }
    let publisher = world.connect().await;
    for number in 0..60 {
        publisher
            .publish(format!("work.{number}"), number.to_string().into())
            .await
            .unwrap();
    }
    let mut got = [0; 3];
    let mut seen = Vec::new();
    for _ in 0..60 {
        let (member, text) = timeout(DEADLINE, arrivals.recv()).await.unwrap().unwrap();
        got[member] += 1;
        seen.push(text);
    }
    assert!(!got.contains(&0), "a member got nothing: {got:?}");
    seen.sort();
    seen
}

async fn answer(world: &World) {
    let client = world.connect().await;
    let mut requests = client.subscribe("svc.*").await.unwrap();
    settle(&client).await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let text = [b"re: ", &request.payload[..]].concat();
            client
                .publish(request.reply.unwrap(), text.into())
                .await
                .unwrap();
        }
    });
}

async fn request_mux(world: World) -> Seen {
    answer(&world).await;
    let client = world.connect().await;
    let requests = (0..30).map(|number| client.request("svc.echo", payload(number, number)));
    let replies = join_all(requests).await;
    replies
        .into_iter()
        .map(|reply| format!("{:02x?}", reply.unwrap().payload))
        .collect()
}

async fn request_inbox(world: World) -> Seen {
    answer(&world).await;
    let client = world.connect().await;
    let mut seen = Vec::new();
    for number in 0..10 {
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.unwrap();
        replies.unsubscribe_after(1).await.unwrap();
        client
            .publish_with_reply("svc.echo", inbox, payload(number, number))
            .await
            .unwrap();
        seen.push(format!("{:02x?}", next(&mut replies).await.payload));
        assert!(
            timeout(DEADLINE, replies.next()).await.unwrap().is_none(),
            "more than one reply"
        );
    }
    seen
}

async fn no_responders(world: World) -> Seen {
    let client = world.connect().await;
    let error = client.request("nobody.home", "?".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
    vec![error.to_string()]
}

async fn headers(world: World) -> Seen {
    let client = world.connect().await;
    let mut subscriber = client.subscribe("head.er").await.unwrap();
    for data in ["body", ""] {
        let mut block = HeaderMap::new();
        block.append("One", "1");
        block.append("One", "uno");
        block.append("two-words", "a b: c");
        client
            .publish_with_headers("head.er", block, data.into())
            .await
            .unwrap();
    }
    take(&mut subscriber, 2).await
}

async fn auto_unsubscribe(world: World) -> Seen {
    let client = world.connect().await;
    let mut subscriber = client.subscribe("auto.x").await.unwrap();
    subscriber.unsubscribe_after(3).await.unwrap();
    for number in 0..10 {
        client
            .publish("auto.x", number.to_string().into())
            .await
            .unwrap();
    }
    let seen = take(&mut subscriber, 3).await;
    assert!(
        timeout(DEADLINE, subscriber.next())
            .await
            .unwrap()
            .is_none(),
        "more than three"
    );
    seen
}

async fn echo_off(world: World) -> Seen {
    let quiet = world.connect_with(ConnectOptions::new().no_echo()).await;
    let other = world.connect().await;
    let mut own = quiet.subscribe("echo.x").await.unwrap();
    let mut others = other.subscribe("echo.x").await.unwrap();
    settle(&quiet).await;
    settle(&other).await;
    quiet
        .publish("echo.x", "from the quiet one".into())
        .await
        .unwrap();
    let seen = take(&mut others, 1).await;
    nothing_before("from the other", &other, "echo.x", &mut own).await;
    seen
}

async fn sizes(world: World) -> Seen {
    let (client, receiver) = (world.connect().await, world.connect().await);
    let mut subscriber = receiver.subscribe("size.x").await.unwrap();
    settle(&receiver).await;
    let every = [
        0, 1, 2, 15, 16, 17, 31, 32, 47, 48, 49, 127, 128, 1023, 1024, 4096, 32768, 65535, 65536,
        300_000,
    ];
    for size in every {
        client.publish("size.x", payload(size, size)).await.unwrap();
    }
    let seen = take(&mut subscriber, every.len()).await;
    let whole = payload(client.server_info().max_payload, 1);
    client.publish("size.x", whole.clone()).await.unwrap();
    assert!(
        next(&mut subscriber).await.payload == whole,
        "the largest message arrived changed"
    );
    seen
}

async fn too_large(world: World) -> Seen {
    let client = world.connect().await;
    let most = client.server_info().max_payload;
    let refused = client
        .publish("size.x", payload(most + 1, 1))
        .await
        .unwrap_err();
    settle(&client).await;
    vec![format!("{:?}", refused.kind())]
}

async fn burst(world: World) -> Seen {
    let (client, receiver) = (world.connect().await, world.connect().await);
    let mut subscriber = receiver.subscribe("burst.>").await.unwrap();
    settle(&receiver).await;
    for number in 0..2000 {
        client
            .publish(
                format!("burst.{}", number % 7),
                payload(number * 37 % 1500, number),
            )
            .await
            .unwrap();
    }
    take(&mut subscriber, 2000).await
}

async fn flush_is_a_barrier(world: World) -> Seen {
    let (client, receiver) = (world.connect().await, world.connect().await);
    let mut subscriber = receiver.subscribe("flush.x").await.unwrap();
    settle(&receiver).await;
    let mut seen = Vec::new();
    for round in 0..20 {
        client
            .publish("flush.x", round.to_string().into())
            .await
            .unwrap();
        settle(&client).await;
        seen.extend(take(&mut subscriber, 1).await);
    }
    seen
}

async fn drain(world: World) -> Seen {
    let (client, publisher) = (world.connect().await, world.connect().await);
    let mut subscriber = client.subscribe("drain.x").await.unwrap();
    settle(&client).await;
    for number in 0..200 {
        publisher
            .publish("drain.x", number.to_string().into())
            .await
            .unwrap();
    }
    settle(&publisher).await;
    // async-nats leaves its subscriptions once it has written the UNSUB, and drops what has not arrived by then.
    settle(&client).await;
    client.drain().await.unwrap();
    let seen = take(&mut subscriber, 200).await;
    assert!(
        timeout(DEADLINE, subscriber.next())
            .await
            .unwrap()
            .is_none(),
        "not closed by the drain"
    );
    seen
}

async fn reconnect(mut world: World, cue: &'static str) -> Seen {
    let (told, mut events) = mpsc::unbounded_channel();
    let options = ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .event_callback(move |event| {
            let told = told.clone();
            async move { drop(told.send(event)) }
        });
    let client = world.connect_with(options).await;
    let mut subscriber = client.subscribe("again.x").await.unwrap();
    client.publish("again.x", "before".into()).await.unwrap();
    let mut seen = take(&mut subscriber, 1).await;
    world.cues.send(cue).unwrap();
    world.answers.recv().await.unwrap();
    expect(&mut events, &Event::Disconnected).await;
    expect(&mut events, &Event::Connected).await;
    client.publish("again.x", "after".into()).await.unwrap();
    seen.extend(take(&mut subscriber, 1).await);
    seen
}

async fn expect(events: &mut mpsc::UnboundedReceiver<Event>, wanted: &Event) {
    while timeout(DEADLINE, events.recv()).await.unwrap().as_ref() != Some(wanted) {}
}
