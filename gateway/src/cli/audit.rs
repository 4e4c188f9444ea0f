//! `keyway audit`: verifies and shows the log of key events; `begin` starts a new one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::getuid;
use serde::Serialize;

use crate::app;
use crate::audit::{
    Actor, Body, Checkpoint, Event, EventId, Fact, LOG, Line, ReverseLines, Text, Verified,
    VerifierKey, VerifyError,
};
use crate::catalogue::{LoadError, compare_records};
use crate::clock::Clock;
use crate::disk::Real;
use crate::disk::names::RECORDS;
use crate::operations::Tail;
use crate::printable::{Count, Printable};

use super::admin_client::AdminClient;
use super::args::{
    AuditBegin, AuditCommand, AuditLogOptions, AuditShow, AuditTail, AuditVerify, StateOptions,
};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Output, eprint_line, table};
use super::runtime::block_on;
use super::target::Target;
use super::{load, order};

/// What `verify --json` prints.
#[derive(Serialize)]
struct Report {
    log: String,
    key: String,
    lines: u64,
    root: String,
    checkpoints: u64,
    covered: u64,
    torn_bytes: u64,
    open: Vec<EventId>,
    unknown: u64,
}

/// What `show --json` prints.
#[derive(Serialize)]
struct Listing {
    log: String,
    lines: Vec<Line>,
}

pub(super) fn run(command: &AuditCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(args) => verify(args, out),
        AuditCommand::Show(args) => show(args, out),
        AuditCommand::Tail(args) => tail(args, out),
        AuditCommand::Begin(args) => begin(args, out),
    }
}

/// Begins a new log. The records are not compared with the old log: the operator has checked them.
fn begin(args: &AuditBegin, out: &mut Output) -> Result<(), Failure> {
    let why = order::reason(&args.why)?.why;
    let checked = load::configuration(&args.options)?;
    let (mut catalogue, custodian) = load::unread(&checked)?;
    catalogue.refresh()?;
    let who = Actor::Uid(getuid().as_raw()).to_string();
    let said = (who.into(), why.into());
    let begun = app::begin_audit_log(&catalogue, &*custodian, said, &Clock::system());
    let log = begun?;
    let folder = app::audit_directory(catalogue.path());
    out.line(format_args!("begun {}", folder.join(LOG).display()))?;
    if let Some(key) = log.verifier() {
        out.line(format_args!("  verifier key {key}"))?;
    }
    out.line("Keep the verifier key elsewhere: it is another than that of the log before.")?;
    Ok(())
}

fn verify(args: &AuditVerify, out: &mut Output) -> Result<(), Failure> {
    let log = log(&args.options)?;
    let key = match &args.key {
        Some(key) => key.clone(),
        None => app::audit_verifier(load::state_of(&log))?,
    };
    let kept = args.checkpoint.iter();
    let kept = kept.map(|path| read_checkpoint(path, &key));
    let kept = kept.collect::<Result<Vec<_>, _>>()?;
    let verified = verified(&args.options, &log, &key, &kept)?;
    warn(&verified);
    if args.options.json {
        return Ok(out.json(&report(&log, &key, &verified))?);
    }
    out.line(format_args!(
        "{}: {}, all as written",
        log.display(),
        Count(verified.lines, "line")
    ))?;
    out.line(format_args!(
        "  {}, the last covers {}, Merkle tree hash {}",
        Count(verified.checkpoints, "checkpoint"),
        Count(verified.covered, "line"),
        verified.root.base64()
    ))?;
    out.line(format_args!("  signed by {key}"))?;
    if kept.is_empty() && args.key.is_none() {
        out.line("  key and checkpoints are those beside the log; with --key and --checkpoint from elsewhere it proves more")?;
    }
    Ok(())
}

/// Verifies every line and checkpoint, and that the records in the same state directory are not older than the log.
fn verified(
    options: &AuditLogOptions,
    log: &Path,
    key: &VerifierKey,
    kept: &[Checkpoint],
) -> Result<Verified, Failure> {
    let verified = load::verify(log, key, kept).map_err(verify_failure)?;
    // A copy elsewhere has no records.
    if options.log.is_none() || load::state_of(log).join(RECORDS).is_dir() {
        compare_records(&Real, load::state_of(log), &verified.last).map_err(rolled_back)?;
    }
    Ok(verified)
}

/// Warnings about a log that verifies.
fn warn(verified: &Verified) {
    if let Some(torn) = verified.torn {
        eprint_line(format_args!(
            "warning: behind the last line stands no whole one ({}): it is being written now, or was cut off by a crash; it was never acknowledged, and the next start removes it",
            Count(torn.bytes, "byte")
        ));
    }
    if verified.covered < verified.lines {
        let first = verified.covered.saturating_add(1);
        let which = if first == verified.lines {
            format!("line {first} has")
        } else {
            format!("lines {first} to {} have", verified.lines)
        };
        eprint_line(format_args!(
            "warning: {which} no checkpoint yet, so that a change of the last one would not show"
        ));
    }
    for event in &verified.open {
        eprint_line(format_args!(
            "warning: the event {event} has no outcome: it is under way, or a crash interrupted it"
        ));
    }
    if verified.unknown > 0 {
        eprint_line(format_args!(
            "warning: {} of a later version: what is said there is not known here, but stands where it was written",
            Count(verified.unknown, "line")
        ));
    }
}

