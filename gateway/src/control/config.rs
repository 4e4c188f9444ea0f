//! Where the gateway's own connection goes, and as whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::ConnectOptions;
use zeroize::Zeroizing;

use crate::disk::{self, Guarded, read_guarded};
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::tls::ToServer;

/// Section `[control]`. Paths, never secrets: these are read when a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HOST:PORT` of each server, tried in this order; behind `tls://` where TLS must be spoken.
    pub servers: Vec<String>,
    /// How TLS is spoken; `None`: with none of them.
    pub tls: Option<ToServer>,
    /// As whom; `None`: as a client without credentials.
    pub login: Option<Login>,
    /// JetStream domains to ask beside the one that the server answers for.
    pub domains: Vec<String>,
    /// Subjects under which this account imports another account's JetStream API, without a final dot.
    pub api_prefixes: Vec<String>,
    /// How long a question may take in all.
    pub deadline: Duration,
}

/// What the gateway shows to the server. Every file is one that only its owner may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A user and the file with its password.
    Password {
        /// The user's name.
        user: String,
        /// Where the password is.
        file: PathBuf,
    },
    /// The file with a token.
    Token(PathBuf),
    /// A `.creds` file: a JWT and a seed.
    Credentials(PathBuf),
    /// The file with an nkey's seed.
    NkeySeed(PathBuf),
}

/// Why the credentials cannot be used. Never repeats their contents.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file cannot be used.
    #[error("the credentials of [control]: {0}{remedy}", remedy = remedy(.0))]
    File(#[from] disk::Error),
    /// It holds something else.
    #[error("{} holds no {wanted}; name the file that does in [control]", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
}

impl Login {
    /// Adds what the files say now.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(super) fn show(&self, options: ConnectOptions) -> Result<ConnectOptions, LoginError> {
        let text = read(self.path(), self.wanted())?;
        // The client keeps copies of its own, which it does not wipe; they go with the connection.
        let secret = || text.as_str().to_owned();
        match self {
            Self::Password { user, .. } => Ok(options.user_and_password(user.clone(), secret())),
            Self::Token(_) => Ok(options.token(secret())),
            Self::NkeySeed(_) => Ok(options.nkey(secret())),
            Self::Credentials(path) => {
                // The client wants the last line to be ended.
                let text = Zeroizing::new(format!("{}\n", text.as_str()));
                let shown = options.credentials(&text);
                shown.map_err(|_may_quote_the_file| content(path, self.wanted()))
            }
        }
    }

    /// Whether the files can be used.
    ///
    /// # Errors
    /// [`LoginError`].
    pub fn check(&self) -> Result<(), LoginError> {
        self.show(ConnectOptions::new()).map(drop)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Password { file, .. } => file,
            Self::Token(file) | Self::Credentials(file) | Self::NkeySeed(file) => file,
        }
    }

    const fn wanted(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Token(_) => "token",
            Self::Credentials(_) => "JWT and seed",
            Self::NkeySeed(_) => "nkey seed",
        }
    }
}

impl Faulty for LoginError {
    fn fault(&self) -> Fault {
        match self {
            Self::File(error) => error.fault(),
            Self::Content { .. } => Fault {
                who: Who::Operator,
                retry: Retry::Never,
            },
        }
    }
}

/// The file's text; line ends at its end do not count.
fn read(path: &Path, wanted: &'static str) -> Result<Zeroizing<String>, LoginError> {
    let bytes = read_guarded(path, Guarded::Handed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_quotes_it| content(path, wanted))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(content(path, wanted));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// What the disk's words leave out.
const fn remedy(error: &disk::Error) -> &'static str {
    if error.is_missing() {
        "; create it with mode 0600, or name the one that holds them"
    } else {
        ""
    }
}

fn content(path: &Path, wanted: &'static str) -> LoginError {
    LoginError::Content {
        path: path.to_owned(),
        wanted,
    }
}
