//! A progress line on a terminal; nothing where standard error is none.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::load::now;

use super::spread::float;

/// Columns of the bar.
const BAR: usize = 24;

/// The progress of a run.
pub(crate) struct Progress {
    steps: usize,
    done: usize,
    begun: Instant,
    shown: bool,
}

impl Progress {
    /// Starts a run of this many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self {
            steps,
            done: 0,
            begun: now(),
            shown: stderr().is_terminal(),
        }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, what: &str) {
        if self.shown {
            let line = line(
                self.done,
                self.steps,
                now().duration_since(self.begun),
                what,
            );
            show(&line);
        }
        self.done = self.done.saturating_add(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            show("");
        }
    }
}

/// Prints the line, ignoring errors.
fn show(line: &str) {
    let mut out = stderr().lock();
    drop(write!(out, "\r\x1b[2K{line}"));
    drop(out.flush());
}

fn line(done: usize, steps: usize, took: Duration, what: &str) -> String {
    let filled = (BAR * done).checked_div(steps).unwrap_or_default();
    let bar = ["=".repeat(filled), " ".repeat(BAR.saturating_sub(filled))].concat();
    let of = |count: usize| float(u64::try_from(count).unwrap_or_default());
    let left = if done == 0 {
        String::new()
    } else {
        let left = took.as_secs_f64() / of(done) * of(steps.saturating_sub(done));
        format!(", {left:.0} s left")
    };
    format!("[{bar}] {done}/{steps}{left}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_way_the_other_half_is_left() {
        let line = line(5, 10, Duration::from_secs(30), "pubsub 16 B, bare");
        assert_eq!(
            line,
            "[============            ] 5/10, 30 s left: pubsub 16 B, bare"
        );
    }
}
