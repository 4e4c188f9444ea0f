//! `keyway keys`: the key versions and their states, read from the catalogue; and why one is not destroyed.

use serde::Serialize;

use crate::admin::ApiError;
use crate::app;
use crate::catalogue::{Mark, Version, View};
use crate::envelope::Kid;
use crate::policy::KeyringName;
use crate::rotation::RetentionReasons;

use super::admin_client::refused;
use super::args::{Keys, KeysCommand, KeysWhy, VersionSelector};
use super::failure::Failure;
use super::output::{Output, table};
use super::target::Target;
use super::{exposure, load};

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
    let marks = view.marks().map_err(|error| Failure::of(&error))?;
    if args.json {
        out.json(&listing(&view, &marks))?;
    } else if view.versions().next().is_none() {
        out.line("no key versions yet: the first `keyway run` makes them")?;
    } else {
        out.lines(page(&view, &marks))?;
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
        None => {
            let checked = target.checked()?;
            let view = load::view(checked)?;
            let offline = load::offline(&view, checked, &keyring)?;
            let told = exposure::number(&offline, Some(&version));
            let told = told.and_then(|number| offline.kept(number));
            told.map_err(|error| refused(ApiError::of(&error).into_problem()))?
        }
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

fn listing(view: &View, marks: &[(Mark, Kid)]) -> Listing {
    Listing {
        catalogue: view.id().to_owned(),
        state: view.path().display().to_string(),
        versions: view.versions().map(|found| row(found, marks)).collect(),
    }
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

fn page(view: &View, marks: &[(Mark, Kid)]) -> Vec<String> {
    let words = |words: [&str; 6]| words.map(str::to_owned).to_vec();
    let head = words(["KEYRING", "VERSION", "STATE", "SINCE", "SUITE", "KID"]);
    let rows = view.versions().map(|found| row(found, marks)).map(|row| {
        let mark = row.mark.map(|mark| format!(" ({mark})"));
        words([
            &row.keyring,
            &row.label,
            &format!("{}{}", row.state, mark.unwrap_or_default()),
            &row.since,
            row.suite,
            &row.kid,
        ])
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
