//! `keyway check`: every mistake of a configuration at once.

use serde::Serialize;

use crate::clock::Clock;
use crate::config::{self, Checked, Environment, Finding, Warning};

use super::args::Check;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Output, complain};
use super::place;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether a gateway would start with it.
    valid: bool,
    errors: &'a [Finding],
    warnings: &'a [Warning],
}

pub(super) fn run(args: &Check, out: &mut Output) -> Result<(), Failure> {
    let environment = Environment::of_process(&Clock::system());
    match (config::check(&args.config, &environment), args.json) {
        (Ok((_checked, warnings)), true) => {
            out.json(&Report {
                valid: true,
                errors: &[],
                warnings: &warnings,
            })?;
            Ok(())
        }
        (Ok((checked, warnings)), false) => {
            for warning in warnings {
                complain(format_args!("warning: {warning}"));
            }
            out.line(format_args!("{}: ok", args.config.display()))?;
            out.line(summary(&checked))?;
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
        (Err(errors), false) => Err(place::invalid(&errors)),
    }
}

/// What the file comes to, so that a person sees whether it is what was meant.
fn summary(checked: &Checked) -> String {
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
    lines.join("\n")
}
