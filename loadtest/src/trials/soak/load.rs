//! The clients of a soak test.
#![expect(
    clippy::large_stack_frames,
    reason = "async-nats works in large futures, which the agents' one thread holds"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, Context, kv, stream};
use async_nats::{Client, Error};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::error::RunError;

/// How long any answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Pause of each client between two rounds: the load is steady, not maximal.
const PAUSE: Duration = Duration::from_millis(5);

/// Messages of a round of publishing.
const ROUND: usize = 50;

/// How often a client does not read, and for how long.
const SLOW_EVERY: Duration = Duration::from_secs(7);
const SLOW_FOR: Duration = Duration::from_secs(1);

/// Size and number of messages for a client that does not read: more than sockets hold.
const LARGE: usize = 64 * 1024;
const MANY: usize = 128;

/// Keys of the bucket.
const KEYS: usize = 64;

/// Running clients, on a thread of their own.
pub(crate) struct Load {
    over: watch::Sender<bool>,
    thread: JoinHandle<()>,
    errors: Arc<Mutex<BTreeSet<String>>>,
}

/// State of the clients.
#[derive(Clone)]
struct Agents {
    addr: SocketAddr,
    over: watch::Receiver<bool>,
    errors: Arc<Mutex<BTreeSet<String>>>,
}

impl Load {
    /// Starts all clients.
    pub(crate) fn start(addr: SocketAddr) -> Result<Self, RunError> {
        let (over, seen) = watch::channel(false);
        let errors = Arc::default();
        let agents = Agents {
            addr,
            over: seen,
            errors: Arc::clone(&errors),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| RunError::io("starting a runtime", source))?;
        let thread = std::thread::spawn(move || runtime.block_on(Box::pin(agents.work())));
        Ok(Self {
            over,
            thread,
            errors,
        })
    }

    /// Stops all clients; returns their errors, each kind once.
    pub(crate) fn finish(self) -> Vec<String> {
        self.over.send_replace(true);
        let ended = self.thread.join();
        let mut errors = self
            .errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if ended.is_err() {
            errors.insert("an agent panicked".to_owned());
        }
        errors.into_iter().collect()
    }
}

impl Agents {
    async fn work(self) {
        tokio::join!(
            self.go_on("publish and subscribe", talk(&self)),
            self.go_on("publish and subscribe", talk(&self)),
            self.go_on("request and reply", ask(&self)),
            self.go_on("stream", store(&self)),
            self.go_on("bucket", keep(&self)),
            self.go_on("coming and going", come_and_go(&self)),
            self.go_on("not reading", do_not_read(&self)),
        );
    }

    /// Runs a client until the end, and records its error.
    async fn go_on(&self, who: &str, work: impl Future<Output = Result<(), Error>>) {
        if let Err(error) = Box::pin(work).await {
            let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
            errors.insert(format!("{who}: {error}"));
        }
    }

    /// Pauses; whether to go on.
    async fn again(&self) -> bool {
        self.after(PAUSE).await
    }

    async fn after(&self, pause: Duration) -> bool {
        let mut over = self.over.clone();
        timeout(pause, over.wait_for(|over| *over)).await.is_err()
    }

    async fn connect(&self) -> Result<Client, Error> {
        Ok(Box::pin(async_nats::connect(format!("nats://{}", self.addr))).await?)
    }
}

/// Waits with a deadline.
async fn soon<T>(what: impl Future<Output = Option<T>>) -> Result<T, Error> {
    timeout(DEADLINE, what)
        .await?
        .ok_or_else(|| "the connection is gone".into())
}

/// Publishes; every message must arrive in order.
async fn talk(agents: &Agents) -> Result<(), Error> {
    let (publisher, subscriber) = (agents.connect().await?, agents.connect().await?);
    let subject = publisher.new_inbox().replace("_INBOX", "soak.talk");
    let mut heard = subscriber.subscribe(subject.clone()).await?;
    subscriber.flush().await?;
    let filler = "x".repeat(200);
    let mut next = 0_u64;
    while agents.again().await {
        let first = next;
        for _message in 0..ROUND {
            publisher
                .publish(subject.clone(), format!("{next} {filler}").into())
                .await?;
            next += 1;
        }
        for number in first..next {
            let message = soon(heard.next()).await?;
            if message.payload != format!("{number} {filler}") {
                return Err(format!("{number} was lost or altered").into());
            }
        }
    }
    Ok(())
}

