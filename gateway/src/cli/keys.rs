//! `keyway keys`: the key versions and their states, read from the catalogue; and why one is not destroyed.

use serde::Serialize;

use crate::app;
use crate::catalogue::{Mark, Version};
use crate::envelope::Kid;
use crate::policy::KeyringName;
use crate::rotation::RetentionReasons;

use super::args::{Keys, KeysCommand, KeysWhy, VersionSelector};
use super::exposure::of_record;
use super::failure::Failure;
use super::load;
use super::output::{Output, table};
use super::target::Target;

/// A key version in JSON.
#[derive(Serialize)]
struct Row {
    keyring: String,
    number: u32,
    label: String,
    kid: String,
    suite: &'static str,
    state: &'static str,
    nist: &'static str,
    /// A mark that is ahead of its record.
    mark: Option<&'static str>,
    created: String,
    since: String,
    activated: Option<String>,
    deactivated: Option<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Listing {
    catalogue: String,
    state: String,
    versions: Vec<Row>,
}

pub(super) fn run(args: &Keys, out: &mut Output) -> Result<(), Failure> {
    if let Some(KeysCommand::Why(args)) = &args.command {
        return why(args, out);
    }
    let view = load::view(&load::configuration(&args.options)?)?;
    let marks = view.marks()?;
    let versions: Vec<_> = view.versions().map(|found| row(found, &marks)).collect();
    if args.json {
        out.json(&Listing {
            catalogue: view.id().to_owned(),
            state: view.path().display().to_string(),
            versions,
        })?;
    } else if versions.is_empty() {
        out.line("no key versions yet: the first `keyway run` makes them")?;
    } else {
        out.lines(page(versions))?;
    }
    Ok(())
}

/// Why a version is not destroyed: from the running gateway, which asks JetStream, or else from the record.
fn why(args: &KeysWhy, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(&args.common.options)?;
    let which = VersionSelector {
        first: args.keyring.clone(),
        second: Some(args.version.clone()),
    };
    let (keyring, version) = target.select(&which)?.path()?;
    let path = format!("/v1/keyrings/{keyring}/versions/{version}/why");
    let asked: Option<RetentionReasons> = target.ask(&path)?;
    let running = asked.is_some();
    let kept = match asked {
        Some(kept) => kept,
        None => of_record(&target, (&keyring, Some(&version)), |offline, number| {
            offline.kept(number)
        })?,
    };
    if args.common.json {
        return Ok(out.json(&kept)?);
    }
    out.line(format_args!("{} is {}", kept.label, kept.state))?;
    for reason in &kept.reasons {
        out.line(format_args!("  {reason}"))?;
    }
    if !running {
        let who = if app::is_gateway_running(&target.state) {
            "the gateway that runs has another admin socket"
        } else {
            "no gateway runs"
        };
        out.line(format_args!(
            "  {who}, so that JetStream was not asked what is stored under it"
        ))?;
    } else if kept.reasons.is_empty() {
        out.line("  nothing keeps it")?;
    }
    Ok(())
}

fn row((keyring, version): (&KeyringName, &Version), marks: &[(Mark, Kid)]) -> Row {
    Row {
        keyring: keyring.to_string(),
        number: version.number,
        label: version.label.to_string(),
        kid: version.kid.to_string(),
        suite: version.suite.name(),
        state: version.state.into(),
        nist: version.state.nist(),
        mark: Mark::unrecorded(marks, version).map(|mark| mark.word()),
        created: version.created.to_string(),
        since: version.since.to_string(),
        activated: version.activated.map(|time| time.to_string()),
        deactivated: version.deactivated.map(|time| time.to_string()),
    }
}

fn page(versions: Vec<Row>) -> Vec<String> {
    let head = ["KEYRING", "VERSION", "STATE", "SINCE", "SUITE", "KID"];
    let rows = versions.into_iter().map(|row| {
        let mark = row.mark.map(|mark| format!(" ({mark})"));
        let state = format!("{}{}", row.state, mark.unwrap_or_default());
        let suite = row.suite.to_owned();
        [row.keyring, row.label, state, row.since, suite, row.kid]
    });
    table(head, rows)
}
