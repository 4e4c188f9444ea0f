//! The machine and the programs of a run.

use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use keyway::clock::Clock;
use serde::Serialize;

use crate::targets::{Programs, Versions};

/// The machine, and the programs.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    #[serde(flatten)]
    pub(crate) versions: Versions,
    /// Seconds since 1970.
    begun: u64,
    /// Load average of the minute before: above 0, other processes were running.
    pub(crate) load: f64,
    pub(crate) optimised: bool,
}

impl Machine {
    pub(super) fn look(programs: &Programs) -> Self {
        let processor = file("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(String::new, |(_, name)| name.to_owned());
        let begun = Clock::system().wall().duration_since(UNIX_EPOCH);
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor,
            versions: programs.versions(),
            begun: begun.map_or(0, |since| since.as_secs()),
            load: load(),
            optimised: !cfg!(debug_assertions),
        }
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Versions { server, haproxy } = &self.versions;
        writeln!(
            out,
            "{} cores, {}; {server}; {haproxy}; load before the run: {:.1}",
            self.cores, self.processor, self.load
        )?;
        if !self.optimised {
            writeln!(
                out,
                "Built without optimisation: these numbers mean nothing."
            )?;
        }
        Ok(())
    }
}

fn load() -> f64 {
    let load = file("/proc/loadavg");
    let first = load.split(' ').next();
    first
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
