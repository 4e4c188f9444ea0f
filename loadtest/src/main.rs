//! `keyway-loadtest`: real connections on a real bus. Throughput, latency and memory of the bare server, of Keyway as a relay and
//! of Keyway sealing, in one run.
//!
//! It starts `nats-server` and the gateways itself, on loopback and on ports that the system chooses, and ends them. Rounds
//! alternate between the targets, so that a machine that is busy for a while is busy for all of them; what is compared is the
//! ratio within a round.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "counts and times of a bounded run; nothing here is a peer's"
)]

mod client;
mod failed;
mod hostile;
mod idle;
mod latency;
mod operator;
mod outstanding;
mod process;
mod report;
mod rotation;
mod soak;
mod stats;
mod targets;
mod throughput;
mod versions;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use failed::Failed;
use report::Report;
use targets::Programs;

/// Throughput, latency and memory of Keyway beside the bare server.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    programs: ProgramArgs,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Args)]
struct ProgramArgs {
    /// The `nats-server` program.
    #[arg(long, global = true, default_value = "nats-server")]
    server: PathBuf,
    /// The `keyway` program; the one beside this program when not given.
    #[arg(long, global = true)]
    gateway: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// One publisher, one subscriber, closed by count.
    Throughput(throughput::Args),
    /// One request at a time to one responder.
    Latency(latency::Args),
    /// Many connections that say nothing: memory of the gateway.
    Idle(idle::Args),
    /// Many requests without an answer: memory of the gateway.
    Outstanding(outstanding::Args),
    /// Keys replaced by usage and by hand under full load: what it costs, and what is lost.
    Rotation(rotation::Args),
    /// Many versions in one record: how much longer a rotation takes.
    Versions(versions::Args),
    /// Requests beside clients that attack the port: how much longer an answer takes.
    Hostile(hostile::Args),
    /// Everything at once for a long time, with a rotation every minute: whether anything grows.
    Soak(soak::Args),
    /// All of these but the soak, with their defaults.
    All,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // Nobody is left to tell when this fails.
            drop(writeln!(std::io::stderr(), "keyway-loadtest: {failed}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failed> {
    let programs = Programs::find(&cli.programs.server, cli.programs.gateway.as_deref())?;
    let mut report = Report::begin(&programs)?;
    match &cli.what {
        What::Throughput(args) => report.throughput = throughput::run(&programs, args)?,
        What::Latency(args) => report.latency = latency::run(&programs, args)?,
        What::Idle(args) => report.idle = idle::run(&programs, args)?,
        What::Outstanding(args) => report.outstanding = outstanding::run(&programs, args)?,
        What::Rotation(args) => report.rotation = rotation::run(&programs, args)?,
        What::Versions(args) => report.versions = versions::run(&programs, args)?,
        What::Hostile(args) => report.hostile = hostile::run(&programs, args)?,
        What::Soak(args) => report.soak = soak::run(&programs, args)?,
        What::All => {
            report.throughput = throughput::run(&programs, &throughput::Args::default())?;
            report.latency = latency::run(&programs, &latency::Args::default())?;
            report.idle = idle::run(&programs, &idle::Args::default())?;
            report.outstanding = outstanding::run(&programs, &outstanding::Args::default())?;
            report.rotation = rotation::run(&programs, &rotation::Args::default())?;
            report.versions = versions::run(&programs, &versions::Args::default())?;
            report.hostile = hostile::run(&programs, &hostile::Args::default())?;
        }
    }
    let printed = if cli.json {
        report.print_json()
    } else {
        report.print_tables()
    };
    printed.map_err(|source| Failed::io("writing the report", source))?;
    report.soak.as_ref().map_or(Ok(()), soak::Soak::judge)
}
