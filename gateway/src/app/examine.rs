//! The files that a configuration names, judged while nothing is touched yet.

use std::path::Path;

use crate::clock::Clock;
use crate::config::{Checked, Custody};
use crate::control::Config as Control;
use crate::custody::PassphraseSource;
use crate::proxy::Key;
use crate::tls::{self, Role};

use super::certificates::check_certificates;
use super::state::OpenError;
use super::{StartError, admin};

/// What keeps a gateway from starting, and the key of the configuration that it is about.
pub struct Wrong {
    /// The key, as `section.key`; empty when none is meant.
    pub key: &'static str,
    /// What is wrong.
    pub error: StartError,
}

/// What deserves a second look.
pub struct Doubt {
    /// The key that it is about.
    pub key: &'static str,
    /// What is to be seen.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// Everything that is wrong with them. A passphrase that comes through a descriptor is left there. Waits for the disk.
#[must_use]
pub fn examine(checked: &Checked, clock: &Clock) -> (Vec<Wrong>, Vec<Doubt>) {
    let (certificates, doubts) = check_certificates(&checked.dataplane, clock);
    let mut wrong: Vec<Wrong> = certificates.into_iter().map(of_tls).collect();
    wrong.extend(checked.proxy_seed.as_deref().and_then(proxy_key));
    wrong.extend(administration(checked).map(|(key, error)| Wrong {
        key,
        error: error.into(),
    }));
    wrong.extend(passphrase(&checked.custody));
    let doubts = doubts.into_iter().map(|doubt| Doubt {
        key: doubt.role.word(),
        message: doubt.message,
        help: doubt.help.to_owned(),
    });
    let login = checked.control.as_ref().and_then(login);
    (wrong, doubts.chain(login).collect())
}

/// What is wrong with the tokens and the place of the socket, each with its key.
pub(super) fn administration(
    checked: &Checked,
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

fn of_tls(error: tls::Error) -> Wrong {
    Wrong {
        key: error.role().map_or("", Role::word),
        error: error.into(),
    }
}

fn proxy_key(file: &Path) -> Option<Wrong> {
    let error = Key::read(file).err()?.into();
    let key = "proxy.nkey-seed-file";
    Some(Wrong { key, error })
}

fn passphrase(custody: &Custody) -> Option<Wrong> {
    let Custody::Passphrase(source @ PassphraseSource::File(_)) = custody else {
        return None;
    };
    let error = OpenError::from(source.read().err()?).into();
    let key = "custody.passphrase-file";
    Some(Wrong { key, error })
}

/// A gateway starts without it, asks nobody, and destroys nothing by itself.
fn login(control: &Control) -> Option<Doubt> {
    let error = control.login.as_ref()?.check().err()?.to_string();
    let (message, help) = error.split_once("; ").unwrap_or((&error, ""));
    Some(Doubt {
        key: "control",
        message: message.to_owned(),
        help: help.trim_start_matches("remedy: ").to_owned(),
    })
}
