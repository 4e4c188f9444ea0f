//! The gateway that a command is for: as the configuration has it, or, where its file has mistakes, whoever answers at the socket to which
//! the file leads all the same.

use std::path::{Path, PathBuf};

use crate::admin::api;
use crate::config::{self, Checked, Errors};

use super::args::Place;
use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::output::complain;
use super::{place, runtime};

/// Where it is, and what it has.
pub(super) struct Target {
    /// Its state directory.
    pub(super) state: PathBuf,
    /// Where it takes orders.
    pub(super) socket: PathBuf,
    /// Its keyrings.
    pub(super) keyrings: Vec<String>,
    /// `None`: the file has mistakes, and the gateway runs.
    checked: Option<Checked>,
}

impl Target {
    /// Reads the configuration. Mistakes are in the way only where no gateway runs.
    pub(super) fn of(place: &Place) -> Result<Self, Failure> {
        match place::check(place) {
            Ok((checked, warnings)) => {
                for warning in &warnings {
                    place::warn(warning.finding());
                }
                let names = checked.keyrings.iter().map(|keyring| &keyring.name);
                Ok(Self {
                    state: checked.state.clone(),
                    socket: checked.admin.socket.clone(),
                    keyrings: names.map(ToString::to_string).collect(),
                    checked: Some(checked),
                })
            }
            Err(errors) => Self::running(place, &errors),
        }
    }

    /// The gateway that runs although its file has mistakes by now.
    pub(super) fn running(place: &Place, errors: &Errors) -> Result<Self, Failure> {
        let Some(config::Glimpse { state, socket }) = place::glimpse(place) else {
            drop(place::invalid(errors));
            return Err(lost("where the gateway is was not said clearly"));
        };
        let Some(keyrings) = runtime()?.block_on(keyrings(&socket))? else {
            drop(place::invalid(errors));
            let socket = socket.display();
            return Err(lost(&format!("no gateway answers at {socket} either")));
        };
        place::warn_of_mistakes(place, errors);
        let asked = socket.display();
        complain(format_args!(
            "warning: the gateway at {asked} is asked all the same"
        ));
        Ok(Self {
            state,
            socket,
            keyrings,
            checked: None,
        })
    }

    /// The configuration, for what is done where no gateway runs.
    pub(super) fn checked(&self) -> Result<&Checked, Failure> {
        self.checked.as_ref().ok_or_else(|| {
            let what = format!("the gateway at {} has just ended", self.socket.display());
            Failure::new(Exit::Unreachable, what, "correct the configuration")
        })
    }

    /// Who has these keyrings.
    pub(super) const fn whose(&self) -> &'static str {
        match self.checked {
            Some(_) => "the configuration",
            None => "the running gateway",
        }
    }
}

/// What the gateway at this socket has; `None` when there is none.
async fn keyrings(socket: &Path) -> Result<Option<Vec<String>>, Failure> {
    let Some(client) = Client::connect(socket).await? else {
        return Ok(None);
    };
    let keyrings: Vec<api::Keyring> = client.get("/v1/keyrings").await?;
    let names = keyrings.into_iter().map(|keyring| keyring.keyring);
    Ok(Some(names.collect()))
}

fn lost(what: &str) -> Failure {
    let help =
        "correct the file; or name the state directory of the gateway that runs: --state DIR";
    Failure::new(Exit::Config, what, help)
}
