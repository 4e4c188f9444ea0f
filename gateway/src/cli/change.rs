//! `keyway suspend`, `restore`, `archive`, `destroy`, `abort` and `drill`.

use serde::Serialize;

use crate::admin::{self, api};

use super::args::{Abort, Change, CommonOptions, Destroy, Drill};
use super::exit::Exit;
use super::failure::Failure;
use super::order::{self, ExecutedBy};
use super::output::Output;
use super::target::Target;

/// A state change of one version: its name in API paths, and the change.
#[derive(Clone, Copy)]
pub(super) struct Kind(&'static str, admin::StateChange);

/// `keyway suspend`
pub(super) const SUSPEND: Kind = Kind("suspend", admin::StateChange::Suspend);
/// `keyway restore`
pub(super) const RESTORE: Kind = Kind("restore", admin::StateChange::Restore);
/// `keyway archive`
pub(super) const ARCHIVE: Kind = Kind("archive", admin::StateChange::Archive);

pub(super) fn run(args: &Change, kind: Kind, out: &mut Output) -> Result<(), Failure> {
    order::require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let selected = order::select_version(&args.which, &target)?;
    let (keyring, version) = (selected.keyring, selected.version()?);
    let asked = api::Reason {
        why: args.why.clone(),
    };
    let Kind(word, change) = kind;
    let path = format!("/v1/keyrings/{keyring}/versions/{version}/{word}");
    let (after, by) = order::execute(
        (&target, Some(keyring)),
        (&path, &asked),
        async |key_service| {
            key_service
                .change((keyring, version), change, asked.clone())
                .await
        },
    )?;
    print_result(&after, (version, by), &args.common, out)
}

pub(super) fn destroy(args: &Destroy, out: &mut Output) -> Result<(), Failure> {
    order::require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let selected = order::select_version(&args.which, &target)?;
    let (keyring, version) = (selected.keyring, selected.version()?);
    let asked = api::Destroy {
        why: args.why.clone(),
        force: args.force,
        approve: args.approve,
    };
    let path = format!("/v1/keyrings/{keyring}/versions/{version}/destroy");
    let (after, by) = order::execute(
        (&target, Some(keyring)),
        (&path, &asked),
        async |key_service| key_service.destroy((keyring, version), asked.clone()).await,
    )?;
    print_result(&after, (version, by), &args.common, out)
}

pub(super) fn abort(args: &Abort, out: &mut Output) -> Result<(), Failure> {
    order::require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let name = order::keyring(args.keyring.as_deref(), &target)?;
    let asked = api::Reason {
        why: args.why.clone(),
    };
    let (after, by) = order::execute(
        (&target, Some(name)),
        (&format!("/v1/keyrings/{name}/abort"), &asked),
        async |key_service| key_service.abort(name, asked.clone()).await,
    )?;
    print_result(&after, ("", by), &args.common, out)
}

/// Prints the state of the version now, and which version seals.
fn print_result(
    after: &api::Keyring,
    (version, by): (&str, ExecutedBy),
    common: &CommonOptions,
    out: &mut Output,
) -> Result<(), Failure> {
    if common.json {
        return Ok(out.json(after)?);
    }
    let is_selected =
        |known: &&api::KeyVersion| known.label == version || version.parse() == Ok(known.number);
    let changed = after.versions.iter().find(is_selected);
    if let Some(changed) = changed {
        out.line(format_args!("{} is {}", changed.label, changed.state))?;
        if let Some(kept) = &changed.kept {
            out.line(kept)?;
        }
    }
    let active = after.active().map(|active| active.label.as_str());
    match active {
        Some(label) if changed.is_none_or(|changed| changed.label != label) => {
            let when = match by {
                ExecutedBy::Gateway => "now",
                ExecutedBy::Command => "as soon as a gateway runs",
            };
            out.line(format_args!("{label} seals {when}"))?;
        }
        Some(_) => {}
        None => out.line("no version seals: publishes wait")?,
    }
    Ok(())
}

/// What `drill --json` prints.
#[derive(Serialize)]
struct DrillReport {
    passed: bool,
    parts: Vec<api::Rehearsal>,
}

pub(super) fn drill(args: &Drill, out: &mut Output) -> Result<(), Failure> {
    order::require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let asked = api::Reason {
        why: args.why.clone(),
    };
    let (parts, _by) = order::execute(
        (&target, None),
        ("/v1/drill", &asked),
        async |key_service| key_service.drill(asked.clone()).await,
    )?;
    let passed = parts.iter().all(|part| part.failed.is_none());
    if args.common.json {
        out.json(&DrillReport {
            passed,
            parts: parts.clone(),
        })?;
    }
    for part in parts.iter().filter(|_part| !args.common.json) {
        let took = std::time::Duration::from_micros(part.microseconds);
        match &part.failed {
            None => out.line(format_args!("ok      {}, {took:?}", part.what))?,
            Some(why) => out.line(format_args!("failed  {}: {why}", part.what))?,
        }
    }
    if passed {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Operator,
        "a revocation would not succeed now",
        "mend what failed, and drill again",
    ))
}
