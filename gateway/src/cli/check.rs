//! `keyway check`: every mistake of a configuration at once.

use serde::Serialize;

use crate::app;
use crate::clock::Clock;
use crate::config::{self, Environment, Finding, GatewayConfig};
use crate::fault::Faulty;

use super::args::Check;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::Output;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// Whether a gateway would start with it.
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

pub(super) fn run(args: &Check, out: &mut Output) -> Result<(), Failure> {
    let environment = Environment::from_process(&Clock::system());
    let checked = config::check(&args.config, &environment);
    let (errors, warnings) = match &checked {
        Ok((checked, warnings)) => {
            let (errors, doubts) = files(args, checked);
            (errors, [warnings.clone(), doubts].concat())
        }
        Err(errors) => (errors.findings().to_vec(), Vec::new()),
    };
    let valid = errors.is_empty();
    if args.json {
        out.json(&Report {
            valid,
            errors,
            warnings,
        })?;
    } else {
        warnings.iter().for_each(load::warn);
        errors.iter().for_each(load::eprint_finding);
        if let Ok((checked, _)) = checked
            && valid
        {
            out.line(format_args!("{}: ok", args.config.display()))?;
            out.lines(summary(&checked))?;
        }
    }
    if valid {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Config))
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

/// The effective configuration in short, for a person to check.
fn summary(checked: &GatewayConfig) -> Vec<String> {
    fn list(items: &[impl ToString]) -> String {
        let items: Vec<_> = items.iter().map(ToString::to_string).collect();
        items.join(", ")
    }
    let clients = list(&checked.dataplane.listen);
    let servers = list(&checked.dataplane.servers);
    let mut lines = vec![
        format!("  clients    {clients}"),
        format!("  servers    {servers}"),
        format!("  state      {}", checked.state.display()),
    ];
    for rule in checked.policy.keyrings() {
        let subjects = list(&rule.subjects);
        lines.push(format!("  keyring    {}: {subjects}", rule.name));
    }
    if checked.dataplane.relay_only {
        lines.push("  relay-only: no payload is sealed or opened".to_owned());
    }
    lines
}
