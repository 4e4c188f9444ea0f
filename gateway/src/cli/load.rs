//! Loads what the options name: the configuration, the state directory with its catalogue and audit log, the passphrase.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::{self, OpenState};
use crate::audit::{
    self, CHECKPOINTS, Checkpoint, LOG, LogFiles, LoggedState, Verified, VerifierKey, VerifyError,
};
use crate::catalogue::{Catalogue, View, audit_heads, compare_records};
use crate::clock::Clock;
use crate::config::{self, Environment, Finding, GatewayConfig};
use crate::custodian::Custodian;
use crate::custody::{Custody, PassphraseSource};
use crate::disk::{self, Lock, Real, StateDir};
use crate::printable::Count;
use crate::rotation::OfflineKeyring;

use super::args::StateOptions;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Line, eprint_line};

/// The configuration. Mistakes and warnings go to stderr.
pub(super) fn configuration(options: &StateOptions) -> Result<GatewayConfig, Failure> {
    let (checked, warnings) = read(options)?;
    warnings.iter().for_each(warn);
    Ok(checked)
}

/// The same; the caller reports the warnings.
pub(super) fn read(options: &StateOptions) -> Result<(GatewayConfig, Vec<Finding>), Failure> {
    check(options).map_err(|errors| invalid(&errors))
}

/// The same; the caller reports warnings and mistakes.
pub(super) fn check(options: &StateOptions) -> config::Checked {
    let environment = environment(options);
    let (mut checked, warnings) = match &options.config {
        Some(path) => config::check(path, &environment),
        None => config::defaults(&environment),
    }?;
    override_with(&mut checked, options);
    Ok((checked, warnings))
}

/// State directory and admin socket from a file with mistakes; `None` where those are not clear.
pub(super) fn locate_gateway(options: &StateOptions) -> Option<config::GatewayLocation> {
    let file = options.config.as_deref()?;
    config::locate_gateway(file, &environment(options), options.state.as_deref())
}

/// The state directory. Mistakes elsewhere in the file are only warned of.
pub(super) fn state(options: &StateOptions) -> Result<PathBuf, Failure> {
    match check(options) {
        Ok((checked, warnings)) => {
            warnings.iter().for_each(warn);
            Ok(checked.state)
        }
        Err(errors) => {
            let location = locate_gateway(options).ok_or_else(|| invalid(&errors))?;
            warn_of_mistakes(options, &errors);
            Ok(location.state)
        }
    }
}

/// Warns that the file has mistakes, although the command goes on.
pub(super) fn warn_of_mistakes(options: &StateOptions, errors: &config::Errors) {
    let file = options.config.as_deref().unwrap_or_else(|| Path::new(""));
    let (file, count) = (file.display(), errors.findings().len());
    let count = Count(count, "mistake");
    eprint_line(format_args!(
        "warning: {file} has {count}: no gateway would start with it and these options"
    ));
    eprint_line(format_args!(
        "  help: `keyway check {file}` names every one"
    ));
}

fn environment(options: &StateOptions) -> Environment {
    let mut environment = Environment::from_process(&Clock::system());
    if let Some(state) = &options.state {
        environment.state = Some(state.clone());
    }
    environment.passphrase = passphrase_source(options);
    environment
}

/// Reports every mistake of a configuration.
pub(super) fn invalid(errors: &config::Errors) -> Failure {
    errors.findings().iter().for_each(eprint_finding);
    Failure::silent(Exit::Config)
}

/// Prints a mistake and its remedy to stderr.
pub(super) fn eprint_finding(finding: &Finding) {
    eprint_line(finding.what());
    eprint_line(Line::from("  help: ").and(&finding.help));
}

/// The same for a warning.
pub(super) fn warn(finding: &Finding) {
    eprint_line(Line::from("warning: ").and(finding.what()));
    eprint_line(Line::from("  help: ").and(&finding.help));
}

/// Options of the command line override the file.
fn override_with(checked: &mut GatewayConfig, options: &StateOptions) {
    if let Some(state) = &options.state {
        if checked.admin.socket == checked.state.join("admin.sock") {
            checked.admin.socket = state.join("admin.sock");
        }
        checked.state.clone_from(state);
    }
    if let Some(source) = passphrase_source(options) {
        checked.custody = Custody::Passphrase(source);
    }
}

fn passphrase_source(options: &StateOptions) -> Option<PassphraseSource> {
    let file = options.passphrase_file.clone().map(PassphraseSource::File);
    file.or_else(|| options.passphrase_fd.map(PassphraseSource::Descriptor))
}

