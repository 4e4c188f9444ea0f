//! One request at a time to one responder: how long an answer takes.

use std::net::SocketAddr;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::Client;
use crate::failed::Failed;
use crate::process::now;
use crate::stats::{Spread, float, ratio};
use crate::targets::Programs;

const SUBJECT: &str = "load.service";
const INBOX: &str = "_INBOX.loadtest.1";

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Payload of request and answer, in bytes.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Requests per round.
    #[arg(long, default_value_t = 2000)]
    requests: u32,
    /// Rounds per target.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            size: 128,
            requests: 2000,
            rounds: 5,
        }
    }
}

/// One target. Times in microseconds, over all rounds.
#[derive(Serialize)]
pub(crate) struct Latency {
    pub(crate) target: &'static str,
    pub(crate) size: usize,
    pub(crate) requests: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Of the bare server's median in the same round.
    pub(crate) median_of_bare: Spread,
}

struct Rounds {
    all: Histogram<u64>,
    medians: Vec<f64>,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Vec<Latency>, Failed> {
    let bus = programs.bus()?;
    let targets = bus.targets();
    let mut measured = Vec::new();
    for target in &targets {
        round(target.addr, args.size, args.requests / 10 + 1)?;
        measured.push(Rounds {
            all: histogram()?,
            medians: Vec::new(),
        });
    }
    for number in 0..args.rounds {
        let mut turns: Vec<_> = targets.iter().zip(&mut measured).collect();
        turns.rotate_left(number % targets.len());
        for (target, rounds) in turns {
            rounds.add(&round(target.addr, args.size, args.requests)?)?;
        }
    }
    let bare = measured
        .first()
        .map(|rounds| rounds.medians.clone())
        .unwrap_or_default();
    let rows = targets.iter().zip(&measured);
    Ok(rows
        .map(|(target, rounds)| rounds.row(target.name, args.size, &bare))
        .collect())
}

/// Nanoseconds of each request of one round.
pub(crate) fn round(
    addr: SocketAddr,
    size: usize,
    requests: u32,
) -> Result<Histogram<u64>, Failed> {
    let mut responder = Client::connect(addr)?;
    responder.subscribe(SUBJECT)?;
    let mut requester = Client::connect(addr)?;
    requester.subscribe(INBOX)?;
    let payload = "x".repeat(size);
    let request = format!("PUB {SUBJECT} {INBOX} {size}\r\n{payload}\r\n");
    let mut times = histogram()?;
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| answer(&mut responder, &payload, requests));
        let asked = (0..requests).try_for_each(|_| {
            let begun = now();
            requester.send(request.as_bytes())?;
            let answer = requester.message()?;
            let took = u64::try_from(now().duration_since(begun).as_nanos()).unwrap_or(u64::MAX);
            if answer.len != size {
                return Err(Failed::Limit(format!("an answer of {} bytes", answer.len)));
            }
            times.saturating_record(took);
            Ok(())
        });
        let answered = answering
            .join()
            .unwrap_or_else(|_panic| Err(Failed::Limit("the responder panicked".to_owned())));
        asked.and(answered)
    })?;
    Ok(times)
}

fn answer(client: &mut Client, payload: &str, requests: u32) -> Result<(), Failed> {
    let mut bytes = Vec::new();
    for _ in 0..requests {
        let request = client.message()?;
        bytes.clear();
        bytes.extend_from_slice(b"PUB ");
        bytes.extend_from_slice(&request.reply);
        bytes.extend_from_slice(format!(" {}\r\n{payload}\r\n", payload.len()).as_bytes());
        client.send(&bytes)?;
    }
    Ok(())
}

impl Rounds {
    fn add(&mut self, round: &Histogram<u64>) -> Result<(), Failed> {
        self.medians.push(float(round.value_at_quantile(0.5)));
        self.all
            .add(round)
            .map_err(|error| Failed::Limit(error.to_string()))
    }

    fn row(&self, target: &'static str, size: usize, bare: &[f64]) -> Latency {
        let at = |quantile| float(self.all.value_at_quantile(quantile)) / 1e3;
        Latency {
            target,
            size,
            requests: self.all.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: float(self.all.max()) / 1e3,
            median_of_bare: ratio(&self.medians, bare),
        }
    }
}

/// Up to a minute, with three digits.
fn histogram() -> Result<Histogram<u64>, Failed> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .map_err(|error| Failed::Limit(error.to_string()))
}
