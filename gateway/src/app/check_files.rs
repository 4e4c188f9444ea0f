//! Checks of the files that a configuration names, without changing anything.

use std::path::Path;
use std::sync::Arc;

use crate::admin;
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::custodian::Custodian;
use crate::custody::{self, Custody, PassphraseSource};
use crate::envelope;
use crate::fault::Faulty;
use crate::proxy::Key;
use crate::retention::Config as Control;
use crate::tls;

use super::certificates::check_certificates;
use super::error::StartError;
use super::state::{self, OpenError};

/// An error that keeps a gateway from starting, with the configuration key that it is about.
pub struct FileError {
    /// The key, as `section.key`; empty when none is meant.
    pub key: &'static str,
    /// What is wrong.
    pub error: StartError,
}

/// A warning about a file.
pub struct FileWarning {
    /// The key that it is about.
    pub key: &'static str,
    /// What is questionable.
    pub message: String,
    /// The remedy.
    pub help: String,
}

/// All errors and warnings. A passphrase on a descriptor is not read, because it can be read only once. Blocks.
#[must_use]
pub fn check_files(checked: &GatewayConfig, clock: &Clock) -> (Vec<FileError>, Vec<FileWarning>) {
    let (certificates, doubts) = check_certificates(&checked.dataplane, clock);
    let mut wrong: Vec<FileError> = certificates.into_iter().map(of_tls).collect();
    wrong.extend(checked.proxy_seed.as_deref().and_then(proxy_key));
    wrong.extend(administration(checked).map(|(key, error)| FileError {
        key,
        error: error.into(),
    }));
    wrong.extend(passphrase(&checked.custody));
    let doubts = doubts.into_iter().map(|doubt| FileWarning {
        key: <&str>::from(doubt.role),
        message: doubt.message,
        help: doubt.help.to_owned(),
    });
    let login = checked.control.as_ref().and_then(login);
    (wrong, doubts.chain(login).collect())
}

/// Checks ciphers, files, KEK and catalogue while another gateway runs on the same state directory. Yields the open KEK: a
/// passphrase on a descriptor can be read only once.
///
/// # Errors
/// [`StartError`]: a gateway with this configuration would not start.
pub fn check_without_lock(
    checked: &GatewayConfig,
) -> Result<Option<Arc<dyn Custodian>>, StartError> {
    envelope::self_test()?;
    let (wrong, _doubts) = check_files(checked, &Clock::system());
    if let Some(first) = wrong.into_iter().next() {
        return Err(first.error);
    }
    if checked.dataplane.relay_only {
        return Ok(None);
    }
    Ok(state::check_without_lock(&checked.state, &checked.custody)?)
}

/// Errors of `[admin]`'s token files and socket path, each with its configuration key.
pub(super) fn administration(
    checked: &GatewayConfig,
) -> impl Iterator<Item = (&'static str, admin::StartError)> {
    let wrong = admin::examine(&checked.admin, &checked.state).into_iter();
    wrong.map(|error| {
        let key = if matches!(error, admin::StartError::Token(_)) {
            "admin.tokens"
        } else {
            "admin.socket"
        };
        (key, error)
    })
}

fn of_tls(error: tls::Error) -> FileError {
    FileError {
        key: error.role().map_or("", <&str>::from),
        error: error.into(),
    }
}

fn proxy_key(file: &Path) -> Option<FileError> {
    let error = Key::read(file).err()?.into();
    let key = "proxy.nkey-seed-file";
    Some(FileError { key, error })
}

fn passphrase(custody: &Custody) -> Option<FileError> {
    let Custody::Passphrase(source @ PassphraseSource::File(_)) = custody else {
        return None;
    };
    let error = OpenError::from(custody::Error::from(source.read().err()?)).into();
    let key = "custody.passphrase-file";
    Some(FileError { key, error })
}

/// A warning only: without this login a gateway starts, but cannot ask JetStream, and destroys no key by itself.
fn login(control: &Control) -> Option<FileWarning> {
    let error = control.login.as_ref()?.check().err()?;
    Some(FileWarning {
        key: "control",
        message: error.to_string(),
        help: error.fault().help().to_owned(),
    })
}
