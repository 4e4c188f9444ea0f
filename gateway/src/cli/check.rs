//! `keyway check`: every mistake of a configuration at once.

use serde::Serialize;

use crate::app;
use crate::clock::Clock;
use crate::config::{self, Environment, Finding, GatewayConfig, Warning};
use crate::fault::Faulty;

use super::args::Check;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::Output;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether a gateway would start with it.
    valid: bool,
    errors: &'a [Finding],
    warnings: &'a [Finding],
}

pub(super) fn run(args: &Check, out: &mut Output) -> Result<(), Failure> {
    let environment = Environment::from_process(&Clock::system());
    match (config::check(&args.config, &environment), args.json) {
        (Ok((checked, warnings)), true) => {
            let (errors, doubts) = files(args, &checked);
            let warnings: Vec<_> = warnings.iter().map(Warning::finding).cloned().collect();
            out.json(&Report {
                valid: errors.is_empty(),
                errors: &errors,
                warnings: &[warnings, doubts].concat(),
            })?;
            verdict(&errors)
        }
        (Ok((checked, warnings)), false) => {
            let (errors, doubts) = files(args, &checked);
            let warnings = warnings.iter().map(Warning::finding);
            for warning in warnings.chain(&doubts) {
                load::warn(warning);
            }
            errors.iter().for_each(load::eprint_finding);
            verdict(&errors)?;
            out.line(format_args!("{}: ok", args.config.display()))?;
            out.lines(summary(&checked))?;
            Ok(())
        }
        (Err(errors), true) => {
            out.json(&Report {
                valid: false,
                errors: errors.findings(),
                warnings: &[],
            })?;
            Err(Failure::silent(Exit::Config))
        }
        (Err(errors), false) => Err(load::invalid(&errors)),
    }
}

/// Errors and warnings about the files that the configuration names.
fn files(args: &Check, checked: &GatewayConfig) -> (Vec<Finding>, Vec<Finding>) {
    let (wrong, doubts) = app::check_files(checked, &Clock::system());
    let finding = |key: &str, message: &str, help: &str| Finding {
        file: args.config.display().to_string(),
        line: None,
        column: None,
        key: key.to_owned(),
        message: message.to_owned(),
        help: help.to_owned(),
    };
    let errors = wrong.iter().map(|wrong| {
        let what = wrong.error.to_string();
        // The key is printed in front of it already.
        let what = what.split_once("`: ").map_or(&*what, |(_key, what)| what);
        finding(wrong.key, what, wrong.error.fault().help())
    });
    let doubts = doubts
        .iter()
        .map(|doubt| finding(doubt.key, &doubt.message, &doubt.help));
    (errors.collect(), doubts.collect())
}

fn verdict(errors: &[Finding]) -> Result<(), Failure> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Config))
    }
}

/// The effective configuration in short, for a person to check.
fn summary(checked: &GatewayConfig) -> Vec<String> {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let clients = list(&mut checked.dataplane.listen.iter().map(ToString::to_string));
    let servers = list(&mut checked.dataplane.servers.iter().map(ToString::to_string));
    let mut lines = vec![
        format!("  clients    {clients}"),
        format!("  servers    {servers}"),
        format!("  state      {}", checked.state.display()),
    ];
    for rule in checked.policy.keyrings() {
        let subjects = list(&mut rule.subjects.iter().map(ToString::to_string));
        lines.push(format!("  keyring    {}: {subjects}", rule.name));
    }
    if checked.dataplane.relay_only {
        lines.push("  relay-only: no payload is sealed or opened".to_owned());
    }
    lines
}
