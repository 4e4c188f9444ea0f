//! The gateway that a command is for: that of the configuration or, where its file has mistakes, the one that answers at the
//! admin socket that the file still names.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::config::{self, Errors, GatewayConfig};
use crate::operations::VersionPath;
use crate::rotation::KeyringStatus;

use super::admin_client::AdminClient;
use super::args::{StateOptions, VersionSelector};
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::eprint_line;
use super::runtime::block_on;

/// The keyring and version that the arguments select.
pub(super) struct SelectedVersion<'t> {
    pub(super) keyring: &'t str,
    pub(super) version: Option<String>,
}

/// The gateway's location and keyrings.
pub(super) struct Target {
    /// Its state directory.
    pub(super) state: PathBuf,
    /// Its admin socket.
    pub(super) socket: PathBuf,
    /// Its keyrings.
    pub(super) keyrings: Vec<String>,
    /// `None`: the file has mistakes, but the gateway runs.
    checked: Option<GatewayConfig>,
}

impl Target {
    /// Reads the configuration. With mistakes in it, a running gateway is used all the same.
    pub(super) fn of(options: &StateOptions) -> Result<Self, Failure> {
        match load::check(options) {
            Ok((checked, warnings)) => {
                warnings.iter().for_each(load::warn);
                let names = checked.keyrings.iter().map(|keyring| &keyring.name);
                Ok(Self {
                    state: checked.state.clone(),
                    socket: checked.admin.socket.clone(),
                    keyrings: names.map(ToString::to_string).collect(),
                    checked: Some(checked),
                })
            }
            Err(errors) => Self::running(options, &errors),
        }
    }

    /// The running gateway, where its file has mistakes by now.
    pub(super) fn running(options: &StateOptions, errors: &Errors) -> Result<Self, Failure> {
        let Some(config::GatewayLocation { state, socket }) = load::locate_gateway(options) else {
            drop(load::invalid(errors));
            return Err(no_gateway("where the gateway is was not said clearly"));
        };
        let Some(keyrings) = ask::<Vec<KeyringStatus>>(&socket, "/v1/keyrings")? else {
            drop(load::invalid(errors));
            let what = format!("no gateway answers at {} either", socket.display());
            return Err(no_gateway(&what));
        };
        load::warn_of_mistakes(options, errors);
        let asked = socket.display();
        eprint_line(format_args!(
            "warning: the gateway at {asked} is asked all the same"
        ));
        let names = keyrings.into_iter().map(|status| status.keyring);
        Ok(Self {
            state,
            socket,
            keyrings: names.collect(),
            checked: None,
        })
    }

    /// The configuration, for operations without a running gateway.
    pub(super) fn checked(&self) -> Result<&GatewayConfig, Failure> {
        self.checked.as_ref().ok_or_else(|| {
            let what = format!("the gateway at {} has just ended", self.socket.display());
            Failure::new(Exit::Unreachable, what, "correct the configuration")
        })
    }

    /// What the running gateway answers at `path`; `None` when none runs.
    pub(super) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        ask(&self.socket, path)
    }

    /// The named keyring, or without a name the only one.
    pub(super) fn keyring(&self, name: Option<&str>) -> Result<&str, Failure> {
        let known = || self.keyrings.join(", ");
        match (name, self.keyrings.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => {
                let help = format!("name one of: {}", known());
                Err(Failure::new(Exit::Usage, "which keyring?", help))
            }
            (Some(name), _) => self.find(name).ok_or_else(|| {
                let source = match self.checked {
                    Some(_) => "the configuration",
                    None => "the running gateway",
                };
                let what = format!("{source} has no keyring `{name}`");
                let known = known();
                let help = format!("name one of: {known}; or the file that has it with --config");
                Failure::new(Exit::Usage, what, help)
            }),
        }
    }

    /// Resolves `[KEYRING] [VERSION]`: one word alone is a keyring if there is one of that name, else a version.
    pub(super) fn select(&self, which: &VersionSelector) -> Result<SelectedVersion<'_>, Failure> {
        let (named, version) = match (&which.first, &which.second) {
            (Some(word), None) if self.find(word).is_none() => (None, Some(word.clone())),
            (first, second) => (first.as_deref(), second.clone()),
        };
        let by_label = || {
            let label = version.as_deref()?;
            let owners = self.keyrings.iter().filter(|keyring| {
                let rest = label.strip_prefix(keyring.as_str());
                rest.is_some_and(|rest| rest.starts_with('-'))
            });
            owners.max_by_key(|keyring| keyring.len())
        };
        let keyring = match (named, by_label()) {
            (None, Some(owner)) => owner.as_str(),
            (named, _) => self.keyring(named)?,
        };
        Ok(SelectedVersion { keyring, version })
    }

    fn find(&self, name: &str) -> Option<&str> {
        let mut keyrings = self.keyrings.iter().map(String::as_str);
        keyrings.find(|keyring| *keyring == name)
    }
}

impl SelectedVersion<'_> {
    /// Keyring and version; an error where no version is given.
    pub(super) fn path(&self) -> Result<VersionPath, Failure> {
        let version = self.version.clone().ok_or_else(|| {
            let help = "name it by number or label: `keyway keys` lists them";
            Failure::new(Exit::Usage, "which version?", help)
        })?;
        Ok((self.keyring.to_owned(), version))
    }
}

fn ask<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<Option<T>, Failure> {
    block_on(async {
        match AdminClient::connect(socket).await? {
            Some(client) => client.get(path).await.map(Some),
            None => Ok(None),
        }
    })
}

fn no_gateway(what: &str) -> Failure {
    let help =
        "correct the file; or name the state directory of the gateway that runs: --state DIR";
    Failure::new(Exit::Config, what, help)
}