fn report(log: &Path, key: &VerifierKey, verified: &Verified) -> Report {
    Report {
        log: log.display().to_string(),
        key: key.to_string(),
        lines: verified.lines,
        root: verified.root.base64(),
        checkpoints: verified.checkpoints,
        covered: verified.covered,
        torn_bytes: verified.torn.map_or(0, |torn| torn.bytes),
        open: verified.open.clone(),
        unknown: verified.unknown,
    }
}

fn verify_failure(error: VerifyError) -> Failure {
    match error {
        VerifyError::Altered { .. } | VerifyError::NoCheckpoint { .. } => {
            Failure::with_exit(Exit::Altered, &error)
        }
        VerifyError::Disk(error) => error.into(),
    }
}

/// A record that differs from what the log says of it.
fn rolled_back(error: LoadError) -> Failure {
    if error.is_rollback() {
        Failure::with_exit(Exit::Altered, &error)
    } else {
        error.into()
    }
}

/// Reads a checkpoint that is kept elsewhere: a file with one signed note.
fn read_checkpoint(path: &Path, key: &VerifierKey) -> Result<Checkpoint, Failure> {
    let note = std::fs::read_to_string(path).map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        Failure::new(Exit::Operator, what, "name a file with a signed checkpoint")
    })?;
    Checkpoint::open(&note, key).map_err(|error| {
        let what = format!("{} is no checkpoint of this log: {error}", path.display());
        let help = "name a file with one whole checkpoint, as it stands between the empty lines of `checkpoints`, and the log's own --key";
        Failure::new(Exit::Altered, what, help)
    })
}

