//! The clients of a scenario in Rust, and the runner of scenarios.

use super::{MARKER, Scenario};
use crate::driver::Outcome;
use crate::wait::DEADLINE;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, RequestErrorKind};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use std::sync::Mutex;
use tokio::time::timeout;

/// Scenarios that run at the same time; they mostly wait for the server.
const AT_ONCE: usize = 6;
/// async-nats has large futures.
const STACK: usize = 16 << 20;

/// Creates the clients, subjects and payloads of one scenario.
#[derive(Clone)]
pub struct World {
    name: &'static str,
    urls: [String; 4],
}

impl World {
    /// An agent behind the gateway for publishers.
    pub async fn publisher(&self) -> Client {
        connect(&self.urls[0], ConnectOptions::new()).await
    }

    /// An agent behind the gateway for subscribers.
    pub async fn reader(&self) -> Client {
        self.reader_with(ConnectOptions::new()).await
    }

    /// The same with these options.
    pub async fn reader_with(&self, options: ConnectOptions) -> Client {
        connect(&self.urls[1], options).await
    }

    /// `JetStream` contexts of a publisher and of a subscriber.
    pub async fn contexts(&self) -> (Context, Context) {
        let pair = (self.publisher().await, self.reader().await);
        (jetstream::new(pair.0), jetstream::new(pair.1))
    }

    /// The same behind the gateways that have two keyrings.
    pub async fn mixed_contexts(&self) -> (Context, Context) {
        let publisher = connect(&self.urls[2], ConnectOptions::new()).await;
        let reader = connect(&self.urls[3], ConnectOptions::new()).await;
        (jetstream::new(publisher), jetstream::new(reader))
    }

    /// A payload with the marker, which must be sealed.
    pub fn said(&self, what: impl std::fmt::Display) -> Bytes {
        format!("{MARKER} {} {what}", self.name).into()
    }

    /// A subject of this scenario.
    pub fn subject(&self, last: &str) -> String {
        format!("rs.{}.{last}", self.name)
    }

    /// The name of this scenario's stream, bucket or service.
    pub fn named(&self) -> String {
        format!("rs_{}", self.name)
    }
}

/// Waits for the next item, which must come.
pub(super) async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    let item = timeout(DEADLINE, stream.next()).await;
    item.expect("nothing came").expect("the end came")
}

/// Waits until the server has processed what this agent sent: a round trip, as flushing only empties the agent's buffer.
pub(super) async fn settle(agent: &Client) {
    let error = agent.request("nobody.rs", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

/// Runs these scenarios.
pub(super) fn run(list: Vec<(&'static str, Scenario)>, urls: &[String; 4]) -> Vec<Outcome> {
    let left = Mutex::new(list);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, scenario)) = pop(&left) {
            let urls = urls.clone();
            let outcome = perform(scenario, World { name, urls });
            outcomes.lock().unwrap().push(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap()
}

fn pop<T>(left: &Mutex<Vec<T>>) -> Option<T> {
    left.lock().unwrap().pop()
}

fn perform(scenario: Scenario, world: World) -> Outcome {
    let name = world.name.to_owned();
    let thread = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { timeout(DEADLINE * 2, scenario(world)).await.is_ok() })
        });
    let (pass, detail) = match thread.unwrap().join() {
        Ok(true) => (true, String::new()),
        Ok(false) => (false, "not in time".into()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let words = panic.downcast_ref::<&str>().map(ToString::to_string);
            (false, text.or(words).unwrap_or_default())
        }
    };
    Outcome {
        name,
        pass,
        detail,
        seen: Vec::new(),
    }
}

async fn connect(url: &str, options: ConnectOptions) -> Client {
    options
        .connection_timeout(DEADLINE)
        .request_timeout(Some(DEADLINE))
        .connect(url)
        .await
        .unwrap()
}
