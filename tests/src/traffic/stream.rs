//! JetStream by official clients: publishers that remember what was acknowledged, and a consumer that remembers what it has read.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats works in large futures, which a runtime's thread holds"
)]

use crate::certificates::ClientTls;
use crate::envelope::MAGIC;
use crate::wait;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, Context, stream};
use async_nats::{ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const STREAM: &str = "TRAFFIC";

/// How long an answer may take before the request is repeated.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Messages acknowledged, and read, that count as progress.
const MIN_PROGRESS: usize = 40;

/// Publishers of one stream and its consumer.
pub struct StreamTraffic {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    consumer: JoinHandle<()>,
}

/// How clients connect.
#[derive(Clone)]
struct Endpoint {
    url: String,
    tls: Option<ClientTls>,
}

#[derive(Default)]
struct Shared {
    /// Stops the publishers.
    enough: AtomicBool,
    /// Stops the consumer.
    over: AtomicBool,
    acknowledged: Mutex<BTreeSet<usize>>,
    read: Mutex<BTreeSet<String>>,
}

impl StreamTraffic {
    /// Creates a stream with this many replicas, and starts this many publishers.
    pub fn start(url: &str, replicas: usize, publishers: usize) -> Self {
        let endpoint = Endpoint {
            url: url.to_owned(),
            tls: None,
        };
        Self::by(endpoint, replicas, publishers)
    }

    /// The same over TLS.
    pub fn over_tls(url: &str, tls: ClientTls, publishers: usize) -> Self {
        let endpoint = Endpoint {
            url: url.to_owned(),
            tls: Some(tls),
        };
        Self::by(endpoint, 1, publishers)
    }

    fn by(endpoint: Endpoint, replicas: usize, publishers: usize) -> Self {
        block_on(make_stream(&endpoint, replicas));
        let shared = Arc::new(Shared::default());
        let publishing = (0..publishers).map(|first| {
            let (endpoint, shared) = (endpoint.clone(), Arc::clone(&shared));
            std::thread::spawn(move || block_on(publish(&endpoint, (first, publishers), &shared)))
        });
        let publishing = publishing.collect();
        let consumer = {
            let (endpoint, shared) = (endpoint.clone(), Arc::clone(&shared));
            std::thread::spawn(move || block_on(consume(&endpoint, &shared)))
        };
        Self {
            endpoint,
            shared,
            publishers: publishing,
            consumer,
        }
    }

    /// Waits until some more messages have been acknowledged, and some more read.
    pub fn await_progress(&self) {
        let acknowledged = || self.shared.acknowledged.lock().unwrap().len();
        let read = || self.shared.read.lock().unwrap().len();
        let (before, read_before) = (acknowledged(), read());
        wait::until("acknowledged messages", || {
            (acknowledged() >= before + MIN_PROGRESS).then_some(())
        });
        wait::until("messages that are read", || {
            (read() >= read_before + MIN_PROGRESS).then_some(())
        });
    }

    /// Waits until the stream has a leader and this many replicas that are current.
    pub fn await_replication(&self, others: usize) {
        wait::until("a stream whose replicas are current", || {
            let info = block_on(info(&self.endpoint))?;
            let cluster = info.cluster?;
            let current = |peer: &&stream::PeerInfo| peer.current && !peer.offline;
            let count = cluster.replicas.iter().filter(current).count();
            (cluster.leader.is_some() && count >= others).then_some(())
        });
    }

    /// Stops the publishers, and waits until every acknowledged message has been read in plaintext. Fails unless each is in the
    /// stream once (the server drops duplicates by their id), sealed. `server` is a server's own URL. Returns how many there are.
    pub fn finish(self, server: &str) -> usize {
        self.shared.enough.store(true, Ordering::Release);
        for publisher in self.publishers {
            publisher.join().unwrap();
        }
        let acknowledged = self.shared.acknowledged.lock().unwrap().clone();
        wait::until("every acknowledged message", || {
            let read = self.shared.read.lock().unwrap();
            let all = acknowledged
                .iter()
                .all(|number| read.contains(&text(*number)));
            all.then_some(())
        });
        self.shared.over.store(true, Ordering::Release);
        self.consumer.join().unwrap();
        let sent: BTreeSet<String> = acknowledged.iter().map(|number| text(*number)).collect();
        assert_eq!(
            *self.shared.read.lock().unwrap(),
            sent,
            "read, but never sent"
        );
        let server = Endpoint {
            url: server.to_owned(),
            tls: self.endpoint.tls,
        };
        block_on(assert_stored(&server, acknowledged.len()));
        acknowledged.len()
    }
}

async fn make_stream(endpoint: &Endpoint, replicas: usize) {
    let context = context(endpoint).await;
    let config = || stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["traffic.>".to_owned()],
        num_replicas: replicas,
        ..stream::Config::default()
    };
    // A new cluster needs a while until it can.
    let stream = until(async || context.get_or_create_stream(config()).await.ok()).await;
    let consumer = || pull::Config {
        durable_name: Some(STREAM.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 2 * ANSWER_TIMEOUT,
        max_ack_pending: 10_000,
        ..pull::Config::default()
    };
    until(async || stream.get_or_create_consumer(STREAM, consumer()).await.ok()).await;
}

/// Publishes the numbers `first`, `first + every`, …, each until it is acknowledged.
async fn publish(endpoint: &Endpoint, (first, every): (usize, usize), shared: &Shared) {
    let context = context(endpoint).await;
    let mut number = first;
    while !shared.enough.load(Ordering::Acquire) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", text(number));
        let once = async || {
            let subject = format!("traffic.{first}");
            let sent = context.publish_with_headers(subject, headers.clone(), text(number).into());
            sent.await.ok()?.await.ok()
        };
        until(once).await;
        shared.acknowledged.lock().unwrap().insert(number);
        number += every;
    }
}

