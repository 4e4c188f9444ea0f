//! A soak test: all kinds of load at once, with a rotation every minute; fails where resources grow.
//!
//! Official clients publish and subscribe, send requests, fill and read a stream and a bucket, connect and close; now and then
//! one does not read. All goes through one sealing gateway. Overlaps are short, so that versions end meanwhile: those of core
//! subjects are destroyed, those of stored ones archived. Each minute the gateway is sampled from outside.

mod load;
mod verdict;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::RunError;
use crate::load::now;
use crate::targets::{Gateway, Mode, Programs};

use load::Load;
use verdict::Finding;

/// Interval of samples; a twelfth of a shorter run.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// How long the gateway may take to release all clients.
const GONE: Duration = Duration::from_secs(30);

/// How often to check that.
const AGAIN: Duration = Duration::from_millis(100);

/// The keyrings: core subjects, and stored ones.
const KEYRINGS: [&str; 2] = ["default", "stored"];

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// How long, in minutes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Time between two rotations of every keyring.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    rotate_every: Duration,
}

/// The result of a run.
#[derive(Serialize)]
pub(crate) struct Soak {
    rotations: u64,
    samples: Vec<Sample>,
    /// The checks for growth.
    pub(crate) findings: Vec<Finding>,
    /// Errors of clients, each kind once.
    errors: Vec<String>,
}

/// A sample of the gateway.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the load began.
    pub(crate) at: f64,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    pub(crate) files: u64,
    pub(crate) threads: u64,
    /// Clients; each is a task.
    pub(crate) connections: u64,
    /// Key versions in memory, those apart that stored messages may need.
    pub(crate) loaded: u64,
    pub(crate) archived: u64,
    pub(crate) destroyed: u64,
    /// Lanes drawn since the last sample.
    pub(crate) lanes: u64,
    /// Messages sealed so far.
    pub(crate) sealed: u64,
    /// Withheld so far: of a client that does not read, beyond the overlap.
    pub(crate) withheld: u64,
}

/// A run in progress.
struct Run<'g> {
    gateway: &'g Gateway,
    begun: Instant,
    /// Lanes drawn until the last sample.
    drawn: u64,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Option<Soak>, RunError> {
    let total = Duration::try_from_secs_f64(args.minutes * 60.0)
        .map_err(|error| RunError::Limit(format!("--minutes {}: {error}", args.minutes)))?;
    let server = programs.server()?;
    let overlap = (args.rotate_every / 4).as_millis();
    let tables = format!(
        "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\noverlap = \"{overlap}ms\"\nretain = \"shred\"\n\
         [[keyring]]\nname = \"stored\"\nsubjects = [\"soak.stored.>\", \"$KV.>\"]\noverlap = \"{overlap}ms\"\nretain = \"archive\"\n"
    );
    let gateway = programs.configured(server.addr, Mode::Sealing, &tables)?;
    let mut run = Run {
        gateway: &gateway,
        begun: now(),
        drawn: 0,
    };
    let idle = run.look()?;
    let load = Load::start(gateway.addr)?;
    run.begun = now();
    let (samples, rotations) = run.watch(total, args.rotate_every)?;
    let errors = load.finish();
    let mut findings = verdict::of(&samples);
    findings.extend(verdict::afterwards(idle, run.quiet(idle)?));
    findings.push(verdict::errors(&errors));
    Ok(Some(Soak {
        rotations,
        samples,
        findings,
        errors,
    }))
}

