//! `keyway doctor`: checks a deployment from the outside. Each check reports findings with a remedy; none takes the lock of the
//! state directory, and none writes more than a test file that it removes again.
//!
//! | you look for | it is in |
//! |---|---|
//! | what is checked | `deployment` |
//! | the result of a check | `finding` |
//! | a minimal NATS client that connects as an agent, or as a gateway | `probe_client` |
//! | its connection: TCP, TLS, PROXY header | `connection` |
//! | its credentials | `login` |
//! | servers: reachable, version, `max_payload`, clock; who may connect | `servers`, `access` |
//! | subjects that the bus maps or transforms | `renamed`, `streams` |
//! | the state directory, custody, catalogue, audit log | `state` |
//! | the gateway's own addresses | `listeners` |

mod access;
mod connection;
mod deployment;
mod finding;
mod listeners;
mod login;
mod patterns;
mod probe_client;
mod renamed;
mod servers;
mod state;
mod streams;

use serde::Serialize;

use crate::printable::Count;

use super::args::Doctor;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::{Line, Output};
use super::terminal::Paint;

use deployment::Deployment;
use finding::{Finding, Severity};
use login::Login;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether there is no problem.
    ok: bool,
    findings: &'a [Finding],
}

pub(super) fn run(args: &Doctor, out: &mut Output) -> Result<(), Failure> {
    let (checked, warnings) = load::read(&args.options)?;
    let agent = Login::given(&args.agent)?;
    let mut findings: Vec<Finding> = warnings.iter().map(Finding::of_warning).collect();
    let deployment = Deployment::new(checked, (agent, args.probe), &mut findings);
    findings.extend(servers::check(&deployment));
    findings.extend(renamed::check(&deployment));
    findings.extend(state::check(&deployment));
    findings.extend(listeners::check(&deployment));
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

fn print(findings: &[Finding], out: &mut Output) -> Result<(), Failure> {
    let paint = Paint::of_process();
    for finding in findings {
        let word = format!("{:<8}", finding.severity);
        let word = match finding.severity {
            Severity::Ok => paint.good(&word),
            Severity::Warning => paint.warning(&word),
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
