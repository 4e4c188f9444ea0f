//! One publisher, one subscriber, closed by count: from the first byte sent to the last message received.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::client::Client;
use crate::failed::Failed;
use crate::process::now;
use crate::stats::{Spread, float, ratio};
use crate::targets::{Programs, Target};

const SUBJECT: &str = "load.test";

/// What one write hands to the system.
const WRITE: usize = 64 * 1024;

/// How much may be under way: more, and the server would call the subscriber slow.
const WINDOW: usize = 16 * 1024 * 1024;

/// How often the publisher looks whether it may go on.
const LOOK: Duration = Duration::from_micros(50);

/// What a round moves, headers and a guess of what each message costs included: about a second's worth.
const ROUND: u64 = 400_000_000;

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Payload sizes in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 128, 1024, 16_384])]
    sizes: Vec<usize>,
    /// Rounds per size and target.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Messages per round; chosen by size when not given.
    #[arg(long)]
    messages: Option<u64>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            sizes: vec![16, 128, 1024, 16_384],
            rounds: 5,
            messages: None,
        }
    }
}

/// One size.
#[derive(Serialize)]
pub(crate) struct Throughput {
    pub(crate) size: usize,
    pub(crate) messages: u64,
    pub(crate) targets: Vec<Row>,
}

/// One target.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) target: &'static str,
    pub(crate) messages_per_second: Spread,
    /// Of the bare server's rate in the same round.
    pub(crate) of_bare: Spread,
    /// CPU time of the gateway per message, in nanoseconds: of publishing and delivering together.
    pub(crate) gateway_ns: Option<Spread>,
    /// CPU time of the server per message, in nanoseconds.
    pub(crate) server_ns: Spread,
}

#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    gateway: Vec<f64>,
    server: Vec<f64>,
}

/// The bytes of one message on the two sides.
struct Frames {
    publish: Vec<u8>,
    deliver: Vec<u8>,
    /// Where the payload begins in `deliver`.
    line: usize,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Vec<Throughput>, Failed> {
    let bus = programs.bus()?;
    let targets = bus.targets();
    args.sizes
        .iter()
        .map(|&size| {
            let guess = ROUND / (u64::try_from(size).unwrap_or(u64::MAX).saturating_add(384));
            one_size(&targets, size, args.messages.unwrap_or(guess), args.rounds)
        })
        .collect()
}

fn one_size(
    targets: &[Target<'_>; 3],
    size: usize,
    messages: u64,
    rounds: usize,
) -> Result<Throughput, Failed> {
    let frames = Frames::new(size);
    let mut measured: [Rounds; 3] = Default::default();
    for target in targets {
        once(target, &frames, messages / 10)?;
    }
    for round in 0..rounds {
        // Who comes first in a round must not matter; so it is another one each time.
        let mut turns: Vec<_> = targets.iter().zip(&mut measured).collect();
        turns.rotate_left(round % targets.len());
        for (target, rounds) in turns {
            rounds.measure(target, &frames, messages)?;
        }
    }
    let [bare, ..] = &measured;
    let rows = targets.iter().zip(&measured);
    let targets = rows
        .map(|(target, rounds)| Row {
            target: target.name,
            messages_per_second: Spread::of(rounds.rates.iter().copied()),
            of_bare: ratio(&rounds.rates, &bare.rates),
            gateway_ns: target
                .gateway
                .map(|_| Spread::of(rounds.gateway.iter().copied())),
            server_ns: Spread::of(rounds.server.iter().copied()),
        })
        .collect();
    Ok(Throughput {
        size,
        messages,
        targets,
    })
}

impl Rounds {
    fn measure(
        &mut self,
        target: &Target<'_>,
        frames: &Frames,
        messages: u64,
    ) -> Result<(), Failed> {
        let cpu = || -> Result<(Duration, Duration), Failed> {
            let gateway = target
                .gateway
                .map_or(Ok(Duration::ZERO), |gateway| gateway.cpu())?;
            Ok((gateway, target.server.cpu()?))
        };
        let before = cpu()?;
        let took = once(target, frames, messages)?;
        let after = cpu()?;
        let per_message = |after: Duration, before: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1e9 / float(messages)
        };
        self.rates.push(float(messages) / took.as_secs_f64());
        self.gateway.push(per_message(after.0, before.0));
        self.server.push(per_message(after.1, before.1));
        Ok(())
    }
}

/// Moves `messages` from one connection to another.
fn once(target: &Target<'_>, frames: &Frames, messages: u64) -> Result<Duration, Failed> {
    let mut subscriber = Client::connect(target.addr)?;
    subscriber.subscribe(SUBJECT)?;
    let mut publisher = Client::connect(target.addr)?;
    let received = AtomicU64::new(0);
    let begun = now();
    std::thread::scope(|scope| {
        let publishing =
            scope.spawn(|| publish(&mut publisher, &frames.publish, messages, &received));
        let counted = subscriber.count(&frames.deliver, frames.line, messages, |seen| {
            received.store(seen, Ordering::Relaxed);
        });
        if counted.is_err() {
            // Ends a publisher that waits for us.
            received.store(u64::MAX, Ordering::Relaxed);
        }
        let took = now().duration_since(begun);
        let published = publishing
            .join()
            .unwrap_or_else(|_panic| Err(Failed::Limit("the publisher panicked".to_owned())));
        counted?;
        published?;
        Ok(took)
    })
}

fn publish(
    client: &mut Client,
    frame: &[u8],
    messages: u64,
    received: &AtomicU64,
) -> Result<(), Failed> {
    let (per_write, window) = ((WRITE / frame.len()).max(1), WINDOW / frame.len());
    let chunk = frame.repeat(per_write);
    let [per_write, window] = [per_write, window].map(|n| u64::try_from(n).unwrap_or(u64::MAX));
    let mut sent = 0;
    while sent < messages {
        while sent > received.load(Ordering::Relaxed).saturating_add(window) {
            std::thread::park_timeout(LOOK);
        }
        let count = per_write.min(messages - sent);
        let bytes = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .saturating_mul(frame.len());
        client.send(chunk.get(..bytes).unwrap_or(&chunk))?;
        sent += count;
    }
    client.flush()
}

impl Frames {
    fn new(size: usize) -> Self {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let whole = |line: String| [line.as_bytes(), &payload, b"\r\n"].concat();
        let line = format!("MSG {SUBJECT} 1 {size}\r\n");
        Self {
            publish: whole(format!("PUB {SUBJECT} {size}\r\n")),
            line: line.len(),
            deliver: whole(line),
        }
    }
}
