//! Constant rotation under full load: its cost, and that nothing is lost, duplicated or withheld.
//!
//! One publisher keeps a window of messages in flight to one subscriber through one gateway. Each message carries its number and
//! when it was written, so that the subscriber finds missing and duplicate ones, and latencies. Rounds alternate between a
//! gateway that keeps its key, one that rotates by usage, and one that an operator rotates all the time.

mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::RunError;
use crate::load::{Client, Continue, Endpoint, Times, nanos, now};
use crate::report::{Spread, float, ratio};
use crate::targets::{Gateway, Mode, Programs, SHORT_LIVED, storm};

const SUBJECT: &str = "load.rotation";

/// Number and time of a message, 16 hexadecimal digits each.
const DIGITS: usize = 16;

/// How many messages one write holds.
const WRITE: u64 = 64;

/// How often the publisher checks whether the window has opened.
const POLL_INTERVAL: Duration = Duration::from_micros(50);

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Payload in bytes; at least 32.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Messages per round.
    #[arg(long, default_value_t = 2_000_000)]
    messages: u64,
    /// Rounds of each way.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Messages that are under way at once.
    #[arg(long, default_value_t = 4096)]
    window: u64,
    /// Messages after which a key is replaced by usage.
    #[arg(long, default_value_t = 100_000)]
    usage: u64,
    /// Milliseconds between two keys that an operator wants.
    #[arg(long, default_value_t = 100)]
    every: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            size: 128,
            messages: 2_000_000,
            rounds: 7,
            window: 4096,
            usage: 100_000,
            every: 100,
        }
    }
}

/// The result of a run.
#[derive(Serialize)]
pub(crate) struct Rotation {
    pub(crate) size: usize,
    pub(crate) messages: u64,
    pub(crate) window: u64,
    pub(crate) ways: Vec<ModeResult>,
}

/// The result of one rotation mode. Times in microseconds.
#[derive(Serialize)]
pub(crate) struct ModeResult {
    pub(crate) name: &'static str,
    pub(crate) messages_per_second: Spread,
    /// Ratio to the mode without rotations, in the same round.
    pub(crate) of_without: Spread,
    /// Median, 99th and 99.9th percentile of each round.
    pub(crate) latency: [Spread; 3],
    /// The same as ratios to the mode without rotations, in the same round.
    pub(crate) latency_of_without: [Spread; 3],
    /// The longest of all rounds.
    pub(crate) longest: f64,
    /// CPU time of the gateway per message, in nanoseconds.
    pub(crate) gateway_ns: Spread,
    /// Rotations of all rounds, and of the warm-up before them.
    pub(crate) rotations: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Withheld or refused, by the gateway's own count.
    pub(crate) withheld: u64,
}

/// A rotation mode while it is measured.
struct MeasuredMode {
    name: &'static str,
    gateway: Gateway,
    /// How often its operator rotates.
    every: Option<Duration>,
    rates: Vec<f64>,
    latency: [Vec<f64>; 3],
    cpu: Vec<f64>,
    longest: f64,
    lost: u64,
    doubled: u64,
}

/// What a subscriber has received.
struct Arrivals {
    begun: Instant,
    next: u64,
    lost: u64,
    doubled: u64,
    times: Times,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Option<Rotation>, RunError> {
    let server = programs.server()?;
    let gateway = |rotate: &str| {
        let tables = format!("{SHORT_LIVED}{rotate}");
        programs.configured(server.addr, Mode::Sealing, &tables)
    };
    let usage = format!("rotate = {{ messages = {} }}\n", args.usage);
    let every = Duration::from_millis(args.every);
    let mut ways = [
        MeasuredMode::new("no rotation", gateway("")?, None),
        MeasuredMode::new("by usage", gateway(&usage)?, None),
        MeasuredMode::new("by hand", gateway("")?, Some(every)),
    ];
    for way in &ways {
        way.once(args, args.messages / 10)?;
    }
    for round in 0..args.rounds {
        let mut turns: Vec<&mut MeasuredMode> = ways.iter_mut().collect();
        // Rotates the order, so that it does not matter.
        let first = round % turns.len();
        turns.rotate_left(first);
        for way in turns {
            way.measure(args)?;
        }
    }
    let [without, ..] = &ways;
    let rows = ways.iter().map(|way| way.row(without));
    Ok(Some(Rotation {
        size: args.size,
        messages: args.messages,
        window: args.window,
        ways: rows.collect::<Result<_, RunError>>()?,
    }))
}

impl MeasuredMode {
    const fn new(name: &'static str, gateway: Gateway, every: Option<Duration>) -> Self {
        Self {
            name,
            gateway,
            every,
            rates: Vec::new(),
            latency: [const { Vec::new() }; 3],
            cpu: Vec::new(),
            longest: 0.0,
            lost: 0,
            doubled: 0,
        }
    }

