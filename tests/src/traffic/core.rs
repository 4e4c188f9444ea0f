//! Core NATS over raw sockets: pairs of a publisher and a subscriber work in rounds, each of which both confirm by PING and PONG.
//!
//! What a direct connection guarantees: messages come in order and without a gap; and once a publisher's `PONG`, and after it a
//! subscriber's, has come, so has everything published before. Nothing more is guaranteed of a connection that breaks.

use crate::agent::publish;
use crate::frame::{self, Frame};
use crate::raw_client::{RawClient, WaitOutcome};
use crate::wait;
use std::net::SocketAddr;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages of a round.
const ROUND: u64 = 50;

/// Rounds that count as progress.
const MIN_ROUNDS: u64 = 5;

/// How long to wait before connecting again.
const RECONNECT_DELAY: Duration = Duration::from_millis(5);

/// Pairs of agents, each on a thread of its own.
pub struct CoreTraffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Totals>>,
}

/// What all pairs have seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Messages that had to come, and came.
    pub confirmed: u64,
    /// How often pairs have connected.
    pub connections: u64,
}

struct Shared {
    addr: SocketAddr,
    over: AtomicBool,
    pairs: Vec<Progress>,
}

/// The rounds of a pair.
#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    done: AtomicU64,
}

/// Two agents while they are connected.
struct AgentPair {
    subject: String,
    publisher: RawClient,
    subscriber: RawClient,
    /// The next number that must come.
    due: u64,
}

impl CoreTraffic {
    /// Starts this many pairs that connect to this address.
    pub fn start(addr: SocketAddr, pairs: usize) -> Self {
        let shared = Arc::new(Shared {
            addr,
            over: AtomicBool::new(false),
            pairs: (0..pairs).map(|_| Progress::default()).collect(),
        });
        let threads = (0..pairs).map(|number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.carry(number))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// Waits until every pair has completed some more rounds.
    pub fn await_progress(&self) {
        for (number, pair) in self.shared.pairs.iter().enumerate() {
            let target = pair.done.load(Ordering::Acquire) + MIN_ROUNDS;
            wait::until("core traffic that flows", || {
                let failed = self.threads[number].is_finished();
                assert!(!failed, "pair {number} has failed");
                (pair.done.load(Ordering::Acquire) >= target).then_some(())
            });
        }
    }

    /// Waits until every pair has begun an unconfirmed round, for use while nothing can be confirmed.
    pub fn await_unconfirmed(&self) {
        for pair in &self.shared.pairs {
            wait::until("core traffic that waits", || {
                let done = pair.done.load(Ordering::Acquire);
                (pair.begun.load(Ordering::Acquire) > done).then_some(())
            });
        }
    }

    /// Stops all pairs; fails if one has lost a message, or received one altered, twice or out of order.
    pub fn finish(self) -> Totals {
        self.shared.over.store(true, Ordering::Release);
        let ended = self.threads.into_iter();
        ended.fold(Totals::default(), |sum, thread| {
            sum + thread.join().unwrap()
        })
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            confirmed: self.confirmed + other.confirmed,
            connections: self.connections + other.connections,
        }
    }
}

impl Shared {
    /// Runs one pair, connection after connection.
    fn carry(&self, number: usize) -> Totals {
        let subject = format!("core.{number}");
        let (mut tally, mut next) = (Totals::default(), 0);
        while !self.is_over() {
            let Some(pair) = AgentPair::connect(self.addr, &subject, next) else {
                std::thread::park_timeout(RECONNECT_DELAY);
                continue;
            };
            let (confirmed, after) = self.live(pair, &self.pairs[number], next);
            tally.connections += 1;
            tally.confirmed += confirmed;
            next = after;
        }
        tally
    }

    /// Runs rounds; returns how many messages were confirmed, and the number of the next one.
    fn live(&self, mut pair: AgentPair, progress: &Progress, first: u64) -> (u64, u64) {
        let mut next = first;
        while !self.is_over() {
            let confirmed = progress.round(&mut pair, next);
            next += ROUND;
            if !confirmed {
                return (next - ROUND - first, next);
            }
        }
        (next - first, next)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Progress {
    /// Runs a round; whether both have confirmed it.
    fn round(&self, pair: &mut AgentPair, first: u64) -> bool {
        self.begun.fetch_add(1, Ordering::AcqRel);
        let confirmed = pair.round(first);
        // An interrupted round no longer waits.
        if confirmed {
            self.done.fetch_add(1, Ordering::AcqRel);
        } else {
            self.begun.fetch_sub(1, Ordering::AcqRel);
        }
        confirmed
    }
}

impl AgentPair {
    /// Connects both and subscribes.
    fn connect(addr: SocketAddr, subject: &str, due: u64) -> Option<Self> {
        let mut subscriber = greeted(addr)?;
        subscriber.send(format!("SUB {subject} 1\r\n").as_bytes());
        let publisher = greeted(addr)?;
        let subscribed = confirmed(&mut subscriber);
        subscriber.forget();
        subscribed.then_some(Self {
            subject: subject.to_owned(),
            publisher,
            subscriber,
            due,
        })
    }

    /// Publishes a round; whether both have confirmed it.
    fn round(&mut self, first: u64) -> bool {
        let messages = (first..first + ROUND)
            .flat_map(|number| publish(&self.subject, None, text(number).as_bytes()));
        let bytes: Vec<u8> = messages.collect();
        self.publisher.send(&bytes);
        let confirmed = confirmed(&mut self.publisher) && confirmed(&mut self.subscriber);
        self.publisher.forget();
        for frame in self.subscriber.take() {
            if frame.has_body() {
                assert_eq!(
                    String::from_utf8_lossy(frame.payload()),
                    text(self.due),
                    "of {}",
                    self.subject
                );
                self.due += 1;
            }
        }
        if confirmed {
            assert_eq!(self.due, first + ROUND, "lost on {}", self.subject);
        }
        confirmed
    }
}

fn text(number: u64) -> String {
    format!("message {number:>100}")
}

fn greeted(addr: SocketAddr) -> Option<RawClient> {
    let mut raw = RawClient::try_connect(addr)?;
    raw.send(b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    let greeted = confirmed(&mut raw);
    raw.forget();
    greeted.then_some(raw)
}

/// Sends PING; whether its PONG comes. Earlier ones must have been discarded. Panics where the peer neither answers nor closes.
fn confirmed(raw: &mut RawClient) -> bool {
    raw.send(b"PING\r\n");
    let is_pong = |frame: &Frame| frame.verb() == "PONG";
    let outcome = raw.outcome(|bytes| frame::split_frames(bytes).0.iter().any(is_pong));
    assert_ne!(outcome, WaitOutcome::Silent, "no answer and no end");
    outcome == WaitOutcome::Enough
}
