//! Checks for growth: the highest value of the last third of a run against that of its middle third. The first third is left out:
//! threads, buffers and tables fill there. And what remains once all clients are gone, against what was there before.

use serde::Serialize;

use super::Sample;

/// Memory may differ by 1/`MEMORY_FRACTION` (5 %) or by this many bytes, whichever is more: load and allocator vary.
const MEMORY_FRACTION: u64 = 20;
const MEMORY_SLACK: u64 = 2 << 20;

/// Clients that connect and close are sampled in different numbers.
const CLIENT_SLACK: u64 = 8;

/// Threads that the runtime starts for files or name lookups for some seconds.
const THREAD_SLACK: u64 = 2;

/// A quantity that must not grow.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    /// Its highest value in the middle third.
    pub(crate) before: u64,
    /// What it may be in the last third.
    pub(crate) allowed: u64,
    /// Its highest value in the last third.
    pub(crate) then: u64,
    pub(crate) holds: bool,
}

impl Finding {
    fn of(what: &'static str, [before, then]: [u64; 2], slack: u64) -> Self {
        let allowed = before.saturating_add(slack);
        Self {
            what,
            before,
            allowed,
            then,
            holds: then <= allowed,
        }
    }
}

/// The checks of a run.
pub(crate) fn of(samples: &[Sample]) -> Vec<Finding> {
    let third = samples.len() / 3;
    let middle = samples
        .get(third..samples.len() - third)
        .unwrap_or_default();
    let last = samples.get(samples.len() - third..).unwrap_or_default();
    let highest = |part: &[Sample], of: fn(&Sample) -> u64| part.iter().map(of).max().unwrap_or(0);
    let both = |of| [highest(middle, of), highest(last, of)];
    let memory = both(|sample| sample.resident);
    let lanes = both(|sample| sample.lanes);
    vec![
        Finding::of(
            "resident memory, bytes",
            memory,
            MEMORY_SLACK.max(memory[0] / MEMORY_FRACTION),
        ),
        Finding::of("open files", both(|sample| sample.files), 2 * CLIENT_SLACK),
        Finding::of("threads", both(|sample| sample.threads), THREAD_SLACK),
        Finding::of(
            "tasks: a client each",
            both(|sample| sample.connections),
            CLIENT_SLACK,
        ),
        // A sample may come in the middle of a rotation of both keyrings.
        Finding::of("key versions in memory", both(|sample| sample.loaded), 2),
        Finding::of(
            "lanes drawn between two looks",
            lanes,
            lanes[0] / 2 + CLIENT_SLACK,
        ),
    ]
}

/// The checks once all clients are gone.
pub(crate) fn afterwards(idle: Sample, quiet: Sample) -> [Finding; 2] {
    let clients = [idle.connections, quiet.connections];
    [
        Finding::of("tasks once all clients have gone", clients, 0),
        Finding::of(
            "files once all clients have gone",
            [idle.files, quiet.files],
            2,
        ),
    ]
}

/// The check of clients' errors.
pub(crate) fn errors(errors: &[String]) -> Finding {
    let count = u64::try_from(errors.len()).unwrap_or(u64::MAX);
    Finding::of("kinds of errors that clients saw", [0, count], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |minute| Sample {
            resident: resident(minute),
            files: 50,
            ..Sample::default()
        };
        (0..30).map(sample).collect()
    }

    fn grows(samples: &[Sample]) -> Vec<&'static str> {
        let findings = of(samples);
        let grown = findings.iter().filter(|finding| !finding.holds);
        grown.map(|finding| finding.what).collect()
    }

    #[test]
    fn memory_that_grows_every_minute_is_found_and_memory_that_fills_up_at_first_is_not() {
        let leak = samples(|minute| (100 << 20) + minute * (1 << 20));
        assert_eq!(grows(&leak), ["resident memory, bytes"]);
        let fills = samples(|minute| (100 << 20) + minute.min(9) * (10 << 20));
        assert_eq!(grows(&fills), [""; 0]);
    }

    #[test]
    fn a_client_that_is_left_over_is_found() {
        let left = Sample {
            connections: 1,
            ..Sample::default()
        };
        let findings = afterwards(Sample::default(), left);
        assert!(!findings[0].holds && findings[1].holds);
    }
}