    fn measure(&mut self, args: &Args) -> Result<(), RunError> {
        let before = self.gateway.process.cpu()?;
        let (took, arrivals) = self.once(args, args.messages)?;
        let spent = self.gateway.process.cpu()?.saturating_sub(before);
        self.rates.push(float(args.messages) / took.as_secs_f64());
        self.cpu
            .push(spent.as_secs_f64() * 1e9 / float(args.messages));
        for (times, quantile) in self.latency.iter_mut().zip([0.5, 0.99, 0.999]) {
            times.push(arrivals.times.micros(quantile));
        }
        self.longest = self.longest.max(arrivals.times.longest());
        self.lost += arrivals.lost;
        self.doubled += arrivals.doubled;
        Ok(())
    }

    /// Sends `messages`, while the operator rotates.
    fn once(&self, args: &Args, messages: u64) -> Result<(Duration, Arrivals), RunError> {
        let play = || round(&self.gateway, args, messages);
        match self.every {
            Some(every) => storm(&self.gateway, every, play),
            None => play(),
        }
    }

    fn row(&self, without: &Self) -> Result<ModeResult, RunError> {
        let metrics = self.gateway.metrics()?;
        let [p50, p99, p999] = &self.latency;
        let [of50, of99, of999] = &without.latency;
        let all = |rounds: &Vec<f64>| Spread::of(rounds.iter().copied());
        let withheld = [
            "keyway_withheld_messages_total",
            "keyway_refused_messages_total",
        ];
        let done = ["outcome=\"done\""];
        let rotations = metrics.sum("keyway_rotations_total", &done);
        Ok(ModeResult {
            name: self.name,
            messages_per_second: all(&self.rates),
            of_without: ratio(&self.rates, &without.rates),
            latency: [all(p50), all(p99), all(p999)],
            latency_of_without: [ratio(p50, of50), ratio(p99, of99), ratio(p999, of999)],
            longest: self.longest,
            gateway_ns: all(&self.cpu),
            // The first activation is no rotation.
            rotations: rotations.saturating_sub(1),
            lost: self.lost,
            doubled: self.doubled,
            withheld: withheld.iter().map(|name| metrics.sum(name, &[])).sum(),
        })
    }
}

/// Sends messages from one connection to another; returns how long that took, and how they arrived.
fn round(gateway: &Gateway, args: &Args, messages: u64) -> Result<(Duration, Arrivals), RunError> {
    let size = args.size.max(2 * DIGITS);
    let endpoint = Endpoint::plain(gateway.addr);
    let mut subscriber = Client::connect(&endpoint)?;
    subscriber.subscribe(SUBJECT)?;
    let mut publisher = Client::connect(&endpoint)?;
    let received = AtomicU64::new(0);
    let mut arrivals = Arrivals::new()?;
    let begun = arrivals.begun;
    let head = format!("MSG {SUBJECT} 1 {size}\r\n");
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let sending = Sending {
                begun,
                size,
                messages,
                window: args.window,
            };
            sending.publish(&mut publisher, &received)
        });
        let heard = receive_payloads(&mut subscriber, head.as_bytes(), size, |payload| {
            let last = arrivals.take(payload);
            received.store(arrivals.next, Ordering::Relaxed);
            if last >= messages {
                Continue::Enough
            } else {
                Continue::More
            }
        });
        if heard.is_err() {
            // Makes a waiting publisher stop.
            received.store(u64::MAX, Ordering::Relaxed);
        }
        let took = now().duration_since(begun);
        let published = publishing
            .join()
            .unwrap_or_else(|_panic| Err(RunError::Limit("the publisher panicked".to_owned())));
        heard?;
        published?;
        Ok((took, arrivals))
    })
}