impl Run<'_> {
    /// Samples and rotates until the time is over.
    fn watch(&mut self, total: Duration, every: Duration) -> Result<(Vec<Sample>, u64), RunError> {
        let look = POLL_INTERVAL.min(total / 12);
        let (mut samples, mut rotations) = (Vec::new(), 0);
        let (mut looks, mut rotates) = (look, every);
        while self.elapsed() < total {
            let next = looks.min(rotates).min(total);
            std::thread::park_timeout(next.saturating_sub(self.elapsed()));
            if self.elapsed() >= rotates {
                self.rotate()?;
                rotations += 1;
                rotates = self.elapsed().max(rotates + every);
            }
            if self.elapsed() >= looks {
                let sample = self.look()?;
                progress(&sample);
                samples.push(sample);
                looks += look;
            }
        }
        Ok((samples, rotations))
    }

    /// Rotates every keyring.
    fn rotate(&self) -> Result<(), RunError> {
        KEYRINGS
            .iter()
            .try_for_each(|keyring| self.gateway.rotate_keyring(keyring).map(drop))
    }

    fn elapsed(&self) -> Duration {
        now().duration_since(self.begun)
    }

    fn look(&mut self) -> Result<Sample, RunError> {
        let metrics = self.gateway.metrics()?;
        let process = &self.gateway.process;
        let all = |name| metrics.sum(name, &[]);
        let drawn = all("keyway_lanes_started_total");
        let versions = |state: &str| {
            let label = format!("state=\"{state}\"");
            metrics.sum("keyway_key_versions", &[&label])
        };
        let lanes = drawn.saturating_sub(self.drawn);
        self.drawn = drawn;
        let loaded = ["pre-active", "ready", "active", "decrypt-only"];
        Ok(Sample {
            at: self.elapsed().as_secs_f64(),
            resident: process.resident()?,
            files: process.count("fd")?,
            threads: process.count("task")?,
            connections: all("keyway_connections"),
            loaded: loaded.into_iter().map(versions).sum(),
            archived: versions("archived"),
            destroyed: versions("destroyed"),
            lanes,
            sealed: all("keyway_sealed_messages_total"),
            withheld: all("keyway_withheld_messages_total"),
        })
    }

    /// A sample once all clients are gone, or after [`GONE`].
    fn quiet(&mut self, idle: Sample) -> Result<Sample, RunError> {
        let begun = now();
        loop {
            let sample = self.look()?;
            let gone = sample.connections == 0 && sample.files <= idle.files;
            if gone || now().duration_since(begun) > GONE {
                return Ok(sample);
            }
            std::thread::park_timeout(AGAIN);
        }
    }
}

impl Soak {
    /// Whether nothing grew.
    ///
    /// # Errors
    /// Names what grew.
    pub(crate) fn judge(&self) -> Result<(), RunError> {
        let grown = self.findings.iter().filter(|finding| !finding.holds);
        let names: Vec<&str> = grown.map(|finding| finding.what).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(RunError::Limit(format!(
            "the soak found: {}; see its table",
            names.join(", ")
        )))
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "\nsoak with {} rotations of {} keyrings",
            self.rotations,
            KEYRINGS.len()
        )?;
        head(out)?;
        self.samples
            .iter()
            .try_for_each(|sample| row(out, sample))?;
        writeln!(
            out,
            "\n{:<44}{:>14}{:>14}{:>14}  verdict",
            "", "before", "allowed", "then"
        )?;
        for finding in &self.findings {
            let word = if finding.holds { "flat" } else { "GROWS" };
            let Finding {
                what,
                before,
                allowed,
                then,
                ..
            } = finding;
            writeln!(out, "{what:<44}{before:>14}{allowed:>14}{then:>14}  {word}")?;
        }
        self.errors
            .iter()
            .try_for_each(|error| writeln!(out, "  {error}"))
    }
}

/// Prints a progress line.
fn progress(sample: &Sample) {
    let mut out = io::stderr().lock();
    // Errors do not matter.
    drop(row(&mut out, sample));
}

fn head(out: &mut impl Write) -> io::Result<()> {
    let names = [
        "minute",
        "RSS, KiB",
        "files",
        "threads",
        "clients",
        "loaded",
        "archived",
        "destroyed",
        "lanes",
        "sealed",
        "withheld",
    ];
    names
        .iter()
        .try_for_each(|name| write!(out, "{name:>11}"))?;
    writeln!(out)
}

fn row(out: &mut impl Write, sample: &Sample) -> io::Result<()> {
    write!(out, "{:>11.2}", sample.at / 60.0)?;
    let numbers = [
        sample.resident / 1024,
        sample.files,
        sample.threads,
        sample.connections,
        sample.loaded,
        sample.archived,
        sample.destroyed,
        sample.lanes,
        sample.sealed,
        sample.withheld,
    ];
    numbers
        .iter()
        .try_for_each(|number| write!(out, "{number:>11}"))?;
    writeln!(out)
}