/// The catalogue, read-only; another process may hold the lock.
pub(super) fn view(checked: &GatewayConfig) -> Result<View, Failure> {
    let dir = open(&checked.state)?;
    let custodian = custodian(&dir, checked)?;
    let view = Catalogue::open_read_only(dir, custodian);
    let view = view?;
    compare_with_log(&checked.state)?;
    Ok(view)
}

/// An error if a record is older than the audit log says or the log is truncated: a gateway would not start either. Other defects
/// of the log are left to `keyway audit verify`.
fn compare_with_log(state: &Path) -> Result<(), Failure> {
    let Some(key) = app::audit_verifier_of_log(state)? else {
        return Ok(());
    };
    let log = app::audit_directory(state).join(LOG);
    let last = match verify(&log, &key, &[]) {
        Ok(verified) => verified.last,
        Err(error) if error.is_short() => return Err(error.into()),
        Err(_altered) => LoggedState::read_unverified(&Real, &log)?,
    };
    Ok(compare_records(&Real, state, &last)?)
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
    let source = LogFiles {
        files: &Real,
        log,
        checkpoints: &checkpoints,
    };
    // Read before the log, which a running gateway may extend meanwhile.
    let heads = audit_heads(&Real, state_of(log));
    audit::verify(&source, key, (elsewhere, &heads))
}

/// The state directory that contains an audit log.
pub(super) fn state_of(log: &Path) -> &Path {
    log.parent().and_then(Path::parent).unwrap_or(log)
}

/// A keyring as its records have it, while no gateway runs.
pub(super) fn offline<'a>(
    view: &'a View,
    checked: &'a GatewayConfig,
    name: &str,
) -> Result<OfflineKeyring<'a>, Failure> {
    let mut rules = checked.policy.keyrings().iter();
    let rule = rules.find(|rule| rule.name.as_str() == name);
    let mut keyrings = checked.keyrings.iter();
    let keyring = keyrings.find(|keyring| keyring.name.as_str() == name);
    let found = rule.zip(keyring);
    let (rule, keyring) = found.ok_or_else(|| Failure::silent(Exit::Failed))?;
    Ok(OfflineKeyring {
        rule,
        terms: &keyring.terms,
        record: view.record(&keyring.name),
        marks: view.marks()?,
        now: view.now(&Clock::system()),
    })
}

/// Catalogue and audit log for writing, under the lock of the state directory.
pub(super) fn opened(checked: &GatewayConfig, clock: &Clock) -> Result<OpenState, Failure> {
    let (catalogue, custodian) = unread(checked)?;
    Ok(app::with_audit(catalogue, &*custodian, clock)?)
}

/// The catalogue for writing, under the lock; its records are not read yet.
pub(super) fn unread(checked: &GatewayConfig) -> Result<(Catalogue, Arc<dyn Custodian>), Failure> {
    let lock = Lock::acquire(open(&checked.state)?).map_err(|error| lock_error(checked, error))?;
    let custodian = custodian(lock.dir(), checked)?;
    let catalogue = Catalogue::open_without_records(lock, Arc::clone(&custodian));
    Ok((catalogue?, custodian))
}

/// The lock is held although no gateway answers at the admin socket: the one that runs has another socket.
fn lock_error(checked: &GatewayConfig, error: disk::Error) -> Failure {
    let disk::Error::Locked { dir, pid } = error else {
        return error.into();
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
        if !error.is_missing() {
            return error.into();
        }
        let what = format!("there is no state directory {}", path.display());
        let help = "name another with --state or --config, or create it with `keyway init`";
        Failure::new(Exit::Operator, what, help)
    })
}

fn custodian(dir: &StateDir, checked: &GatewayConfig) -> Result<Arc<dyn Custodian>, Failure> {
    Ok(checked.custody.opener()?.open(dir)?)
}

/// The options as text, to be repeated in a suggested command.
pub(super) fn options_text(options: &StateOptions) -> String {
    let files = [
        ("config", &options.config),
        ("state", &options.state),
        ("passphrase-file", &options.passphrase_file),
    ];
    let files = files.into_iter().filter_map(|(name, path)| {
        let path = path.as_ref()?.display();
        Some(format!(" --{name} {path}"))
    });
    let fd = options.passphrase_fd.iter();
    let fd = fd.map(|fd| format!(" --passphrase-fd {fd}"));
    files.chain(fd).collect()
}
