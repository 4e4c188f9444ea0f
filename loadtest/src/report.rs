//! Tables for people, JSON for programs.

use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use keyway::clock::Clock;
use serde::Serialize;

use crate::failed::Failed;
use crate::hostile::Hostile;
use crate::idle::Idle;
use crate::latency::Latency;
use crate::outstanding::Outstanding;
use crate::rotation::{Rotation, Way};
use crate::soak::Soak;
use crate::stats::Spread;
use crate::targets::Programs;
use crate::throughput::Throughput;
use crate::versions::Versions;

/// What a run has measured.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) latency: Vec<Latency>,
    pub(crate) idle: Option<Idle>,
    pub(crate) outstanding: Option<Outstanding>,
    pub(crate) rotation: Option<Rotation>,
    pub(crate) versions: Vec<Versions>,
    pub(crate) hostile: Vec<Hostile>,
    pub(crate) soak: Option<Soak>,
}

#[derive(Serialize)]
struct Machine {
    cores: usize,
    processor: String,
    server: String,
    /// Seconds since 1970.
    begun: u64,
    /// Running processes per core in the minute before: above 0, the machine was not ours alone.
    load: f64,
    optimised: bool,
}

impl Report {
    pub(crate) fn begin(programs: &Programs) -> Result<Self, Failed> {
        Ok(Self {
            machine: Machine::look(programs)?,
            throughput: Vec::new(),
            latency: Vec::new(),
            idle: None,
            outstanding: None,
            rotation: None,
            versions: Vec::new(),
            hostile: Vec::new(),
            soak: None,
        })
    }

    /// For programs.
    pub(crate) fn print_json(&self) -> io::Result<()> {
        let out = &mut io::stdout().lock();
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }

    /// For people.
    pub(crate) fn print_tables(&self) -> io::Result<()> {
        let out = &mut io::stdout().lock();
        self.machine.print(out)?;
        self.throughput
            .iter()
            .try_for_each(|size| throughput(out, size))?;
        latency(out, &self.latency)?;
        self.idle.iter().try_for_each(|of| idle(out, of))?;
        let mut of = self.outstanding.iter();
        of.try_for_each(|of| outstanding(out, of))?;
        let mut of = self.rotation.iter();
        of.try_for_each(|of| rotation(out, of))?;
        versions(out, &self.versions)?;
        hostile(out, &self.hostile)?;
        self.soak.iter().try_for_each(|of| of.print(out))
    }
}

impl Machine {
    fn look(programs: &Programs) -> Result<Self, Failed> {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = file("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(String::new, |(_, name)| name.to_owned());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = file("/proc/loadavg");
        let load = load
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok());
        let begun = Clock::system().wall().duration_since(UNIX_EPOCH);
        Ok(Self {
            cores,
            processor,
            server: programs.server_version()?,
            begun: begun.map_or(0, |since| since.as_secs()),
            load: load.unwrap_or_default(),
            optimised: !cfg!(debug_assertions),
        })
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{} cores, {}, {}; load before the run: {:.1}",
            self.cores, self.processor, self.server, self.load
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

fn throughput(out: &mut impl Write, size: &Throughput) -> io::Result<()> {
    writeln!(
        out,
        "\n{} B payload, 1 publisher, 1 subscriber, {} messages a round: median (lowest to highest round)",
        size.size, size.messages
    )?;
    writeln!(
        out,
        "{:<16}{:>32}{:>24}{:>26}{:>14}",
        "", "thousand messages/s", "of the bare server", "gateway CPU ns/message", "server CPU"
    )?;
    for row in &size.targets {
        let thousands = scaled(row.messages_per_second, 1e-3);
        let gateway = row
            .gateway_ns
            .map_or_else(String::new, |spread| show(spread, 0));
        writeln!(
            out,
            "{:<16}{:>32}{:>24}{:>26}{:>14.0}",
            row.target,
            show(thousands, 0),
            show(row.of_bare, 2),
            gateway,
            row.server_ns.median
        )?;
    }
    Ok(())
}

fn latency(out: &mut impl Write, rows: &[Latency]) -> io::Result<()> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    writeln!(
        out,
        "\n{} B request and answer, one at a time, {} requests: microseconds",
        first.size, first.requests
    )?;
    writeln!(
        out,
        "{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>32}",
        "", "p50", "p90", "p99", "p99.9", "max", "p50 of the bare server's"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>32}",
            row.target,
            row.p50,
            row.p90,
            row.p99,
            row.p999,
            row.max,
            show(row.median_of_bare, 2)
        )?;
    }
    Ok(())
}

