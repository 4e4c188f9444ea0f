//! Loads what the options name: the configuration, the state directory with its catalogue and audit log, the passphrase.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::{self, Opened};
use crate::audit::{
    self, CHECKPOINTS, Checkpoint, LOG, LastWord, Source, Verified, VerifierKey, VerifyError,
};
use crate::catalogue::{Catalogue, View, compare, heads};
use crate::clock::Clock;
use crate::config::{self, Checked, Custody, Environment, Finding, Warning};
use crate::custody::{Custodian, Passphrase, PassphraseSource, local};
use crate::disk::{self, Lock, Real, StateDir};
use crate::printable::Count;
use crate::rotation::AtRest;

use super::args::Place;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Line, complain};

/// The configuration. Mistakes and warnings go to stderr.
pub(super) fn configuration(place: &Place) -> Result<Checked, Failure> {
    let (checked, warnings) = read(place)?;
    for warning in &warnings {
        warn(warning.finding());
    }
    Ok(checked)
}

/// The same; the caller reports the warnings.
pub(super) fn read(place: &Place) -> Result<(Checked, Vec<Warning>), Failure> {
    check(place).map_err(|errors| invalid(&errors))
}

/// The same; the caller reports warnings and mistakes.
pub(super) fn check(place: &Place) -> Result<(Checked, Vec<Warning>), config::Errors> {
    let environment = environment(place);
    let (mut checked, warnings) = match &place.config {
        Some(path) => config::check(path, &environment),
        None => config::embedded(&environment),
    }?;
    overrule(&mut checked, place);
    Ok((checked, warnings))
}

/// State directory and admin socket from a file with mistakes; `None` where those are not clear.
pub(super) fn glimpse(place: &Place) -> Option<config::Glimpse> {
    let file = place.config.as_deref()?;
    config::glimpse(file, &environment(place), place.state.as_deref())
}

/// The state directory. Mistakes elsewhere in the file are only warned of.
pub(super) fn state(place: &Place) -> Result<PathBuf, Failure> {
    match check(place) {
        Ok((checked, warnings)) => {
            warnings.iter().map(Warning::finding).for_each(warn);
            Ok(checked.state)
        }
        Err(errors) => {
            let glimpse = glimpse(place).ok_or_else(|| invalid(&errors))?;
            warn_of_mistakes(place, &errors);
            Ok(glimpse.state)
        }
    }
}

/// Warns that the file has mistakes, although the command goes on.
pub(super) fn warn_of_mistakes(place: &Place, errors: &config::Errors) {
    let file = place.config.as_deref().unwrap_or_else(|| Path::new(""));
    let (file, count) = (file.display(), errors.findings().len());
    let count = Count(count, "mistake");
    complain(format_args!(
        "warning: {file} has {count}: no gateway would start with it and these options"
    ));
    complain(format_args!(
        "  help: `keyway check {file}` names every one"
    ));
}

fn environment(place: &Place) -> Environment {
    let mut environment = Environment::of_process(&Clock::system());
    if let Some(state) = &place.state {
        environment.state = Some(state.clone());
    }
    environment.passphrase = passphrase_source(place);
    environment
}

/// Reports every mistake of a configuration.
pub(super) fn invalid(errors: &config::Errors) -> Failure {
    errors.findings().iter().for_each(complain_of);
    Failure::silent(Exit::Config)
}

/// Prints a mistake and its remedy to stderr.
pub(super) fn complain_of(finding: &Finding) {
    complain(finding.what());
    complain(Line::from("  help: ").and(&finding.help));
}

/// The same for a warning.
pub(super) fn warn(finding: &Finding) {
    complain(Line::from("warning: ").and(finding.what()));
    complain(Line::from("  help: ").and(&finding.help));
}

/// Options of the command line override the file.
fn overrule(checked: &mut Checked, place: &Place) {
    if let Some(state) = &place.state {
        if checked.admin.socket == checked.state.join("admin.sock") {
            checked.admin.socket = state.join("admin.sock");
        }
        checked.state.clone_from(state);
    }
    if let Some(source) = passphrase_source(place) {
        checked.custody = Custody::Passphrase(source);
    }
}

fn passphrase_source(place: &Place) -> Option<PassphraseSource> {
    let file = place.passphrase_file.clone().map(PassphraseSource::File);
    file.or_else(|| place.passphrase_fd.map(PassphraseSource::Descriptor))
}

/// Reads the passphrase, if the configuration names a source.
pub(super) fn passphrase(custody: &Custody) -> Result<Option<Passphrase>, Failure> {
    match custody {
        Custody::File => Ok(None),
        Custody::Passphrase(source) => source.read().map(Some).map_err(|error| Failure::of(&error)),
    }
}

/// The catalogue, read-only; another process may hold the lock.
pub(super) fn view(checked: &Checked) -> Result<View, Failure> {
    let dir = open(&checked.state)?;
    let custodian = custodian(&dir, checked)?;
    let view = Catalogue::open_read_only(dir, custodian);
    let view = view.map_err(|error| Failure::of(&error))?;
    compare_with_log(&checked.state)?;
    Ok(view)
}

