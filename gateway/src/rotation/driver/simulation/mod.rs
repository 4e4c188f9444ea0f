//! Deterministic simulation of rotation under faults: the real engine, driver, catalogue, audit log, lanes and budgets over a
//! simulated disk, custodian, clock, bus and other members.
//!
//! A run depends on its seed alone. Secrets, kids and lane ids come from the system's generator: nothing depends on their values.
//!
//! Safety, at every moment of every run:
//! - at most one version of a keyring is active, in memory, on disk, and for the message path;
//! - stored messages open, here and for another member, unless their version may not open or was to be destroyed regardless;
//! - no version has sealed more than its limit, nor more than is durably recorded;
//! - no nonce is used twice;
//! - the secret of a destroyed version is neither loaded nor on the disk;
//! - a revoked version seals nothing more, and a confirmed revocation survives;
//! - no version is admitted that a member has not proven to have;
//! - no version is replaced within a second, unless it was revoked;
//! - every line of the audit log is true: intent, outcome, times, amounts, forced or proven;
//! - no version is destroyed before its overlap and hold are over, by elapsed time, nor without approval where that is required.
//!
//! In half of all runs disk and custodian do their work at once; in the others a part of it comes later, in any order.
//!
//! Liveness, once faults stop, within bounded time: every keyring seals, also beyond a limit; a rotation is made; replaced
//! versions are archived or destroyed; a cryptoperiod ends in time, whatever the clocks were set to and still show; the audit log
//! is complete, without open intents.
//!
//! | you look for | it is in |
//! |---|---|
//! | injected faults | `faults` |
//! | disk, custodian, bus | `environment` |
//! | other members | `members` |
//! | workers that seal meanwhile | `traffic` |
//! | a run, its processes and their ends | `simulated_run` |
//! | its actions | `actions` |
//! | liveness without faults | `liveness` |
//! | safety checks | `check` |
//! | clocks alone | `clocks` |
//! | whether the audit log is true | `oracle` |
//! | whether orders have the outcome that is reported | `order_outcomes` |
//! | the audit log, at every write that a crash may interrupt | `audit_log` |
//! | floods of kids that nobody knows | `misses` |
//! | a custodian that does not answer | `slow_custodian` |
//! | whether what keeps publishes waiting is reported | `standstill` |
//! | a fault at every write | `regressions` |

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected"
)]

mod actions;
mod audit_log;
mod check;
mod clocks;
mod environment;
mod faults;
mod liveness;
mod members;
mod misses;
mod oracle;
mod order_outcomes;
mod regressions;
mod simulated_run;
mod slow_custodian;
mod standstill;
mod traffic;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use environment::Fixture;
use faults::FaultCounts;
use simulated_run::{RunCounts, SimulatedRun};

use crate::secret::memory;

/// The seeds of an ordinary test run.
const DEFAULT_SEEDS: Range<u64> = 0..1000;

/// Seeds to run instead: `a..b`, or one.
const SEEDS: &str = "KEYWAY_SIMULATION_SEEDS";

/// The totals of all runs.
#[derive(Debug, Default)]
struct Totals {
    runs: u64,
    counts: RunCounts,
    seen: FaultCounts,
    failed: Vec<u64>,
}

#[test]
fn keys_are_safe_in_every_run_and_rotation_goes_on_once_faults_stop() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Totals::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&next, seeds.end, &sum));
        }
    });
    let sum = sum.into_inner().unwrap();
    eprintln!("{sum:?}");
    assert!(
        sum.failed.is_empty(),
        "failed: seeds {:?}; each replays by {SEEDS}=SEED cargo test -p keyway --lib driver::simulation",
        sum.failed
    );
    assert_eq!(sum.runs, seeds.end - seeds.start);
}

/// Found by long runs: a failed write that had reread the record unnoticed (2754, 24324); an active version whose loading failed
/// and was not retried (44099); members that joined between an admission and the moment at which this gateway, or the check, knew
/// of it (4307, 21043, 47473); an exposure with an end and no beginning (2324); an order that another had carried out, logged
/// without its evidence (11258); an order that was begun before the engine knew what had become of the step before it, which made an
/// intent that could not come true (48929, 53725, 57435); and checks that mistook an intent before a clock jump for one after it (3380), and a destruction
/// in doubt for one at the time to which the clock was set (25919). With work that is done later: what a version was given at its
/// admission was not what had been recorded (2005, 6033); members that joined while an admission was under way (10020).
#[test]
fn seeds_that_failed_once_hold() {
    let fixture = Fixture::new();
    for seed in [
        2005, 2324, 2754, 3380, 4307, 6033, 10_020, 11_258, 21_043, 24_324, 25_919, 44_099, 47_473,
        48_929, 53_725, 57_435,
    ] {
        SimulatedRun::new(&fixture, seed).run();
    }
}

fn work(next: &AtomicU64, end: u64, sum: &Mutex<Totals>) {
    let fixture = Fixture::new();
    memory::skip_memory_scans();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| SimulatedRun::new(&fixture, seed).run()));
        let mut sum = sum.lock().unwrap();
        sum.runs += 1;
        match outcome {
            Ok((counts, seen)) => {
                sum.counts.add(&counts);
                sum.seen.add(&seen);
            }
            Err(_told) => {
                eprintln!(
                    "seed {seed} failed: {SEEDS}={seed} cargo test -p keyway --lib driver::simulation"
                );
                sum.failed.push(seed);
            }
        }
        if sum.failed.len() >= 10 {
            next.store(end, Ordering::Relaxed);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the seeds of a test are no configuration of the gateway"
)]
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var(SEEDS) else {
        return DEFAULT_SEEDS;
    };
    match text.split_once("..") {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => {
            let seed: u64 = text.parse().unwrap();
            seed..seed + 1
        }
    }
}

impl RunCounts {
    const fn add(&mut self, other: &Self) {
        self.actions += other.actions;
        self.starts += other.starts;
        self.refused_starts += other.refused_starts;
        self.jumps += other.jumps;
        self.versions += other.versions;
        self.sealed += other.sealed;
        self.limits += other.limits;
    }
}

impl FaultCounts {
    const fn add(&mut self, other: &Self) {
        self.disk += other.disk;
        self.custody += other.custody;
        self.deaths += other.deaths;
    }
}