/// Prints the latest lines, then verifies the log.
fn show(args: &AuditShow, out: &mut Output) -> Result<(), Failure> {
    let log = log(&args.options)?;
    let lines = latest(args, &log)?;
    if args.options.json {
        let log = log.display().to_string();
        out.json(&Listing { log, lines })?;
    } else {
        print(&lines, out)?;
    }
    match app::audit_verifier(load::state_of(&log)) {
        Ok(key) => verified(&args.options, &log, &key, &[]).map(drop),
        // A copy: its verifier key is elsewhere.
        Err(error) if args.options.log.is_some() => {
            eprint_line(format_args!(
                "warning: nothing says whether these lines are as written: {error}"
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The latest lines that are wanted, in order of time; the log is read backwards.
fn latest(args: &AuditShow, log: &Path) -> Result<Vec<Line>, Failure> {
    let mut backwards = ReverseLines::open(Arc::new(Real), log.to_owned())?;
    let mut lines = Vec::new();
    let mut finished = BTreeSet::new();
    while lines.len() < args.lines
        && let Some(bytes) = backwards.next_line()?
    {
        let Ok(line) = Line::parse(&bytes) else {
            eprint_line(
                "warning: a line is none that this keyway knows; `keyway audit verify` says whether it was altered",
            );
            continue;
        };
        if is_wanted(&line, args, &mut finished) {
            lines.push(line);
        }
    }
    lines.reverse();
    Ok(lines)
}

/// The last lines, from the running gateway.
fn tail(args: &AuditTail, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(&args.common.options)?;
    let tail: Tail = block_on(async {
        let help = "`keyway audit show` reads the log without a gateway";
        let client = AdminClient::required(&target.socket, help).await?;
        client.get(&format!("/v1/audit?count={}", args.lines)).await
    })?;
    if args.common.json {
        return Ok(out.json(&tail)?);
    }
    let mut finished = BTreeSet::new();
    let lines = tail.lines.iter().rev();
    let mut lines: Vec<Line> = lines
        .filter_map(|line| Line::parse(line.as_bytes()).ok())
        .filter(|line| is_latest_of_event(line, &mut finished))
        .collect();
    lines.reverse();
    print(&lines, out)
}

fn print(lines: &[Line], out: &mut Output) -> Result<(), Failure> {
    let head = [
        "BEGUN", "ENDED", "WHO", "ACTION", "TRIGGER", "KEYRING", "VERSION", "SCOPE", "OUTCOME",
        "WHY",
    ];
    Ok(out.lines(table(head, lines.iter().map(row)))?)
}

/// Whether a line is the latest of its event: the last outcome has everything that its intent and earlier outcomes have. Call
/// with the newest line first.
fn is_latest_of_event(line: &Line, finished: &mut BTreeSet<EventId>) -> bool {
    match &line.body {
        Body::Intent(event) => !finished.contains(&event.id),
        Body::Outcome(completed) => finished.insert(completed.event.id),
        Body::Note(_) => true,
    }
}

fn is_wanted(line: &Line, args: &AuditShow, finished: &mut BTreeSet<EventId>) -> bool {
    let keyring = line
        .body
        .event()
        .and_then(|event| event.act.keyring.as_ref());
    let keyring = keyring.map(Text::as_str);
    is_latest_of_event(line, finished)
        && (args.keyring.is_none() || args.keyring.as_deref() == keyring)
}

fn row(line: &Line) -> [String; 10] {
    match &line.body {
        Body::Intent(event) => cells(event, None, "under way".to_owned()),
        Body::Outcome(completed) => {
            let error = completed.error.as_ref().map(Text::printable);
            let changes = completed.event.act.changes.iter();
            let changes: Vec<_> = changes.map(ToString::to_string).collect();
            let changes = Some(Printable(&changes.join(", ")).to_string());
            let details = [changes.filter(|changes| !changes.is_empty()), error];
            let details = details.into_iter().flatten();
            let details: String = details.map(|detail| format!(": {detail}")).collect();
            let evidence = evidence(&completed.event);
            let outcome = format!("{}{evidence}{details}", completed.outcome);
            cells(&completed.event, Some(completed.completed), outcome)
        }
        Body::Note(note) => note_row(timestamp(note.time), &note.fact),
    }
}

/// Why a destruction was allowed: forced, or the evidence that nothing needs the version.
fn evidence(event: &Event) -> String {
    match (event.act.forced, &event.act.evidence) {
        (Some(true), _) => " (forced)".to_owned(),
        (_, Some(evidence)) => format!(" ({})", evidence.printable()),
        (_, None) => String::new(),
    }
}

fn timestamp(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn cells(event: &Event, ended: Option<Timestamp>, outcome: String) -> [String; 10] {
    let act = &event.act;
    let scope: Vec<_> = act.scope.iter().map(Text::printable).collect();
    let version = act
        .version
        .as_ref()
        .map(|version| version.label.printable());
    [
        timestamp(event.initiated),
        or_dash(ended.map(timestamp)),
        Text::from(act.who.to_string()).printable(),
        act.what.to_string(),
        or_dash(act.trigger.map(|trigger| trigger.to_string())),
        or_dash(act.keyring.as_ref().map(Text::printable)),
        or_dash(version),
        or_dash((!scope.is_empty()).then(|| scope.join(", "))),
        outcome,
        act.why.printable(),
    ]
}

/// The row of a note, which is no key event; with who and why, where it has them.
fn note_row(time: String, fact: &Fact) -> [String; 10] {
    let (who, why) = if let Fact::Drill { who, why } | Fact::LogReplaced { who, why, .. } = fact {
        (who.printable(), why.printable())
    } else {
        ("gateway".to_owned(), or_dash(None))
    };
    let action = "note".to_owned();
    let [ended, trigger, keyring, version, scope] = [(); 5].map(|()| or_dash(None));
    [
        time,
        ended,
        who,
        action,
        trigger,
        keyring,
        version,
        scope,
        describe(fact),
        why,
    ]
}

fn describe(fact: &Fact) -> String {
    match fact {
        Fact::Begun { catalogue, .. } => {
            format!("log begun for catalogue {}", catalogue.printable())
        }
        Fact::GatewayStarted { version, .. } => format!("started {}", version.printable()),
        Fact::GatewayStopped => "stopped".to_owned(),
        Fact::RecordsLeft { records } => {
            format!("left the records of {}", Count(records.len(), "keyring"))
        }
        Fact::GatewayHandedOver => "handed over to another process".to_owned(),
        Fact::GatewayTookBack => "taken back from a process that did not serve".to_owned(),
        Fact::ConfigurationReloaded { result, .. } => {
            format!("configuration reloaded: {}", result.printable())
        }
        Fact::RollbackAlarm { what } => format!("rollback alarm: {}", what.printable()),
        Fact::TailRepaired { bytes, .. } => {
            let bytes = Count(*bytes, "byte");
            format!("a line cut off by a crash was removed: {bytes}")
        }
        Fact::Uncovered { first, last } if first == last => {
            format!("line {first} had no checkpoint at the start")
        }
        Fact::Uncovered { first, last } => {
            format!("lines {first} to {last} had no checkpoint at the start")
        }
        Fact::Drill { .. } => "revocation rehearsed".to_owned(),
        Fact::LogReplaced { .. } => "log begun in the place of another".to_owned(),
        Fact::ReserveReleased => "disk full: reserve given up".to_owned(),
        Fact::ClockSet { seconds } => {
            let way = if *seconds < 0 { "back" } else { "ahead" };
            let size = Duration::from_secs(seconds.unsigned_abs());
            format!("clock set {way} by {}", humantime::format_duration(size))
        }
    }
}

/// The path of the log: `--log`, or in the state directory.
fn log(args: &AuditLogOptions) -> Result<PathBuf, Failure> {
    if let Some(log) = &args.log {
        return Ok(log.clone());
    }
    let options = StateOptions {
        config: args.config.clone(),
        state: args.state.clone(),
        ..StateOptions::default()
    };
    let log = app::audit_directory(&load::state(&options)?).join(LOG);
    if log.exists() {
        return Ok(log);
    }
    Err(Failure::new(
        Exit::Operator,
        format!("there is no audit log {}", log.display()),
        "name another state directory with --state or --config, or the log itself with --log",
    ))
}
