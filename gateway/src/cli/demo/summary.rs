//! What is printed before and after the table: the topology, the measured numbers, what to try next.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::metrics::PrometheusHandle;
use crate::printable::Count;

use super::keys::{Readings, grouped};
use super::layout::Tone;
use super::screen::Screen;

/// How often the counters are polled, and how many times at most: they follow the messages with a short delay.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const MAX_POLLS: usize = 200;

/// How many messages are to be withheld: a forged one, one moved to another subject, one sealed under a revoked key.
pub(super) const WITHHELD: u64 = 3;

/// The measured numbers.
pub(super) struct Totals {
    /// Messages that agents sent.
    pub(super) said: usize,
    /// Of these, received unchanged.
    pub(super) understood: usize,
    /// Of these, readable on the bus.
    pub(super) read_outside: usize,
    /// Connections that agents lost.
    pub(super) lost: usize,
    /// The stream of messages during which keys were replaced.
    pub(super) readings: Readings,
    /// Messages that the gateway withheld.
    pub(super) withheld: u64,
}

/// Prints the topology.
pub(super) fn print_topology(
    screen: &mut Screen,
    front: SocketAddr,
    bus: SocketAddr,
) -> Result<(), Failure> {
    let (to, from) = (screen.style().glyphs.arrow, screen.style().glyphs.back);
    screen.say(
        Tone::Strong,
        "Keyway: agents talk in plain text, the bus carries none of it",
    )?;
    screen.say(Tone::Plain, "")?;
    let line = format!("  agents {to} gateway {front} {to} nats-server {bus} {from} outsider");
    screen.say(Tone::Plain, &line)?;
    screen.say(
        Tone::Faint,
        "  ordinary NATS clients, no keys, no changes; the outsider bypasses the gateway",
    )?;
    screen.say(Tone::Plain, "")
}

/// Prints the numbers, and what to try next. An error if any promise was not kept.
pub(super) fn print_summary(
    screen: &mut Screen,
    totals: &Totals,
    server: &Path,
) -> Result<(), Failure> {
    screen.say(Tone::Plain, "")?;
    for (kept, promise) in &promises(totals) {
        let glyphs = screen.style().glyphs;
        let (tone, mark) = if *kept {
            (Tone::Good, glyphs.good)
        } else {
            (Tone::Outside, glyphs.bad)
        };
        screen.say(tone, &format!("  {mark} {promise}"))?;
    }
    if !promises(totals).iter().all(|(kept, _promise)| *kept) {
        let help = "please report it, with what is shown above";
        return Err(Failure::new(
            Exit::Failed,
            "the gateway broke a promise",
            help,
        ));
    }
    print_next_steps(screen, server)
}

/// Each promise, and whether it was kept.
fn promises(totals: &Totals) -> [(bool, String); 4] {
    let Readings {
        sent,
        in_turn,
        readable,
        ..
    } = totals.readings;
    let switches = totals.readings.switches();
    [
        (
            totals.understood == totals.said && totals.read_outside == 0,
            format!(
                "{} messages said, all heard as said; {} of them readable on the bus",
                totals.said, totals.read_outside
            ),
        ),
        (
            totals.lost == 0,
            format!(
                "keys switched, replaced, revoked: {}; a note from before still opens",
                Count(totals.lost, "reconnect")
            ),
        ),
        (
            in_turn == sent && readable == 0 && switches != 0,
            format!(
                "{} readings while the key was replaced {switches} times: {} lost, doubled or out of turn",
                grouped(u64::from(sent)),
                sent.saturating_sub(in_turn)
            ),
        ),
        (
            totals.withheld == WITHHELD,
            format!(
                "forged, moved, sealed under a revoked key: {} of {WITHHELD} withheld, none heard",
                totals.withheld
            ),
        ),
    ]
}

/// Commands to try, with the paths of the running programs.
fn print_next_steps(screen: &mut Screen, server: &Path) -> Result<(), Failure> {
    let called = std::env::args_os().next().map(PathBuf::from);
    let keyway = relative(&called.unwrap_or_else(|| PathBuf::from("keyway")));
    screen.say(Tone::Plain, "")?;
    screen.say(Tone::Strong, "try next")?;
    let steps = [
        (
            format!("{} &", relative(server)),
            "a bus, unless you have one",
        ),
        (format!("{keyway} run"), "the gateway before it"),
        (
            "nats://127.0.0.1:4223".to_owned(),
            "the one URL that agents change",
        ),
        (
            format!("{keyway} status"),
            "keys, budgets, when the next one is due",
        ),
        (format!("{keyway} top"), "the same, as it changes"),
        (
            format!("{keyway} rotate --event personnel --why \"Kim left\""),
            "a new key, while agents talk",
        ),
        (
            format!("{keyway} revoke --help"),
            "what to do when a key has leaked",
        ),
        (
            format!("{keyway} audit verify"),
            "is every key event as it was written?",
        ),
        (format!("{keyway} --help"), "everything else"),
    ];
    let lengths = steps.iter().map(|(command, _what)| command.chars().count());
    let longest = lengths.max().unwrap_or_default();
    let widest = steps.iter().map(|(_command, what)| what.len()).max();
    let beside = longest.saturating_add(widest.unwrap_or_default());
    // Two spaces before and two between.
    let fits = beside.saturating_add(4) <= screen.style().width;
    for (command, what) in &steps {
        if fits {
            screen.say(Tone::Plain, &format!("  {command:<longest$}  {what}"))?;
        } else {
            screen.say(Tone::Plain, &format!("  {command}"))?;
            screen.say(Tone::Faint, &format!("      {what}"))?;
        }
    }
    Ok(())
}

/// The path relative to the current directory, if it is below that.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| path.strip_prefix(here).map(Path::to_owned).ok());
    short
        .unwrap_or_else(|| path.to_owned())
        .display()
        .to_string()
}

/// How many messages the gateway has withheld; polls until that is `expected`.
pub(super) async fn withheld(metrics: &PrometheusHandle, expected: u64) -> u64 {
    let mut count = 0;
    for _look in 0..MAX_POLLS {
        count = sum(&metrics.render(), "keyway_withheld_messages_total{");
        if count >= expected {
            break;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    count
}

fn sum(page: &str, metric: &str) -> u64 {
    let samples = page.lines().filter(|line| line.starts_with(metric));
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_are_added_up() {
        let page = "# HELP a\na{x=\"1\"} 2\na{x=\"2\"} 3\nab{x=\"1\"} 9\n";
        assert_eq!(sum(page, "a{"), 5);
    }
}