/// Passes every payload to `take` until it returns `Enough`.
fn receive_payloads(
    client: &mut Client,
    head: &[u8],
    size: usize,
    mut take: impl FnMut(&[u8]) -> Continue,
) -> Result<(), RunError> {
    loop {
        client.read()?;
        if client.payloads(head, size, &mut take)? == Continue::Enough {
            return Ok(());
        }
    }
}

/// The task of a publisher.
struct Sending {
    begun: Instant,
    size: usize,
    messages: u64,
    window: u64,
}

impl Sending {
    /// Publishes messages 1 to `messages`, with at most a window of them in flight.
    fn publish(&self, client: &mut Client, received: &AtomicU64) -> Result<(), RunError> {
        let head = format!("PUB {SUBJECT} {}\r\n", self.size);
        let filler = "x".repeat(self.size - 2 * DIGITS);
        let mut bytes = Vec::new();
        let mut sent = 0;
        while sent < self.messages {
            while sent > received.load(Ordering::Relaxed).saturating_add(self.window) {
                std::thread::park_timeout(POLL_INTERVAL);
            }
            let count = WRITE.min(self.messages - sent);
            let nanos = nanos(self.begun);
            bytes.clear();
            for number in sent + 1..=sent + count {
                bytes.extend_from_slice(head.as_bytes());
                hex(&mut bytes, number);
                hex(&mut bytes, nanos);
                bytes.extend_from_slice(filler.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
            client.send(&bytes)?;
            sent += count;
        }
        client.flush()
    }
}

impl Arrivals {
    fn new() -> Result<Self, RunError> {
        Ok(Self {
            begun: now(),
            next: 1,
            lost: 0,
            doubled: 0,
            times: Times::new()?,
        })
    }

    /// Records a message; returns its number. An invalid number counts as a lost message.
    fn take(&mut self, payload: &[u8]) -> u64 {
        let number = payload.get(..DIGITS).and_then(unhex).unwrap_or(0);
        let written = payload.get(DIGITS..2 * DIGITS).and_then(unhex).unwrap_or(0);
        self.times
            .record_nanos(nanos(self.begun).saturating_sub(written));
        if number < self.next {
            self.doubled += 1;
        } else {
            self.lost += number - self.next;
            self.next = number + 1;
        }
        number
    }
}

fn hex(bytes: &mut Vec<u8>, number: u64) {
    for place in (0..DIGITS).rev() {
        let digit = (number >> (4 * place)) & 15;
        let digit = u8::try_from(digit).unwrap_or_default();
        bytes.push(if digit < 10 {
            b'0' + digit
        } else {
            b'a' - 10 + digit
        });
    }
}

fn unhex(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        hex(&mut bytes, number);
        hex(&mut bytes, 1);
        bytes
    }

    #[test]
    fn what_is_missing_and_what_comes_twice_is_counted() {
        let mut arrivals = Arrivals::new().unwrap();
        for number in [1, 2, 5, 5, 3, 6] {
            assert_eq!(arrivals.take(&message(number)), number);
        }
        assert_eq!((arrivals.lost, arrivals.doubled), (2, 2));
    }

    #[test]
    fn numbers_come_back_from_their_digits() {
        for number in [0, 9, 10, 0xfa4b, u64::MAX] {
            let mut digits = Vec::new();
            hex(&mut digits, number);
            assert_eq!(unhex(&digits), Some(number));
        }
    }
}
