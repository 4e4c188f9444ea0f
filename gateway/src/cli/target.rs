//! The gateway that a command is for: that of the configuration or, where its file has mistakes, the one that answers at the
//! admin socket that the file still names.

use std::path::{Path, PathBuf};

use crate::admin::api;
use crate::config::{self, Errors, GatewayConfig};

use super::admin_client::AdminClient;
use super::args::StateOptions;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::eprint_line;
use super::runtime::block_on;

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
                for warning in &warnings {
                    load::warn(warning.finding());
                }
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
        let Some(keyrings) = block_on(keyrings(&socket))? else {
            drop(load::invalid(errors));
            let socket = socket.display();
            return Err(no_gateway(&format!(
                "no gateway answers at {socket} either"
            )));
        };
        load::warn_of_mistakes(options, errors);
        let asked = socket.display();
        eprint_line(format_args!(
            "warning: the gateway at {asked} is asked all the same"
        ));
        Ok(Self {
            state,
            socket,
            keyrings,
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

    /// Where the keyrings are from, for messages.
    pub(super) const fn keyrings_source(&self) -> &'static str {
        match self.checked {
            Some(_) => "the configuration",
            None => "the running gateway",
        }
    }
}

/// The keyrings of the gateway at this socket; `None` when none runs.
async fn keyrings(socket: &Path) -> Result<Option<Vec<String>>, Failure> {
    let Some(client) = AdminClient::connect(socket).await? else {
        return Ok(None);
    };
    let keyrings: Vec<api::Keyring> = client.get("/v1/keyrings").await?;
    let names = keyrings.into_iter().map(|keyring| keyring.keyring);
    Ok(Some(names.collect()))
}

fn no_gateway(what: &str) -> Failure {
    let help =
        "correct the file; or name the state directory of the gateway that runs: --state DIR";
    Failure::new(Exit::Config, what, help)
}
