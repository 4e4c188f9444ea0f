//! Core NATS by official clients that reconnect by themselves: a requester, a responder, a publisher and a subscriber.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats works in large futures, which a runtime's thread holds"
)]

use crate::wait;
use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt as _;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an answer may take before the request is repeated.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The publisher's pause between two messages.
const PAUSE: Duration = Duration::from_millis(2);

/// Requests answered, and messages received, that count as progress.
const MIN_PROGRESS: usize = 20;

/// The four clients.
const CLIENTS: usize = 4;

/// Four clients, on a thread of their own.
pub struct Requests {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    ready: AtomicBool,
    answered: AtomicUsize,
    heard: Mutex<Vec<u64>>,
    lives: [ConnectionEvents; CLIENTS],
}

/// Connection events of a client.
#[derive(Default)]
struct ConnectionEvents {
    lame_ducks: AtomicUsize,
    connected: AtomicUsize,
}

impl Requests {
    /// Starts clients of this URL.
    pub fn start(url: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let (url, working) = (url.to_owned(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || block_on(work(&url, &working)));
        let requests = Self { shared, thread };
        requests.until("four clients", |shared| {
            shared.ready.load(Ordering::Acquire)
        });
        requests
    }

    /// Waits until some more requests are answered, and some more messages are received.
    pub fn await_progress(&self) {
        let (answered, heard) = self.shared.counts();
        self.until(
            "requests that are answered, and messages that are heard",
            |shared| {
                let now = shared.counts();
                now.0 >= answered + MIN_PROGRESS && now.1 >= heard + MIN_PROGRESS
            },
        );
    }

    /// Waits until every client has been told of a lame duck this many times, and has reconnected after each.
    pub fn await_reconnects(&self, times: usize) {
        self.until("clients that were told, and are back", |shared| {
            shared.lives.iter().all(|life| {
                life.lame_ducks.load(Ordering::Acquire) >= times
                    && life.connected.load(Ordering::Acquire) > times
            })
        });
    }

    /// Stops all; fails if an answer did not match its request, or a message came twice or out of order.
    pub fn finish(self) {
        self.shared.over.store(true, Ordering::Release);
        self.thread.join().unwrap();
        let heard = self.shared.heard.lock().unwrap();
        assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
    }

    fn until(&self, what: &str, holds: impl Fn(&Shared) -> bool) {
        wait::until(what, || {
            assert!(!self.thread.is_finished(), "a client has failed");
            holds(&self.shared).then_some(())
        });
    }
}

impl Shared {
    fn counts(&self) -> (usize, usize) {
        let heard = self.heard.lock().unwrap().len();
        (self.answered.load(Ordering::Acquire), heard)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Connects the client of this number.
    async fn connect(self: &Arc<Self>, url: &str, number: usize) -> Client {
        let shared = Arc::clone(self);
        let options = ConnectOptions::new()
            .request_timeout(Some(ANSWER_TIMEOUT))
            .reconnect_delay_callback(|_attempts| Duration::from_millis(20))
            .event_callback(move |event| {
                shared.lives[number].note(&event);
                std::future::ready(())
            });
        options.connect(url).await.unwrap()
    }
}

impl ConnectionEvents {
    fn note(&self, event: &Event) {
        if *event == Event::LameDuckMode {
            self.lame_ducks.fetch_add(1, Ordering::AcqRel);
        } else if *event == Event::Connected {
            self.connected.fetch_add(1, Ordering::AcqRel);
        }
    }
}

async fn work(url: &str, shared: &Arc<Shared>) {
    let [asks, answers, talks, listens] = [
        shared.connect(url, 0).await,
        shared.connect(url, 1).await,
        shared.connect(url, 2).await,
        shared.connect(url, 3).await,
    ];
    let mut questions = answers.subscribe("ask.x").await.unwrap();
    let mut talk = listens.subscribe("core.x").await.unwrap();
    for client in [&answers, &listens] {
        client.flush().await.unwrap();
        // A flush means that it was sent; an answer, that the server has processed it.
        client.request("nobody", "".into()).await.unwrap_err();
    }
    shared.ready.store(true, Ordering::Release);
    let answering = async {
        while let Some(question) = questions.next().await {
            let reply = question.reply.unwrap();
            let answer = [&b"re: "[..], &question.payload].concat();
            drop(answers.publish(reply, answer.into()).await);
        }
    };
    let listening = async {
        while let Some(message) = talk.next().await {
            let number = std::str::from_utf8(&message.payload).unwrap();
            shared.heard.lock().unwrap().push(number.parse().unwrap());
        }
    };
    let working = async {
        tokio::join!(ask(&asks, shared), say(&talks, shared));
    };
    tokio::select! {
        () = answering => panic!("no more questions"),
        () = listening => panic!("no more messages"),
        () = working => {}
    }
}

/// Sends requests, each until it is answered.
async fn ask(client: &Client, shared: &Shared) {
    while !shared.is_over() {
        let question = format!("question {}", shared.answered.load(Ordering::Acquire));
        let Ok(answer) = client.request("ask.x", question.clone().into()).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        assert_eq!(answer.payload, format!("re: {question}"));
        shared.answered.fetch_add(1, Ordering::AcqRel);
    }
}

/// Publishes consecutive numbers.
async fn say(client: &Client, shared: &Shared) {
    let mut number = 0_u64;
    while !shared.is_over() {
        drop(client.publish("core.x", number.to_string().into()).await);
        number += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(what)
}
