//! `keyway suspend`, `restore`, `archive`, `destroy`, `abort` and `drill`.

use serde::Serialize;

use crate::admin::{self, api};

use super::args::{Abort, Change, Destroy, Drill, How};
use super::exit::Exit;
use super::failure::Failure;
use super::order::{self, By};
use super::output::Output;
use super::target::Target;

/// A state change of one version: its name in API paths, and the change.
#[derive(Clone, Copy)]
pub(super) struct Kind(&'static str, admin::Change);

/// `keyway suspend`
pub(super) const SUSPEND: Kind = Kind("suspend", admin::Change::Suspend);
/// `keyway restore`
pub(super) const RESTORE: Kind = Kind("restore", admin::Change::Restore);
/// `keyway archive`
pub(super) const ARCHIVE: Kind = Kind("archive", admin::Change::Archive);

pub(super) fn run(args: &Change, kind: Kind, out: &mut Output) -> Result<(), Failure> {
    order::reasoned(&args.why)?;
    let target = Target::of(&args.how.place)?;
    let meant = order::meant(&args.which, &target)?;
    let (keyring, version) = (meant.keyring, meant.version()?);
    let asked = api::Reason {
        why: args.why.clone(),
    };
    let Kind(word, change) = kind;
    let path = format!("/v1/keyrings/{keyring}/versions/{version}/{word}");
    let (after, by) = order::carry((&target, Some(keyring)), (&path, &asked), async |desk| {
        desk.change((keyring, version), change, asked.clone()).await
    })?;
    told(&after, (version, by), &args.how, out)
}

pub(super) fn destroy(args: &Destroy, out: &mut Output) -> Result<(), Failure> {
    order::reasoned(&args.why)?;
    let target = Target::of(&args.how.place)?;
    let meant = order::meant(&args.which, &target)?;
    let (keyring, version) = (meant.keyring, meant.version()?);
    let asked = api::Destroy {
        why: args.why.clone(),
        force: args.force,
        approve: args.approve,
    };
    let path = format!("/v1/keyrings/{keyring}/versions/{version}/destroy");
    let (after, by) = order::carry((&target, Some(keyring)), (&path, &asked), async |desk| {
        desk.destroy((keyring, version), asked.clone()).await
    })?;
    told(&after, (version, by), &args.how, out)
}

pub(super) fn abort(args: &Abort, out: &mut Output) -> Result<(), Failure> {
    order::reasoned(&args.why)?;
    let target = Target::of(&args.how.place)?;
    let name = order::keyring(args.keyring.as_deref(), &target)?;
    let asked = api::Reason {
        why: args.why.clone(),
    };
    let (after, by) = order::carry(
        (&target, Some(name)),
        (&format!("/v1/keyrings/{name}/abort"), &asked),
        async |desk| desk.abort(name, asked.clone()).await,
    )?;
    told(&after, ("", by), &args.how, out)
}

/// Prints the state of the version now, and which version seals.
fn told(
    after: &api::Keyring,
    (version, by): (&str, By),
    how: &How,
    out: &mut Output,
) -> Result<(), Failure> {
    if how.json {
        return Ok(out.json(after)?);
    }
    let is_meant =
        |known: &&api::KeyVersion| known.label == version || version.parse() == Ok(known.number);
    let changed = after.versions.iter().find(is_meant);
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
                By::Gateway => "now",
                By::Command => "as soon as a gateway runs",
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
struct Rehearsed {
    passed: bool,
    parts: Vec<api::Rehearsal>,
}

pub(super) fn drill(args: &Drill, out: &mut Output) -> Result<(), Failure> {
    order::reasoned(&args.why)?;
    let target = Target::of(&args.how.place)?;
    let asked = api::Reason {
        why: args.why.clone(),
    };
    let (parts, _by) = order::carry((&target, None), ("/v1/drill", &asked), async |desk| {
        desk.drill(asked.clone()).await
    })?;
    let passed = parts.iter().all(|part| part.failed.is_none());
    if args.how.json {
        out.json(&Rehearsed {
            passed,
            parts: parts.clone(),
        })?;
    }
    for part in parts.iter().filter(|_part| !args.how.json) {
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
