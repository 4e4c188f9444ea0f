//! Official clients that publish to a stream until they are stopped, and reconnect when their connections end.
#![expect(
    clippy::large_stack_frames,
    reason = "async-nats works in large futures, which a publisher's stack holds"
)]

use crate::wait;
use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context, consumer, stream};
use futures_util::StreamExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a publisher waits for an acknowledgement before it tries again.
const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// Publishers of one stream, each on a thread of its own.
pub struct Publishers {
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Publishers {
    /// Makes the stream `load`, and publishes to it from `count` clients.
    pub fn start(url: &str, count: usize) -> Self {
        create_stream(url, "load", "load.>");
        let (over, acknowledged) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let threads = (0..count).map(|publisher| {
            let (url, over) = (url.to_owned(), Arc::clone(&over));
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || block_on(publish(&url, publisher, (&over, &acknowledged))))
        });
        Self {
            threads: threads.collect(),
            over,
            acknowledged,
        }
    }

    /// Waits until this many more messages have been acknowledged.
    pub fn acknowledge(&self, more: usize) {
        let target = self.acknowledged.load(Ordering::Acquire) + more;
        wait::until("acknowledged messages", || {
            (self.acknowledged.load(Ordering::Acquire) >= target).then_some(())
        });
    }

    /// Stops them; returns every payload that was acknowledged.
    pub fn finish(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::Release);
        let ended = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap());
        ended.flatten().collect()
    }
}

/// Every payload of the stream `load`, read through the gateway at this URL.
pub fn stored_payloads(url: &str) -> BTreeSet<String> {
    block_on(Box::pin(read(url)))
}

/// Creates a stream of these subjects.
pub fn create_stream(url: &str, name: &str, subjects: &str) {
    let config = stream::Config {
        name: name.into(),
        subjects: vec![subjects.into()],
        ..stream::Config::default()
    };
    block_on(async {
        context(url).await.create_stream(config).await.unwrap();
    });
}

/// The number of subjects on which a stream has messages.
pub fn subject_count(url: &str, name: &str) -> u64 {
    block_on(async {
        let stream = context(url).await.get_stream(name).await.unwrap();
        stream.cached_info().state.subjects_count
    })
}

async fn read(url: &str) -> BTreeSet<String> {
    let context = context(url).await;
    let mut stream = context.get_stream("load").await.unwrap();
    let count = usize::try_from(stream.info().await.unwrap().state.messages).unwrap();
    let config = consumer::pull::Config {
        ack_policy: consumer::AckPolicy::None,
        ..consumer::pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let messages = consumer.messages().await.unwrap().take(count);
    let texts = messages.map(|message| String::from_utf8(message.unwrap().payload.to_vec()));
    texts.map(Result::unwrap).collect().await
}

async fn context(url: &str) -> Context {
    let options = async_nats::ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_attempts| Duration::from_millis(20));
    let client = Box::pin(options.connect(url)).await.unwrap();
    let mut context = jetstream::new(client);
    context.set_timeout(ACK_TIMEOUT);
    context
}

/// Publishes consecutive numbers, each until it is acknowledged.
async fn publish(
    url: &str,
    publisher: usize,
    (over, acknowledged): (&AtomicBool, &AtomicUsize),
) -> BTreeSet<String> {
    let context = context(url).await;
    let mut done = BTreeSet::new();
    let mut number = 0;
    while !over.load(Ordering::Acquire) {
        let text = format!("{publisher}-{number}");
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", text.as_str());
        let subject = format!("load.{publisher}");
        let sent = context.publish_with_headers(subject, headers, text.clone().into());
        let Ok(ack) = sent.await else { continue };
        if ack.await.is_ok() {
            acknowledged.fetch_add(1, Ordering::AcqRel);
            done.insert(text);
            number += 1;
        }
    }
    done
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(what)
}