/// Sends requests, which must be answered.
async fn ask(agents: &Agents) -> Result<(), Error> {
    let (asker, responder) = (agents.connect().await?, agents.connect().await?);
    let mut questions = responder.subscribe("soak.ask").await?;
    responder.flush().await?;
    let answers = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let Some(reply) = question.reply else {
                continue;
            };
            if responder.publish(reply, question.payload).await.is_err() {
                break;
            }
        }
    });
    let mut number = 0_u64;
    while agents.again().await {
        let question = number.to_string();
        let answer = asker.request("soak.ask", question.clone().into()).await?;
        if answer.payload != question {
            return Err("the answer to something else".into());
        }
        number += 1;
    }
    answers.abort();
    Ok(())
}

/// Publishes to a stream, and reads what was acknowledged.
async fn store(agents: &Agents) -> Result<(), Error> {
    let context = jetstream::new(agents.connect().await?);
    let config = stream::Config {
        name: "SOAK".to_owned(),
        subjects: vec!["soak.stored.>".to_owned()],
        max_messages: 10_000,
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await?;
    let config = pull::Config {
        durable_name: Some("SOAK".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let mut messages = consumer.messages().await?;
    let mut number = 0_u64;
    while agents.again().await {
        put(&context, number).await?;
        let message = soon(messages.next()).await??;
        if message.payload != number.to_string() {
            return Err(format!("{number} was lost, or came again").into());
        }
        message.ack().await?;
        number += 1;
    }
    Ok(())
}

async fn put(context: &Context, number: u64) -> Result<(), Error> {
    let sent = context.publish("soak.stored.a", number.to_string().into());
    sent.await?.await?;
    Ok(())
}

/// Puts values, which must be got and watched.
async fn keep(agents: &Agents) -> Result<(), Error> {
    let context = jetstream::new(agents.connect().await?);
    let config = kv::Config {
        bucket: "soak".to_owned(),
        history: 1,
        ..kv::Config::default()
    };
    let bucket = context.create_key_value(config).await?;
    let mut watch = Box::pin(bucket.watch_all()).await?;
    let mut number = 0;
    while agents.again().await {
        let (key, value) = (format!("key.{}", number % KEYS), number.to_string());
        bucket.put(&key, value.clone().into()).await?;
        let got = bucket.get(&key).await?;
        let seen = soon(watch.next()).await??;
        if got.is_none_or(|got| got != value) || seen.value != value {
            return Err(format!("{key} is not what was put").into());
        }
        number += 1;
    }
    Ok(())
}

/// Connects for one message to itself, again and again.
async fn come_and_go(agents: &Agents) -> Result<(), Error> {
    while agents.after(4 * PAUSE).await {
        let client = agents.connect().await?;
        let inbox = client.new_inbox();
        let mut heard = client.subscribe(inbox.clone()).await?;
        client.publish(inbox, "hello".into()).await?;
        soon(heard.next()).await?;
    }
    Ok(())
}

/// Subscribes to more than its socket holds, reads nothing, and closes.
async fn do_not_read(agents: &Agents) -> Result<(), Error> {
    let publisher = agents.connect().await?;
    let large = "x".repeat(LARGE);
    while agents.after(SLOW_EVERY).await {
        let mut slow = TcpStream::connect(agents.addr).await?;
        slow.write_all(b"CONNECT {\"verbose\":false}\r\nSUB soak.large 1\r\n")
            .await?;
        for _message in 0..MANY {
            publisher
                .publish("soak.large", large.clone().into())
                .await?;
        }
        publisher.flush().await?;
        sleep(SLOW_FOR).await;
    }
    Ok(())
}