fn outstanding(out: &mut impl Write, of: &Outstanding) -> io::Result<()> {
    writeln!(
        out,
        "\n{} requests without an answer on {} connections: resident bytes per request",
        of.requests, of.connections
    )?;
    writeln!(
        out,
        "  the gateway of those who ask      {:>8.1}",
        of.asking
    )?;
    writeln!(
        out,
        "  the gateway of those who answer   {:>8.1}",
        of.answering
    )
}

fn idle(out: &mut impl Write, of: &Idle) -> io::Result<()> {
    let kib = 1.0 / 1024.0;
    writeln!(
        out,
        "\n{} idle connections through {} gateway process(es): resident KiB per connection",
        of.connections, of.gateways
    )?;
    writeln!(
        out,
        "gateway, with one subscription each     {:>8.2}",
        of.gateway_connected * kib
    )?;
    writeln!(
        out,
        "gateway, after one message each way     {:>8.2}",
        of.gateway_used * kib
    )?;
    writeln!(
        out,
        "server, for the same connections        {:>8.2}",
        of.server_connected * kib
    )
}

fn rotation(out: &mut impl Write, of: &Rotation) -> io::Result<()> {
    writeln!(
        out,
        "\nkeys replaced under load: {} B payload, {} messages a round, {} under way; median (lowest to highest round)",
        of.size, of.messages, of.window
    )?;
    writeln!(
        out,
        "{:<14}{:>24}{:>22}{:>20}{:>11}{:>8}{:>9}{:>10}",
        "",
        "thousand messages/s",
        "of no rotation",
        "CPU ns/message",
        "rotations",
        "lost",
        "doubled",
        "withheld"
    )?;
    for way in &of.ways {
        writeln!(
            out,
            "{:<14}{:>24}{:>22}{:>20}{:>11}{:>8}{:>9}{:>10}",
            way.name,
            show(scaled(way.messages_per_second, 1e-3), 0),
            show(way.of_without, 2),
            show(way.gateway_ns, 0),
            way.rotations,
            way.lost,
            way.doubled,
            way.withheld
        )?;
    }
    latencies(out, &of.ways)
}

fn latencies(out: &mut impl Write, ways: &[Way]) -> io::Result<()> {
    writeln!(
        out,
        "milliseconds from the write to the read, and of no rotation in the same round"
    )?;
    for way in ways {
        write!(out, "{:<14}", way.name)?;
        let names = ["p50", "p99", "p99.9"];
        let both = way.latency.iter().zip(&way.latency_of_without);
        for (name, (of, ratio)) in names.iter().zip(both) {
            let (of, ratio) = (show(scaled(*of, 1e-3), 2), show(*ratio, 2));
            write!(out, "{name} {of}, {ratio}; ")?;
        }
        writeln!(out, "longest {:.1}", way.longest / 1e3)?;
    }
    Ok(())
}

fn versions(out: &mut impl Write, parts: &[Versions]) -> io::Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<12}{:>14}{:>34}",
        "versions", "record, KiB", "a rotation, ms"
    )?;
    for part in parts {
        writeln!(
            out,
            "{:<12}{:>14}{:>34}",
            part.versions,
            part.record / 1024,
            show(part.rotation, 1)
        )?;
    }
    Ok(())
}

fn scaled(spread: Spread, by: f64) -> Spread {
    Spread {
        median: spread.median * by,
        low: spread.low * by,
        high: spread.high * by,
    }
}

fn hostile(out: &mut impl Write, rows: &[Hostile]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nRequests beside an attack, microseconds: median (lowest to highest round)"
    )?;
    writeln!(
        out,
        "{:<16}{:<16}{:>8}{:>26}{:>28}{:>26}",
        "attack", "", "acts", "p50", "p99", "p99 of the quiet round's"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16}{:<16}{:>8}{:>26}{:>28}{:>26}",
            row.attack,
            row.target,
            row.acts,
            show(row.p50, 0),
            show(row.p99, 0),
            show(row.p99_of_quiet, 2)
        )?;
    }
    Ok(())
}

fn show(spread: Spread, digits: usize) -> String {
    let Spread { median, low, high } = spread;
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}
