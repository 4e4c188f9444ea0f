//! `keyway init`: the state directory, with a key-encryption key, an empty catalogue and an audit log that begins.

use std::path::Path;
use std::sync::Arc;

use crate::app;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::custodian::Custodian;
use crate::custody::{Custody, Opener};
use crate::disk::{self, Lock, StateDir};

use super::args::Init;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Output, lines_of};
use super::{load, proxy_key};

pub(super) fn run(args: &Init, out: &mut Output) -> Result<(), Failure> {
    let checked = load::configuration(&args.options)?;
    // Before anything is created: without the passphrase it could not be used.
    let opener = checked.custody.opener()?;
    let (catalogue, custodian) = create_catalogue(&checked, &opener, args)?;
    let kek = custodian.describe();
    let audit = app::open_audit(&catalogue, &*custodian, &Clock::system())?;
    out.line(format_args!("created {}", catalogue.path().display()))?;
    out.line(format_args!(
        "  key-encryption key {} in {}",
        kek.kek, kek.place
    ))?;
    out.line(format_args!(
        "  catalogue {}, empty: the first run makes the first key versions",
        catalogue.id()
    ))?;
    if let Some(key) = audit.verifier() {
        out.line(format_args!("  audit log, verifier key {key}"))?;
    }
    out.line("")?;
    out.lines(lines_of(custody_advice(&checked.custody)))?;
    out.line(
        "Keep the verifier key elsewhere as well: `keyway audit verify --key` then needs to believe nothing on this host.",
    )?;
    if args.proxy_key {
        out.line("")?;
        let dir = StateDir::open(catalogue.path())?;
        proxy_key::show(&dir, checked.proxy_seed.as_deref(), out)?;
    }
    let options = load::options_text(&args.options);
    out.lines(["", "next"])?;
    out.line(format_args!("  keyway run{options}"))?;
    out.line(format_args!("  keyway keys{options}"))?;
    Ok(())
}

/// Creates an empty catalogue and its key-encryption key, or takes over those of an interrupted `init`.
fn create_catalogue(
    checked: &GatewayConfig,
    opener: &Opener,
    args: &Init,
) -> Result<(Catalogue, Arc<dyn Custodian>), Failure> {
    let dir = StateDir::create(&checked.state)?;
    let made = Catalogue::exists(&dir);
    let lock = Lock::acquire(dir).map_err(|error| {
        if let disk::Error::Locked { dir, pid } = &error
            && made
        {
            return in_use(dir, *pid);
        }
        // If it is locked, another process is creating it right now.
        error.into()
    })?;
    let begun = Catalogue::exists(lock.dir());
    if begun && app::has_audit_log(lock.dir()) {
        return Err(already_initialised(checked, args));
    }
    let custodian = opener.open_or_create(&lock)?;
    let catalogue = if begun {
        Catalogue::open(lock, Arc::clone(&custodian))?
    } else {
        Catalogue::create(lock, Arc::clone(&custodian))?
    };
    // Versions without a log: the log was lost, which is not an interrupted `init`.
    if catalogue.keyrings().next().is_some() {
        return Err(already_initialised(checked, args));
    }
    Ok((catalogue, custodian))
}

/// The directory is locked: it is initialised, and in use.
fn in_use(dir: &Path, pid: Option<u32>) -> Failure {
    let holder = pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    );
    Failure::new(
        Exit::Operator,
        format!(
            "{} is initialised already, and in use by {holder}",
            dir.display()
        ),
        "there is nothing left to do for it; for a second gateway, name another directory with --state",
    )
}

fn already_initialised(checked: &GatewayConfig, args: &Init) -> Failure {
    let what = format!(
        "{} holds a catalogue already, and nothing is overwritten",
        checked.state.display()
    );
    // An `init` may have been killed before its last step.
    let help = if args.proxy_key && !proxy_key::exists(&checked.state) {
        let options = load::options_text(&args.options);
        &format!(
            "`keyway proxy-key{options}` makes the key of the proxy, which is not there yet; see the verifier key with `keyway audit verify{options}`"
        )
    } else {
        "use it with `keyway run`, add a proxy's key with `keyway proxy-key`, see its verifier key with `keyway audit verify`, or name another directory with --state"
    };
    Failure::new(Exit::Operator, what, help)
}

fn custody_advice(custody: &Custody) -> &'static str {
    match custody {
        Custody::File => {
            "Keep a copy of the file `kek` apart from the rest of the directory: whoever has both can open everything, and\nwithout it nobody can open anything."
        }
        Custody::Passphrase(_) => {
            "Keep the passphrase apart from the directory: whoever has both can open everything, and without it nobody can\nopen anything."
        }
    }
}
