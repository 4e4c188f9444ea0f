//! An agent: an ordinary NATS client with a subject of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message, Subject, Subscriber};
use futures_util::StreamExt;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// How long any operation may take.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Agent {
    pub(super) client: Client,
    heard: Subscriber,
    lost: Arc<AtomicUsize>,
}

impl Agent {
    /// Connects to `addr` and subscribes to `subject`; on return the server has processed that.
    pub(super) async fn connect(
        name: &str,
        addr: SocketAddr,
        subject: &str,
    ) -> Result<Self, Failure> {
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&lost);
        let options = ConnectOptions::new()
            .name(name)
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                std::future::ready(())
            });
        let client = with_timeout("connect", Box::pin(options.connect(addr.to_string()))).await?;
        let heard = with_timeout("subscribe", client.subscribe(subject.to_owned())).await?;
        let agent = Self {
            client,
            heard,
            lost,
        };
        agent.sync().await?;
        Ok(agent)
    }

    /// The next message on the agent's subject.
    pub(super) async fn next(&mut self) -> Result<Message, Failure> {
        next_message(&mut self.heard).await
    }

    /// Publishes a message.
    pub(super) async fn publish(
        &self,
        subject: impl Into<Subject>,
        text: impl Into<bytes::Bytes>,
    ) -> Result<(), Failure> {
        let sent = self.client.publish(subject.into(), text.into());
        with_timeout("publish", sent).await?;
        with_timeout("flush", self.client.flush()).await
    }

    /// Subscribes to another subject; on return the server has processed that.
    pub(super) async fn subscribe(&self, subject: &str) -> Result<Subscriber, Failure> {
        let heard = with_timeout("subscribe", self.client.subscribe(subject.to_owned())).await?;
        self.sync().await?;
        Ok(heard)
    }

    /// How often the connection was lost.
    pub(super) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// A round trip to itself: on return the server has processed everything sent before.
    async fn sync(&self) -> Result<(), Failure> {
        let inbox = self.client.new_inbox();
        let mut own = with_timeout("subscribe", self.client.subscribe(inbox.clone())).await?;
        self.publish(inbox, bytes::Bytes::new()).await?;
        next_message(&mut own).await.map(drop)
    }
}

/// The next message of a subscription.
pub(super) async fn next_message(subscriber: &mut Subscriber) -> Result<Message, Failure> {
    let next = tokio::time::timeout(TIMEOUT, subscriber.next()).await;
    next.ok()
        .flatten()
        .ok_or_else(|| broken("hear", &"nothing came"))
}

/// The result of `doing`; an error where it fails or takes too long.
pub(super) async fn with_timeout<T, E: std::fmt::Display>(
    what: &str,
    doing: impl IntoFuture<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(TIMEOUT, doing).await {
        Ok(done) => done.map_err(|error| broken(what, &error)),
        Err(elapsed) => Err(broken(what, &elapsed)),
    }
}

fn broken(what: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the demo broke off: an agent could not {what}: {why}"),
        "this should not happen; please report it",
    )
}
