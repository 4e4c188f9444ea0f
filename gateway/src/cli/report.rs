//! What became of an order, for people and as JSON.

use serde::Serialize;

use crate::operations::{Report, Revoked};
use crate::rotation::{Exposure, KeyringStatus, Rehearsal, Rotated, VersionStatus};

use super::args::CommonOptions;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;

/// Who has carried out the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExecutedBy {
    /// The running gateway.
    Gateway,
    /// This process.
    Command,
}

/// What `drill --json` prints.
#[derive(Serialize)]
struct DrillReport<'a> {
    passed: bool,
    parts: &'a [Rehearsal],
}

/// Prints a report; a failure where the order is carried out in part only.
pub(super) fn print(
    report: &Report,
    (version, by): (Option<&str>, ExecutedBy),
    common: &CommonOptions,
    out: &mut Output,
) -> Result<(), Failure> {
    match report {
        Report::Rehearsed(parts) => return rehearsed(parts, common, out),
        _ if common.json => out.json(report)?,
        Report::Rotated(switch) => rotated(switch, by, out)?,
        Report::Revoked(report) => revoked(report, by, out)?,
        Report::Changed(keyring) => changed(keyring, (version, by), out)?,
    }
    if let Report::Revoked(revoked) = report
        && let Some(failure) = &revoked.failure
    {
        let label = &revoked.exposure.label;
        let what = format!("{label} is revoked, but it has no successor: {failure}");
        let help =
            "publishes wait meanwhile; it is tried again, `keyway status` shows how far it is";
        return Err(Failure::new(Exit::Operator, what, help));
    }
    Ok(())
}

fn rotated(switch: &Rotated, by: ExecutedBy, out: &mut Output) -> Result<(), Failure> {
    let (keyring, to, kid) = (&switch.keyring, &switch.to, &switch.kid);
    let from = switch.from.as_deref().unwrap_or("no version");
    out.line(format_args!("{keyring}: {from} -> {to} (kid {kid})"))?;
    if by == ExecutedBy::Command {
        out.line(
            "no gateway runs on this state directory; the next one seals under the new version",
        )?;
    }
    Ok(())
}

fn revoked(revoked: &Revoked, by: ExecutedBy, out: &mut Output) -> Result<(), Failure> {
    out.line(format_args!(
        "{} is revoked: it never seals again",
        revoked.exposure.label
    ))?;
    if let Some(label) = &revoked.sealing {
        out.line(sealing(label, by))?;
    }
    out.line("")?;
    print_exposure(&revoked.exposure, out)
}

fn sealing(label: &str, by: ExecutedBy) -> String {
    let when = match by {
        ExecutedBy::Gateway => "now",
        ExecutedBy::Command => "as soon as a gateway runs",
    };
    format!("{label} seals {when}")
}

/// Prints the state of the version now, and which version seals.
fn changed(
    after: &KeyringStatus,
    (version, by): (Option<&str>, ExecutedBy),
    out: &mut Output,
) -> Result<(), Failure> {
    let is_selected = |known: &&VersionStatus| {
        version.is_some_and(|version| known.label == version || version.parse() == Ok(known.number))
    };
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
            out.line(sealing(label, by))?;
        }
        Some(_) => {}
        None => out.line("no version seals: publishes wait")?,
    }
    Ok(())
}

fn rehearsed(parts: &[Rehearsal], common: &CommonOptions, out: &mut Output) -> Result<(), Failure> {
    let passed = parts.iter().all(|part| part.failed.is_none());
    if common.json {
        out.json(&DrillReport { passed, parts })?;
    } else {
        out.lines(parts.iter().map(rehearsal))?;
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

fn rehearsal(part: &Rehearsal) -> String {
    let took = std::time::Duration::from_micros(part.microseconds);
    match &part.failed {
        None => format!("ok      {}, {took:?}", part.what),
        Some(why) => format!("failed  {}: {why}", part.what),
    }
}

/// Prints what is exposed to whoever has the secret.
pub(super) fn print_exposure(exposure: &Exposure, out: &mut Output) -> Result<(), Failure> {
    let most = if exposure.exact { "" } else { "at most " };
    let [from, until] = [exposure.from, exposure.until].map(|at| at.map(String::from));
    let sealed = match (from, until) {
        (None, _) => "never".to_owned(),
        (Some(from), Some(until)) => format!("from {from} until {until}"),
        (Some(from), None) if exposure.halted => format!(
            "since {from}, and no more: it is revoked or suspended, which could not be written down yet"
        ),
        (Some(from), None) => format!("since {from}, and still"),
    };
    let opens = if exposure.opens {
        "yes: whoever has the secret can also seal what opens here"
    } else {
        "no: what was sealed under it and is still stored is withheld"
    };
    let Exposure {
        label, state, kid, ..
    } = exposure;
    let lines = [
        ("version", format!("{label} ({state}), kid {kid}")),
        ("keyring", exposure.keyring.clone()),
        ("subjects", exposure.subjects.join(", ")),
        ("sealed", sealed),
        ("messages", format!("{most}{}", exposure.sealed.messages)),
        (
            "bytes",
            format!("{most}{} of payload", exposure.sealed.bytes),
        ),
        ("lanes", exposure.lanes.to_string()),
        ("opens here", opens.to_owned()),
    ];
    out.line("exposed to whoever has its secret:")?;
    for (what, value) in lines {
        out.line(format_args!("  {what:<11} {value}"))?;
    }
    Ok(())
}
