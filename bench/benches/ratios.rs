//! The cost of a step relative to the raw AEAD, on a machine of varying speed: both take turns of a millisecond, so that a slow
//! moment affects both.
//!
//! `cargo bench -p keyway-bench --bench ratios -- --sizes 128,1024 --rounds 51`. A ratio is the raw AEAD's median ÷ that of the step.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a measurement stops at the first thing that is not as expected; its numbers are small"
)]

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use keyway_bench::cases::{self, BASELINE, Case, Fixtures, SIZES};
use keyway_bench::{cpu, folder};
use serde_json::{Value, json};

/// Nanoseconds of a turn, approximately.
const TURN: f64 = 1e6;

/// An aim: direction, step, and per size the minimum of the raw AEAD's time ÷ the step's.
type Aim = (&'static str, &'static str, &'static [(usize, f64)]);
const AIMS: [Aim; 3] = [
    ("seal", "path", &[(128, 0.7), (1024, 0.8)]),
    ("open", "path", &[(128, 0.7), (1024, 0.8)]),
    (
        "open",
        "keyring-256-lanes",
        &[(64, 0.9), (128, 0.9), (256, 0.9), (1024, 0.9)],
    ),
];

#[derive(Parser)]
struct Options {
    /// Turns that each step gets.
    #[arg(long, default_value_t = 101)]
    rounds: usize,
    /// Payload sizes, in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<usize>,
    /// Where the JSON goes; `target/criterion/ratios.json` otherwise.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by `cargo bench` to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A step on one size.
struct Measured {
    direction: &'static str,
    step: &'static str,
    size: usize,
    /// Nanoseconds per message, of each round.
    times: Vec<f64>,
    /// The raw AEAD's, of the same rounds.
    baseline: Vec<f64>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let fixtures = Fixtures::default();
    let mut measured = Vec::new();
    for &size in &options.sizes {
        measured.extend(alternate(
            "seal",
            size,
            cases::seal(&fixtures, size),
            options.rounds,
        ));
        measured.extend(alternate(
            "open",
            size,
            cases::open(&fixtures, size),
            options.rounds,
        ));
    }
    show(&measured, &options.sizes)?;
    let page = match options.json {
        Some(page) => page,
        None => {
            std::fs::create_dir_all(folder())?;
            folder().join("ratios.json")
        }
    };
    std::fs::write(&page, serde_json::to_string_pretty(&as_json(&measured))?)?;
    writeln!(io::stdout(), "\nThe same as JSON: {}", page.display())
}

/// Gives each step its turn in each round, another one first each time.
fn alternate(
    direction: &'static str,
    size: usize,
    mut steps: Vec<Case<'_>>,
    rounds: usize,
) -> Vec<Measured> {
    let runs: Vec<usize> = steps.iter_mut().map(runs_in_a_turn).collect();
    let mut times = vec![Vec::with_capacity(rounds); steps.len()];
    for round in 0..rounds {
        for turn in 0..steps.len() {
            let index = (round + turn) % steps.len();
            let time = turn_of(&mut steps, index, &runs);
            times.get_mut(index).unwrap().push(time);
        }
    }
    let baseline = steps.iter().position(|case| case.step == BASELINE).unwrap();
    let baseline: Vec<f64> = times.get(baseline).unwrap().clone();
    let measured = |(case, times): (&Case<'_>, Vec<f64>)| Measured {
        direction,
        step: case.step,
        size,
        times,
        baseline: baseline.clone(),
    };
    steps.iter().zip(times).map(measured).collect()
}

/// Nanoseconds per message.
fn turn_of(steps: &mut [Case<'_>], index: usize, runs: &[usize]) -> f64 {
    let case = steps.get_mut(index).unwrap();
    let runs = *runs.get(index).unwrap();
    // Warms the caches.
    case.run();
    time(case, runs) / (runs * case.messages) as f64
}

fn runs_in_a_turn(case: &mut Case<'_>) -> usize {
    let mut runs = 1;
    while time(case, runs) < TURN / 2.0 {
        runs *= 2;
    }
    runs
}

fn time(case: &mut Case<'_>, runs: usize) -> f64 {
    let begun = cpu::nanoseconds();
    (0..runs).for_each(|_run| case.run());
    (cpu::nanoseconds() - begun) as f64
}

impl Measured {
    fn ratio(&self) -> f64 {
        quantile(&self.baseline, 0.5) / quantile(&self.times, 0.5)
    }

    /// The middle half of the rounds' own ratios.
    fn spread(&self) -> [f64; 2] {
        let rounds = self.baseline.iter().zip(&self.times);
        let ratios: Vec<f64> = rounds.map(|(baseline, own)| baseline / own).collect();
        [0.25, 0.75].map(|part| quantile(&ratios, part))
    }

    fn cell(&self) -> String {
        format!("{:.1} ({:.2})", quantile(&self.times, 0.5), self.ratio())
    }
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length, rounded"
    )]
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn show(measured: &[Measured], sizes: &[usize]) -> io::Result<()> {
    let out = &mut io::stdout().lock();
    writeln!(
        out,
        "Nanoseconds of CPU per message, medians of rounds in turn; in brackets, the raw AEAD's ÷ these."
    )?;
    for direction in ["seal", "open"] {
        write!(out, "\n{direction:<20}")?;
        for size in sizes {
            write!(out, "{:>16}", format!("{size} B"))?;
        }
        let first = |one: &&Measured| Some(&one.size) == sizes.first();
        let of = |one: &&Measured| one.direction == direction;
        for step in measured.iter().filter(of).filter(first) {
            write!(out, "\n{:<20}", step.step)?;
            let row = measured
                .iter()
                .filter(of)
                .filter(|one| one.step == step.step);
            for one in row {
                write!(out, "{:>16}", one.cell())?;
            }
        }
        writeln!(out)?;
    }
    aims(out, measured)
}

fn aims(out: &mut impl Write, measured: &[Measured]) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<30}{:>10}{:>10}{:>18}",
        "aim", "at least", "measured", "half of rounds"
    )?;
    for (direction, step, leasts) in AIMS {
        for &(size, least) in leasts {
            let is =
                |one: &&Measured| (one.direction, one.step, one.size) == (direction, step, size);
            let Some(one) = measured.iter().find(is) else {
                continue;
            };
            let [low, high] = one.spread();
            writeln!(
                out,
                "{:<30}{least:>10.2}{:>10.2}{:>18}  {}",
                format!("{direction}/{step}/{size}"),
                one.ratio(),
                format!("{low:.2} to {high:.2}"),
                if one.ratio() >= least {
                    "reached"
                } else {
                    "missed"
                },
            )?;
        }
    }
    Ok(())
}

fn as_json(measured: &[Measured]) -> Value {
    let each = measured.iter().map(|one| {
        json!({
            "direction": one.direction,
            "step": one.step,
            "size": one.size,
            "nanoseconds": quantile(&one.times, 0.5),
            "ratio": one.ratio(),
            "middle_half": one.spread(),
            "rounds": one.times.len(),
        })
    });
    each.collect()
}