/// An error if a record is older than the audit log says or the log is truncated: a gateway would not start either. Other defects
/// of the log are left to `keyway audit verify`.
fn compare_with_log(state: &Path) -> Result<(), Failure> {
    let key = app::audit_verifier_of_log(state).map_err(|error| Failure::of(&error))?;
    let Some(key) = key else {
        return Ok(());
    };
    let log = app::audit_directory(state).join(LOG);
    let last = match verify(&log, &key, &[]) {
        Ok(verified) => verified.last,
        Err(error) if error.is_short() => return Err(Failure::of(&error)),
        Err(_altered) => LastWord::unjudged(&Real, &log).map_err(|error| Failure::of(&error))?,
    };
    compare(&Real, state, &last).map_err(|error| Failure::of(&error))
}

/// Verifies an audit log against its checkpoints, those `elsewhere`, and the heads in the records of its state directory.
///
/// # Errors
/// [`VerifyError`], which names the first line that is wrong.
pub(super) fn verify(
    log: &Path,
    key: &VerifierKey,
    elsewhere: &[Checkpoint],
) -> Result<Verified, VerifyError> {
    let checkpoints = log.with_file_name(CHECKPOINTS);
    let source = Source {
        files: &Real,
        log,
        checkpoints: Some(&checkpoints),
    };
    // Read before the log, which a running gateway may extend meanwhile.
    let heads = heads(&Real, state_of(log));
    audit::verify(&source, key, (elsewhere, &heads))
}

/// The state directory that contains an audit log.
pub(super) fn state_of(log: &Path) -> &Path {
    log.parent().and_then(Path::parent).unwrap_or(log)
}

/// A keyring as its records have it, while no gateway runs.
pub(super) fn at_rest<'a>(
    view: &'a View,
    checked: &'a Checked,
    name: &str,
) -> Result<AtRest<'a>, Failure> {
    let mut rules = checked.policy.keyrings().iter();
    let rule = rules.find(|rule| rule.name.as_str() == name);
    let mut keyrings = checked.keyrings.iter();
    let keyring = keyrings.find(|keyring| keyring.name.as_str() == name);
    let (rule, keyring) = rule
        .zip(keyring)
        .ok_or_else(|| Failure::silent(Exit::Failed))?;
    Ok(AtRest {
        rule,
        terms: &keyring.terms,
        record: view.record(&keyring.name),
        marks: view.marks().map_err(|error| Failure::of(&error))?,
        now: view.now(&Clock::system()),
    })
}

/// Catalogue and audit log for writing, under the lock of the state directory.
pub(super) fn opened(checked: &Checked, clock: &Clock) -> Result<Opened, Failure> {
    let (catalogue, custodian) = unread(checked)?;
    app::with_audit(catalogue, &*custodian, clock).map_err(|error| Failure::of(&error))
}

/// The catalogue for writing, under the lock; its records are not read yet.
pub(super) fn unread(checked: &Checked) -> Result<(Catalogue, Arc<dyn Custodian>), Failure> {
    let lock = Lock::take(open(&checked.state)?).map_err(|error| held(checked, &error))?;
    let custodian = custodian(lock.dir(), checked)?;
    let catalogue = Catalogue::unread(lock, Arc::clone(&custodian));
    Ok((catalogue.map_err(|error| Failure::of(&error))?, custodian))
}

/// The lock is held although no gateway answers at the admin socket: the one that runs has another socket.
fn held(checked: &Checked, error: &disk::Error) -> Failure {
    let disk::Error::Locked { dir, pid } = error else {
        return Failure::of(error);
    };
    let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    let (dir, socket) = (dir.display(), checked.admin.socket.display());
    Failure::new(
        Exit::Operator,
        format!("a gateway runs on {dir}{process}, but not with its admin socket at {socket}"),
        "pass the `--config` that it runs with",
    )
}

/// The state directory, which must exist.
pub(super) fn open(path: &Path) -> Result<StateDir, Failure> {
    StateDir::open(path).map_err(|error| {
        if error.is_missing() {
            absent(path)
        } else {
            Failure::of(&error)
        }
    })
}

fn absent(path: &Path) -> Failure {
    Failure::new(
        Exit::Operator,
        format!("there is no state directory {}", path.display()),
        "name another with --state or --config, or create it with `keyway init`",
    )
}

fn custodian(dir: &StateDir, checked: &Checked) -> Result<Arc<dyn Custodian>, Failure> {
    let passphrase = passphrase(&checked.custody)?;
    let kek = local::open(dir, passphrase.as_ref()).map_err(|error| Failure::of(&error))?;
    Ok(Arc::new(kek))
}

/// The options as text, to be repeated in a suggested command.
pub(super) fn options(place: &Place) -> String {
    let option = |name: &str, path: &Option<PathBuf>| {
        path.as_ref()
            .map(|path| format!(" --{name} {}", path.display()))
            .unwrap_or_default()
    };
    let fd = place
        .passphrase_fd
        .map(|fd| format!(" --passphrase-fd {fd}"));
    [
        option("config", &place.config),
        option("state", &place.state),
        option("passphrase-file", &place.passphrase_file),
        fd.unwrap_or_default(),
    ]
    .concat()
}
