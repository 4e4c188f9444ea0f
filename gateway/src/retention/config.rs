//! Servers and credentials of the gateway's own connection, section `[control]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::ConnectOptions;
use strum::IntoStaticStr;
use zeroize::Zeroizing;

use crate::disk::{self, AllowedOwner, read_secret_file};
use crate::fault::{Fault, faults};
use crate::tls::ServerTls;

/// Section `[control]`. Paths, never secrets: those are read when a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HOST:PORT` of each server, tried in this order; with `tls://` in front if TLS is required.
    pub servers: Vec<String>,
    /// TLS to the servers; `None`: without.
    pub tls: Option<ServerTls>,
    /// The credentials; `None`: none.
    pub login: Option<Login>,
    /// JetStream domains to ask in addition to the server's own.
    pub domains: Vec<String>,
    /// How long a question may take.
    pub deadline: Duration,
}

/// The gateway's credentials, by what the file holds, which must be readable by its owner only.
#[derive(Clone, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Login {
    /// A user and the file with its password.
    Password {
        /// The user's name.
        user: String,
        /// The file with the password.
        file: PathBuf,
    },
    /// The file with a token.
    Token(PathBuf),
    /// A `.creds` file: a JWT and a seed.
    #[strum(serialize = "JWT and seed")]
    Credentials(PathBuf),
    /// The file with an nkey's seed.
    #[strum(serialize = "nkey seed")]
    NkeySeed(PathBuf),
}

/// Why the credentials cannot be used. Never repeats their contents.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file cannot be used.
    #[error("the credentials of [control]: {0}")]
    File(#[from] disk::Error),
    /// It holds something else.
    #[error("{} holds no {wanted}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
}

impl Login {
    /// Reads the files, and adds the credentials to the options.
    pub(super) fn add_to(&self, options: ConnectOptions) -> Result<ConnectOptions, LoginError> {
        let wanted = self.into();
        let text = read(self.path(), wanted)?;
        // async-nats keeps copies, which it does not wipe; they are freed with the connection.
        let secret = || text.as_str().to_owned();
        match self {
            Self::Password { user, .. } => Ok(options.user_and_password(user.clone(), secret())),
            Self::Token(_) => Ok(options.token(secret())),
            Self::NkeySeed(_) => Ok(options.nkey(secret())),
            Self::Credentials(path) => {
                // async-nats requires a final line end.
                let text = Zeroizing::new(format!("{}\n", text.as_str()));
                let shown = options.credentials(&text);
                shown.map_err(|_may_quote_the_file| content(path, wanted))
            }
        }
    }

    /// Whether the files can be used.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn check(&self) -> Result<(), LoginError> {
        self.add_to(ConnectOptions::new()).map(drop)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Password { file, .. } => file,
            Self::Token(file) | Self::Credentials(file) | Self::NkeySeed(file) => file,
        }
    }
}

faults! { LoginError {
    Self::File(error) => error.fault_if_missing("create it with mode 0600, or name the one that holds them"),
    Self::Content { .. } => Fault::operator("name the file that does in [control]"),
} }

/// The file's text without final line ends.
fn read(path: &Path, wanted: &'static str) -> Result<Zeroizing<String>, LoginError> {
    let bytes = read_secret_file(path, AllowedOwner::UsOrRoot)?;
    let text = std::str::from_utf8(&bytes).map_err(|_quotes_it| content(path, wanted))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(content(path, wanted));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn content(path: &Path, wanted: &'static str) -> LoginError {
    LoginError::Content {
        path: path.to_owned(),
        wanted,
    }
}