async fn consume(endpoint: &Endpoint, shared: &Shared) {
    let context = context(endpoint).await;
    let stream = until(async || context.get_stream(STREAM).await.ok()).await;
    let consumer: PullConsumer = until(async || stream.get_consumer(STREAM).await.ok()).await;
    while !shared.over.load(Ordering::Acquire) {
        let batch = consumer.fetch().max_messages(200).expires(ANSWER_TIMEOUT);
        let Ok(mut messages) = batch.messages().await else {
            continue;
        };
        // A pull that was lost with its connection times out soon.
        while let Ok(Some(Ok(message))) =
            tokio::time::timeout(ANSWER_TIMEOUT, messages.next()).await
        {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            shared.read.lock().unwrap().insert(text);
            // A message that is not acknowledged comes again.
            drop(message.ack().await);
        }
    }
}

async fn info(endpoint: &Endpoint) -> Option<stream::Info> {
    let context = context(endpoint).await;
    let stream = context.get_stream(STREAM).await.ok()?;
    Some(stream.cached_info().clone())
}

async fn assert_stored(server: &Endpoint, count: usize) {
    let context = context(server).await;
    let stream = until(async || context.get_stream(STREAM).await.ok()).await;
    let state = &stream.cached_info().state;
    assert_eq!(state.messages, u64::try_from(count).unwrap(), "{state:?}");
    for sequence in [state.first_sequence, state.last_sequence] {
        let stored = until(async || stream.get_raw_message(sequence).await.ok()).await;
        assert!(stored.payload.starts_with(&MAGIC), "{stored:?}");
    }
}

async fn context(endpoint: &Endpoint) -> Context {
    let options = ConnectOptions::new()
        .retry_on_initial_connect()
        .request_timeout(Some(ANSWER_TIMEOUT))
        .reconnect_delay_callback(|_attempts| Duration::from_millis(20));
    let options = match &endpoint.tls {
        Some(tls) => tls.of(options),
        None => options,
    };
    let mut context = jetstream::new(Box::pin(options.connect(&endpoint.url)).await.unwrap());
    context.set_timeout(ANSWER_TIMEOUT);
    context
}

fn text(number: usize) -> String {
    format!("message {number}")
}

/// Repeats until there is an answer.
async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(what)
}
