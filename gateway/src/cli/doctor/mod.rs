//! `keyway doctor`: checks a deployment from the outside. Each check reports findings with a remedy; none takes the lock of the
//! state directory, and none writes more than a test file that it removes again.
//!
//! | you look for | it is in |
//! |---|---|
//! | the result of a check | `finding` |
//! | a minimal NATS client that connects as an agent, or as a gateway | `visitor` |
//! | its connection: TCP, TLS, PROXY header | `line` |
//! | its credentials | `login` |
//! | servers: reachable, version, `max_payload`, clock; who may connect | `servers`, `passage` |
//! | subjects that the bus maps or transforms | `renamed`, `streams` |
//! | the state directory, custody, catalogue, audit log | `state` |
//! | the gateway's own addresses | `listeners` |

mod finding;
mod line;
mod listeners;
mod login;
mod passage;
mod renamed;
mod servers;
mod state;
mod streams;
mod visitor;

use serde::Serialize;

use crate::clock::Clock;
use crate::config::Checked;
use crate::printable::Count;
use crate::proxy::Key;

use super::args::Doctor;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Line, Output, is_fancy};
use super::place;
use super::terminal::Paint;

use finding::{Finding, Severity};
use line::Dialers;
use login::Login;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether there is no problem.
    ok: bool,
    findings: &'a [Finding],
}

/// The deployment that is checked.
struct Patient {
    checked: Checked,
    clock: Clock,
    /// The key of a trusted proxy, where there is one that can be used.
    key: Option<Key>,
    /// TLS with servers, where it is configured and its files can be used.
    dialers: Dialers,
    /// An agent's credentials.
    agent: Option<Login>,
    /// Whether messages may be published.
    probe: bool,
}

pub(super) fn run(args: &Doctor, out: &mut Output) -> Result<(), Failure> {
    let (checked, warnings) = place::read(&args.place)?;
    let agent = Login::given(&args.agent)?;
    let mut findings: Vec<Finding> = warnings.iter().map(Finding::of_warning).collect();
    let clock = Clock::system();
    let key = key(&checked, &mut findings);
    let dialers = dialers(&checked, &clock, &mut findings);
    let patient = Patient {
        checked,
        clock,
        key,
        dialers,
        agent,
        probe: args.probe,
    };
    findings.extend(servers::check(&patient));
    findings.extend(renamed::check(&patient));
    findings.extend(state::check(&patient));
    findings.extend(listeners::check(&patient));
    let ok = !findings.iter().any(|f| f.severity == Severity::Problem);
    if args.json {
        out.json(&Report {
            ok,
            findings: &findings,
        })?;
    } else {
        print(&findings, out)?;
    }
    if ok {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Operator))
    }
}

/// The key that the configuration names, if it can be used.
fn key(checked: &Checked, findings: &mut Vec<Finding>) -> Option<Key> {
    match Key::read(checked.proxy_seed.as_ref()?) {
        Ok(key) => Some(key),
        Err(error) => {
            findings.push(Finding::of_error("proxy-key", &error));
            None
        }
    }
}

/// TLS as `[server-tls]` has it, if its files can be used.
fn dialers(checked: &Checked, clock: &Clock, findings: &mut Vec<Finding>) -> Dialers {
    let settings = checked.dataplane.server_tls.as_ref();
    Dialers::load(settings, clock).unwrap_or_else(|error| {
        findings.push(Finding::of_error("server-tls", &error));
        Dialers::default()
    })
}

fn print(findings: &[Finding], out: &mut Output) -> Result<(), Failure> {
    let paint = Paint { colour: is_fancy() };
    for finding in findings {
        let word = format!("{:<8}", finding.severity.word());
        let word = match finding.severity {
            Severity::Ok => paint.good(&word),
            Severity::Warning => paint.doubtful(&word),
            Severity::Problem => paint.bad(&word),
        };
        out.line(word.and(format_args!(" {}: {}", finding.check, finding.what)))?;
        let remedy = finding.remedy.iter();
        for (index, line) in remedy.flat_map(|remedy| remedy.split('\n').enumerate()) {
            let before = if index == 0 {
                Line::from("         ").and(paint.quiet("help:")).and(" ")
            } else {
                Line::from("           ")
            };
            out.line(before.and(line))?;
        }
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    out.line(format_args!(
        "{}, {}",
        Count(problems, "problem"),
        Count(warnings, "warning")
    ))?;
    Ok(())
}
