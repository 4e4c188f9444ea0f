//! `keyway-loadtest` compares the bare server, HAProxy, the server's own TLS and Keyway in one run, with real connections.
//!
//! It starts servers, proxies and gateways itself, on loopback and free ports, and ends them. Rounds alternate between the
//! targets, so that a busy machine affects all of them; ratios are taken within a round.
//!
//! ```text
//! cli ──► run ──► targets    what is started: a server, and what stands before it
//!          │  └─► scenarios  what is done with it ──► load   connections, and when messages go
//!          └────► report     figures, ratios, aims; tables, JSON, CSV, a page
//! trials   questions about the gateway alone, with tables of their own
//! ```
#![expect(
    clippy::arithmetic_side_effects,
    reason = "counts and times of a bounded run; nothing here is a peer's"
)]

mod cli;
mod error;
mod load;
mod report;
mod run;
mod scenarios;
mod targets;
mod trials;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, RunArgs, What};
use error::RunError;
use report::{Report, judge};
use run::run;
use targets::Programs;
use trials::{hostile, outstanding, rotation, soak, versions};

fn main() -> ExitCode {
    match serve(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // Nobody is left to tell when this fails.
            drop(writeln!(std::io::stderr(), "keyway-loadtest: {failed}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: &Cli) -> Result<(), RunError> {
    let programs = Programs::find(&cli.programs)?;
    let mut report = Report::begin(&programs);
    let trials = &mut report.trials;
    match &cli.what {
        What::Run(args) => report.tables = run(&programs, &args.plan(&cli.programs))?,
        What::Aims(args) => {
            report.tables = run(&programs, &args.plan())?;
            report.aims = judge(&report.tables);
        }
        What::Outstanding(args) => trials.outstanding = outstanding::run(&programs, args)?,
        What::Rotation(args) => trials.rotation = rotation::run(&programs, args)?,
        What::Versions(args) => trials.versions = versions::run(&programs, args)?,
        What::Hostile(args) => trials.hostile = hostile::run(&programs, args)?,
        What::Soak(args) => trials.soak = soak::run(&programs, args)?,
        What::All => {
            trials.outstanding = outstanding::run(&programs, &outstanding::Args::default())?;
            trials.rotation = rotation::run(&programs, &rotation::Args::default())?;
            trials.versions = versions::run(&programs, &versions::Args::default())?;
            trials.hostile = hostile::run(&programs, &hostile::Args::default())?;
            report.tables = run(&programs, &RunArgs::default().plan(&cli.programs))?;
        }
    }
    report.deliver(&cli.outputs)?;
    verdict(cli, &report)
}

/// The error of a run with a missed aim or a lost message.
fn verdict(cli: &Cli, report: &Report) -> Result<(), RunError> {
    let missed = report.aims.iter().filter(|judged| !judged.reached).count();
    if let What::Aims(args) = &cli.what
        && args.strict
        && missed > 0
    {
        return Err(RunError::Limit(format!("{missed} aims are missed")));
    }
    let soak = report.trials.soak.as_ref();
    soak.map_or(Ok(()), soak::Soak::judge)
}
