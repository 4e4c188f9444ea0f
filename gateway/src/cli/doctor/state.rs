//! The state directory, custody, catalogue and audit log, as a gateway would find them; without taking the lock.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use jiff::Timestamp;

use crate::app;
use crate::audit::LOG;
use crate::catalogue::{Catalogue, Version, compare_records};
use crate::cli::load;
use crate::custody::{self, Opener};
use crate::disk::{self, Action, Files as _, Real, StateDir};
use crate::printable::Count;

use super::deployment::Deployment;
use super::finding::Finding;
use super::servers::MAX_CLOCK_SKEW;

/// With less free space than this, in bytes, key events will soon fail.
const LOW_DISK_SPACE: u64 = 64 << 20;
/// A test file, removed again.
const PROBE: &str = ".doctor.tmp";

pub(super) fn check(deployment: &Deployment) -> Vec<Finding> {
    let path = &deployment.checked.state;
    let dir = match StateDir::open(path) {
        Ok(dir) => dir,
        Err(error) if error.is_missing() => {
            return vec![Finding::problem(
                "state",
                format!("there is no state directory {}", path.display()),
                "create it with `keyway init`, or name another with --state",
            )];
        }
        Err(error) => return vec![Finding::of_error("state", &error)],
    };
    let mut findings = vec![writable(&dir), disk_space(&dir), running(deployment)];
    if deployment.checked.dataplane.relay_only {
        return findings;
    }
    findings.extend(keys(deployment, &dir));
    findings.extend(log(deployment, &dir));
    findings
}

fn writable(dir: &StateDir) -> Finding {
    let shown = dir.path().display();
    match try_writing(dir) {
        Ok(()) => Finding::ok("state", format!("{shown} can be written")),
        Err(error) => Finding::of_error("state", &error),
    }
}

fn try_writing(dir: &StateDir) -> Result<(), disk::Error> {
    let path = dir.join(PROBE);
    let failed = |action, error| disk::Error::from_io(&path, action, error);
    let written = Real.write(&path, b"a probe\n");
    written.map_err(|error| failed(Action::Write, error))?;
    std::fs::remove_file(&path).map_err(|error| failed(Action::Remove, error))
}

fn disk_space(dir: &StateDir) -> Finding {
    let shown = dir.path().display();
    match rustix::fs::statvfs(dir.path()) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let what = format!("{shown} has {} left", bytesize::ByteSize(free));
            if free >= LOW_DISK_SPACE {
                return Finding::ok("disk", what);
            }
            let remedy = "free space: key events need some for records and the audit log";
            Finding::warning("disk", what, remedy)
        }
        Err(error) => Finding::warning(
            "disk",
            format!("how much room {shown} has is not known: {error}"),
            "look with `df`",
        ),
    }
}

fn running(deployment: &Deployment) -> Finding {
    let socket = &deployment.checked.admin.socket;
    match UnixStream::connect(socket) {
        Ok(_stream) => Finding::ok("gateway", "a gateway runs on this state directory"),
        Err(_nobody) if app::is_gateway_running(&deployment.checked.state) => Finding::warning(
            "gateway",
            format!(
                "a gateway runs on this state directory, but not with its admin socket at {}",
                socket.display()
            ),
            "name the `--config` that it runs with, or restart it with this one",
        ),
        Err(_nobody) => Finding::ok("gateway", "no gateway runs on this state directory"),
    }
}

/// Whether the key-encryption key opens, and every record verifies.
fn keys(deployment: &Deployment, dir: &StateDir) -> Vec<Finding> {
    if !Opener::is_begun(dir) && !Catalogue::exists(dir) {
        return vec![Finding::warning(
            "custody",
            "there is no key-encryption key yet",
            "`keyway init` makes it, or the first `keyway run`",
        )];
    }
    let opener = deployment.checked.custody.opener();
    let custodian = match opener.and_then(|opener| opener.open(dir)) {
        Ok(custodian) => custodian,
        Err(error @ custody::Error::Passphrase(_)) => {
            let what = error.to_string();
            return vec![Finding::problem("custody", &what, "see docs/keys.md")];
        }
        Err(error) => return vec![Finding::of_error("custody", &error)],
    };
    let mut findings = vec![Finding::ok("custody", "the key-encryption key opens")];
    match Catalogue::open_read_only(dir.clone(), custodian) {
        Ok(view) => {
            let count = view.versions().count();
            let what = format!("{}, as signed", Count(count, "key version"));
            findings.push(Finding::ok("catalogue", what));
            let times = view
                .versions()
                .map(|(_, version)| (&version.label, latest(version)));
            let latest = times.max_by_key(|(_, time)| *time);
            findings.extend(latest.and_then(|(label, time)| {
                in_the_future(deployment, &format!("the record of {label}"), time)
            }));
        }
        Err(error) => findings.push(Finding::of_error("catalogue", &error)),
    }
    findings
}

/// The latest time in a version's record.
fn latest(version: &Version) -> Timestamp {
    let more = [version.activated, version.deactivated];
    let more = more.into_iter().flatten().chain([version.created]);
    more.fold(version.since, Timestamp::max)
}

/// A warning about a time in the future: the clock was ahead then, or is behind now.
fn in_the_future(deployment: &Deployment, whose: &str, time: Timestamp) -> Option<Finding> {
    let now = Timestamp::try_from(deployment.clock.wall()).ok()?;
    let ahead = Duration::try_from(time.duration_since(now)).ok()?;
    if ahead <= MAX_CLOCK_SKEW {
        return None;
    }
    let shown = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
    Some(Finding::warning(
        "clock",
        format!(
            "{whose} speaks of {time}, which is {shown} from now: this clock is behind, or was ahead then"
        ),
        "synchronise the clock (NTP); an active key version that began in the future is replaced by itself, and nothing ends earlier or later for it",
    ))
}

/// Verifies every line and checkpoint of the audit log with its own key.
fn log(deployment: &Deployment, dir: &StateDir) -> Vec<Finding> {
    let key = match app::audit_verifier_of_log(dir.path()) {
        Ok(Some(key)) => key,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Finding::of_error("audit", &error)],
    };
    let log = app::audit_directory(dir.path()).join(LOG);
    match load::verify(&log, &key, &[]) {
        Ok(verified) => {
            let holds = "every line and checkpoint of the audit log holds";
            let records = match compare_records(&Real, dir.path(), &verified.last) {
                Ok(()) => Finding::ok("records", "as the audit log says, or newer"),
                Err(error) => Finding::of_error("records", &error),
            };
            let mut findings = vec![Finding::ok("audit", holds), records];
            let latest = verified.latest;
            findings
                .extend(latest.and_then(|time| in_the_future(deployment, "the audit log", time)));
            findings
        }
        Err(error) => vec![Finding::of_error("audit", &error)],
    }
}
