//! Official clients that receive and count the messages of [`SteadyPublisher`](crate::steady_publisher::SteadyPublisher), and reconnect.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats works in large futures, which a receiver's stack holds"
)]

use crate::wait;
use async_nats::jetstream::{self, AckKind, Context, consumer, stream};
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The name of the stream and its consumer.
const NAME: &str = "steady";

/// More than is ever unacknowledged.
const MAX_ACK_PENDING: usize = 1 << 20;

/// How often the counts are checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// `ack_wait` of the consumers.
const ACK_WAIT: Duration = Duration::from_secs(2);

/// How a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverKind {
    /// A core subscription.
    Core,
    /// A push consumer, each message acknowledged.
    Push,
    /// An ordered consumer, which restarts after a gap.
    Ordered,
    /// A pull consumer, each message acknowledged.
    Pull,
}

/// What has been received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// How often each message came, by the publisher's numbers.
    times: Vec<u32>,
    /// The longest gap between two messages.
    pub longest: Duration,
    last: Option<Instant>,
    /// Whether the marker behind the last message has come.
    pub ended: bool,
}

/// One client.
pub struct Receiver {
    tally: Arc<Mutex<Received>>,
    over: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Creates the stream, on a server with this placement tag, if any.
pub fn create_stream(url: &str, tag: Option<&str>) {
    let config = || stream::Config {
        name: NAME.to_owned(),
        subjects: vec!["steady.>".to_owned()],
        storage: stream::StorageType::Memory,
        placement: tag.map(|tag| stream::Placement {
            cluster: None,
            tags: vec![tag.to_owned()],
        }),
        ..stream::Config::default()
    };
    block_on(async {
        let context = jetstream::new(connect(&[url.to_owned()]).await);
        // A new cluster needs a while until it can.
        while context.create_stream(config()).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
}

impl Receiver {
    /// Starts a client of the first of these servers; on return it receives.
    pub fn start(urls: Vec<String>, by: ReceiverKind) -> Self {
        let tally = Arc::<Mutex<Received>>::default();
        let ((over, until), (ready, is_ready)) = (oneshot::channel(), channel());
        let counts = Arc::clone(&tally);
        let thread =
            std::thread::spawn(move || block_on(receive(&urls, by, (&counts, until, ready))));
        is_ready.recv().unwrap();
        Self {
            tally,
            over,
            thread,
        }
    }

    /// Waits until `enough` holds or nothing has come for [`DEADLINE`](crate::wait::DEADLINE), and returns the counts.
    pub fn tally(&self, enough: impl Fn(&Received) -> bool) -> Received {
        let mut since = Instant::now();
        loop {
            let tally = self.tally.lock().unwrap().clone();
            since = since.max(tally.last.unwrap_or(since));
            if since.elapsed() > wait::DEADLINE / 2 || enough(&tally) {
                return tally;
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }

    /// Stops it.
    pub fn finish(self) {
        self.over.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

impl Received {
    /// Counts a message by its subject.
    fn count(&mut self, subject: &str) {
        let Some((publisher, number)) = subject.trim_start_matches("steady.").split_once('.')
        else {
            return;
        };
        if publisher == "end" {
            self.ended = true;
            return;
        }
        let number: usize = number.parse().unwrap();
        if self.times.len() <= number {
            self.times.resize(number + 1, 0);
        }
        self.times[number] += 1;
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(last));
        }
    }

    /// How many of the first `count` messages have not come.
    pub fn lost(&self, count: u64) -> usize {
        let count = usize::try_from(count).unwrap();
        let came = self.times.iter().take(count);
        count - came.filter(|times| **times != 0).count()
    }

    /// How many messages came more than once.
    pub fn duplicates(&self) -> usize {
        self.times.iter().filter(|times| **times > 1).count()
    }
}

async fn receive(
    urls: &[String],
    by: ReceiverKind,
    (tally, mut over, ready): (&Mutex<Received>, oneshot::Receiver<()>, Sender<()>),
) {
    let client = connect(urls).await;
    let mut messages = match by {
        ReceiverKind::Core => core(&client).await,
        ReceiverKind::Push => push(&client).await,
        ReceiverKind::Ordered => ordered(&client).await,
        ReceiverKind::Pull => pull(&client).await,
    };
    client.flush().await.unwrap();
    ready.send(()).unwrap();
    loop {
        tokio::select! {
            _over = &mut over => return,
            subject = messages.next() => match subject {
                Some(subject) => tally.lock().unwrap().count(&subject),
                None => return,
            },
        }
    }
}

type Subjects = BoxStream<'static, String>;

async fn core(client: &Client) -> Subjects {
    let messages = client.subscribe("steady.>").await.unwrap();
    Box::pin(messages.map(|message| opened(&message)))
}

async fn push(client: &Client) -> Subjects {
    let config = consumer::push::Config {
        durable_name: Some(NAME.to_owned()),
        deliver_subject: client.new_inbox(),
        ack_policy: consumer::AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: i64::try_from(MAX_ACK_PENDING).unwrap(),
        ..consumer::push::Config::default()
    };
    let made = stream(client).await.create_consumer(config).await.unwrap();
    acknowledged(made.messages().await.unwrap())
}

async fn ordered(client: &Client) -> Subjects {
    let config = consumer::push::OrderedConfig {
        deliver_subject: client.new_inbox(),
        ..consumer::push::OrderedConfig::default()
    };
    let made = stream(client).await.create_consumer(config).await.unwrap();
    let messages = made.messages().await.unwrap();
    Box::pin(messages.filter_map(async |message| message.ok().map(|message| opened(&message))))
}

async fn pull(client: &Client) -> Subjects {
    let config = consumer::pull::Config {
        durable_name: Some(NAME.to_owned()),
        ack_policy: consumer::AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: i64::try_from(MAX_ACK_PENDING).unwrap(),
        ..consumer::pull::Config::default()
    };
    let made = stream(client).await.create_consumer(config).await.unwrap();
    let asked = made.stream().max_messages_per_batch(5000);
    acknowledged(asked.messages().await.unwrap())
}

/// The subjects of messages, each acknowledged; one whose acknowledgement is lost comes again.
fn acknowledged<E: Send + 'static>(
    messages: impl futures_util::Stream<Item = Result<jetstream::Message, E>> + Send + 'static,
) -> Subjects {
    Box::pin(messages.filter_map(async |message| {
        let message = message.ok()?;
        drop(message.ack_with(AckKind::Ack).await);
        Some(opened(&message))
    }))
}

/// The subject of a message, whose payload must be the plaintext.
fn opened(message: &async_nats::Message) -> String {
    assert!(&message.payload[..] == b"hello", "{message:?}");
    message.subject.to_string()
}

async fn stream(client: &Client) -> stream::Stream {
    context(client).get_stream(NAME).await.unwrap()
}

fn context(client: &Client) -> Context {
    jetstream::new(client.clone())
}

async fn connect(urls: &[String]) -> Client {
    let options = ConnectOptions::new()
        .retain_servers_order()
        .subscription_capacity(MAX_ACK_PENDING);
    let servers: Vec<async_nats::ServerAddr> =
        urls.iter().map(|url| url.parse().unwrap()).collect();
    Box::pin(options.connect(servers)).await.unwrap()
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(what)
}
