//! `keyway top`: rates, budgets and states of the running gateway, refreshed every second.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytesize::ByteSize;

use crate::clock::Clock;
use crate::printable::Count;
use crate::rotation::KeyringStatus;

use super::admin_client::{AdminClient, Answers};
use super::args::StateOptions;
use super::failure::Failure;
use super::output::{Line, Output, table};
use super::run::Signals;
use super::runtime::block_on;
use super::status::{budget, forecast, state};
use super::target::Target;
use super::terminal::{FullScreen, Paint};

/// How often the screen is drawn.
const REFRESH: Duration = Duration::from_secs(1);

/// The gateway's answers, and when they were read.
struct Sample {
    at: Instant,
    answers: Answers,
    counters: BTreeMap<String, f64>,
}

pub(super) fn run(options: &StateOptions, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(options)?;
    let screen = FullScreen::enter()?;
    block_on(async {
        match screen {
            Some(screen) => watch(&target.socket, screen).await,
            None => once(&target.socket, out).await,
        }
    })
}

/// Draws until q or a signal.
async fn watch(socket: &Path, mut screen: FullScreen) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut before = sample(socket).await?;
    let paint = Paint::of_process();
    screen.show(&lines(&before, &before, paint))?;
    let mut due = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            () = signals.any() => return Ok(()),
            key = screen.key() => if matches!(key, b'q' | b'Q' | 3) {
                return Ok(());
            },
            _now = due.tick() => {
                let after = sample(socket).await?;
                let mut lines = lines(&before, &after, paint);
                lines.push(Line::default());
                lines.push(paint.quiet("q ends"));
                screen.show(&lines)?;
                before = after;
            }
        }
    }
}

/// Without a terminal: prints the rates of one second and ends.
async fn once(socket: &Path, out: &mut Output) -> Result<(), Failure> {
    let before = sample(socket).await?;
    tokio::time::sleep(REFRESH).await;
    let after = sample(socket).await?;
    Ok(out.lines(lines(&before, &after, Paint { colour: false }))?)
}

async fn sample(socket: &Path) -> Result<Sample, Failure> {
    let help = "start one with `keyway run`, or name the `--config` of the one that runs";
    let client = AdminClient::required(socket, help).await?;
    let answers = Answers::of(client, help).await?;
    Ok(Sample {
        at: Clock::system().instant(),
        counters: counters(&answers.metrics),
        answers,
    })
}

/// Samples of the Prometheus page by `name{labels}`.
fn counters(page: &str) -> BTreeMap<String, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    samples.collect()
}

impl Sample {
    fn counter(&self, name: &str, keyring: &str) -> f64 {
        let sample = format!("{name}{{keyring=\"{keyring}\"}}");
        self.counters.get(&sample).copied().unwrap_or(0.0)
    }
}

fn lines(before: &Sample, after: &Sample, paint: Paint) -> Vec<Line> {
    let Answers {
        status, keyrings, ..
    } = &after.answers;
    let clients = after.counters.get("keyway_connections");
    let clients = clients.copied().unwrap_or(0.0);
    let clients = Count(rounded(clients), "client");
    let mut lines = vec![state(status, paint).and(format_args!(", {clients}"))];
    let readiness = &status.readiness;
    let wrong = readiness.reasons.iter().chain(&readiness.degraded);
    lines.extend(wrong.map(|what| paint.warning(format_args!("  {what}"))));
    lines.push(Line::default());
    let head = [
        "KEYRING",
        "VERSION",
        "SEALED/s",
        "BYTES/s",
        "OPENED/s",
        "BYTES/s",
        "WAITING",
        "BUDGET USED",
        "FORECAST",
    ];
    let rows = keyrings.iter();
    let rows = rows.map(|keyring| row(keyring, (before, after), paint));
    lines.extend(table(head, rows).into_iter().map(Line::from));
    lines
}

fn row(keyring: &KeyringStatus, (before, after): (&Sample, &Sample), paint: Paint) -> [String; 9] {
    let name = keyring.keyring.as_str();
    let span = after.at.saturating_duration_since(before.at).as_secs_f64();
    let rate = |counter: &str| {
        let grown = after.counter(counter, name) - before.counter(counter, name);
        if span > 0.0 {
            grown.max(0.0) / span
        } else {
            0.0
        }
    };
    let messages = |counter| format!("{:.0}", rate(counter));
    let bytes = |counter| ByteSize(rounded(rate(counter))).to_string();
    let active = keyring.active();
    [
        name.to_owned(),
        active.map_or_else(|| "none".to_owned(), |active| active.label.clone()),
        messages("keyway_sealed_messages_total"),
        bytes("keyway_sealed_bytes_total"),
        messages("keyway_opened_messages_total"),
        bytes("keyway_opened_bytes_total"),
        format!("{:.0}", after.counter("keyway_publish_waiting", name)),
        active.map_or_else(
            || "-".to_owned(),
            |active| budget(active.used, keyring.terms.limit, paint),
        ),
        forecast(keyring),
    ]
}

/// A rate without its fraction.
fn rounded(rate: f64) -> u64 {
    format!("{rate:.0}").parse().unwrap_or(0)
}
