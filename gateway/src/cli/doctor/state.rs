//! The state directory, custody, catalogue and audit log, as a gateway would find them; the lock is left alone.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use crate::app;
use crate::audit::{self, CHECKPOINTS, LOG, Source};
use crate::catalogue::Catalogue;
use crate::cli::place;
use crate::custody::local;
use crate::disk::{Real, StateDir};

use super::Patient;
use super::finding::Finding;

/// Less room than this, in bytes, and key events will soon fail.
const LITTLE_ROOM: u64 = 64 << 20;
/// Is made and removed again.
const PROBE: &str = ".doctor.tmp";

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    let path = &patient.checked.state;
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
    let mut findings = vec![writable(&dir), room(&dir), running(patient)];
    if patient.checked.dataplane.relay_only {
        return findings;
    }
    findings.extend(keys(patient, &dir));
    findings.extend(log(&dir));
    findings
}

fn writable(dir: &StateDir) -> Finding {
    let shown = dir.path().display();
    match try_writing(dir) {
        Ok(()) => Finding::ok("state", format!("{shown} can be written")),
        Err(error) => Finding::problem(
            "state",
            format!("{shown} cannot be written: {error}"),
            "free space, mount it for writing, or give it to the user that runs the gateway",
        ),
    }
}

fn try_writing(dir: &StateDir) -> io::Result<()> {
    let path = dir.join(PROBE);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    let written = file.write_all(b"a probe\n").and_then(|()| file.sync_all());
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

fn room(dir: &StateDir) -> Finding {
    let shown = dir.path().display();
    match rustix::fs::statvfs(dir.path()) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let size = bytesize::ByteSize(free);
            if free < LITTLE_ROOM {
                return Finding::warning(
                    "disk",
                    format!("{shown} has {size} left"),
                    "free space: key events need some for records and the audit log",
                );
            }
            Finding::ok("disk", format!("{shown} has {size} left"))
        }
        Err(error) => Finding::warning(
            "disk",
            format!("how much room {shown} has is not known: {error}"),
            "look with `df`",
        ),
    }
}

fn running(patient: &Patient) -> Finding {
    let socket = &patient.checked.admin.socket;
    match UnixStream::connect(socket) {
        Ok(_stream) => Finding::ok("gateway", "a gateway runs on this state directory"),
        Err(_nobody) => Finding::ok("gateway", "no gateway runs on this state directory"),
    }
}

/// The key-encryption key opens, and every record that it vouches for is as it was written.
fn keys(patient: &Patient, dir: &StateDir) -> Vec<Finding> {
    if !local::exists(dir) && !Catalogue::exists(dir) {
        return vec![Finding::warning(
            "custody",
            "there is no key-encryption key yet",
            "`keyway init` makes it, or the first `keyway run`",
        )];
    }
    let passphrase = match place::passphrase(&patient.checked.custody) {
        Ok(passphrase) => passphrase,
        Err(failure) => {
            return vec![Finding::problem(
                "custody",
                failure.what(),
                "see docs/keys.md",
            )];
        }
    };
    let kek = match local::open(dir, passphrase.as_ref()) {
        Ok(kek) => kek,
        Err(error) => return vec![Finding::of_error("custody", &error)],
    };
    let mut findings = vec![Finding::ok("custody", "the key-encryption key opens")];
    findings.push(
        match Catalogue::open_read_only(dir.clone(), std::sync::Arc::new(kek)) {
            Ok(view) => {
                let versions = view.versions().count();
                Finding::ok(
                    "catalogue",
                    format!("{versions} key versions, as they were signed"),
                )
            }
            Err(error) => Finding::of_error("catalogue", &error),
        },
    );
    findings
}

/// The audit log, by its own key: every line and checkpoint.
fn log(dir: &StateDir) -> Option<Finding> {
    let folder = app::audit_directory(dir.path());
    let (log, checkpoints) = (folder.join(LOG), folder.join(CHECKPOINTS));
    if !log.exists() {
        return None;
    }
    let key = match app::audit_verifier(dir.path()) {
        Ok(key) => key,
        Err(error) => return Some(Finding::of_error("audit", &error)),
    };
    let source = Source {
        files: &Real,
        log: &log,
        checkpoints: Some(&checkpoints),
    };
    Some(match audit::verify(&source, &key, &[]) {
        Ok(_verified) => Finding::ok("audit", "every line and checkpoint of the audit log holds"),
        Err(error) => Finding::of_error("audit", &error),
    })
}
