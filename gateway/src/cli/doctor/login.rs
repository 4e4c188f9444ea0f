//! The credentials with which the doctor connects.

use std::path::Path;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::cli::args::AgentLogin;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::disk::{AllowedOwner, read_secret_file};
use crate::proxy::Key;
use crate::retention;

/// A client's credentials in CONNECT.
pub(super) enum Login {
    Password {
        user: String,
        password: Zeroizing<String>,
    },
    Token(Zeroizing<String>),
    /// A user JWT, and the nkey that it names.
    Jwt {
        jwt: Zeroizing<String>,
        key: Key,
    },
    Nkey(Key),
}

impl Login {
    /// From the options, if any names credentials.
    pub(super) fn given(args: &AgentLogin) -> Result<Option<Self>, Failure> {
        if let (Some(user), Some(file)) = (&args.user, &args.password_file) {
            let (user, password) = (user.clone(), text(file)?);
            return Ok(Some(Self::Password { user, password }));
        }
        if let Some(file) = &args.token_file {
            return Ok(Some(Self::Token(text(file)?)));
        }
        if let Some(file) = &args.nkey_seed_file {
            let key = Key::read(file)?;
            return Ok(Some(Self::Nkey(key)));
        }
        args.creds.as_deref().map(credentials).transpose()
    }

    /// From `[control]`; `None` where the file cannot be used.
    pub(super) fn of_gateway(login: &retention::Login) -> Option<Self> {
        match login {
            retention::Login::Password { user, file } => {
                let (user, password) = (user.clone(), text(file).ok()?);
                Some(Self::Password { user, password })
            }
            retention::Login::Token(file) => text(file).ok().map(Self::Token),
            retention::Login::Credentials(file) => credentials(file).ok(),
            retention::Login::NkeySeed(file) => Key::read(file).ok().map(Self::Nkey),
        }
    }

    /// Adds the fields to a CONNECT, with the signature of the nonce.
    pub(super) fn show(&self, nonce: &[u8], connect: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Value| drop(connect.insert(name.to_owned(), value));
        match self {
            Self::Password { user, password } => {
                set("user", json!(user));
                set("pass", json!(password.as_str()));
            }
            Self::Token(token) => set("auth_token", json!(token.as_str())),
            Self::Jwt { jwt, key } => {
                set("jwt", json!(jwt.as_str()));
                set("sig", json!(key.sign(nonce)));
            }
            Self::Nkey(key) => {
                set("nkey", json!(key.public()));
                set("sig", json!(key.sign(nonce)));
            }
        }
    }
}

/// Reads a `.creds` file: a JWT block and a seed block.
fn credentials(file: &Path) -> Result<Login, Failure> {
    let text = text(file)?;
    let mut blocks = text.lines().scan(false, |inside, line| {
        let is_mark = line.trim_start().starts_with("---");
        let first = *inside && !is_mark;
        *inside = is_mark && line.contains("BEGIN");
        Some(first.then_some(line.trim()))
    });
    let mut block = || blocks.by_ref().flatten().find(|line| !line.is_empty());
    let (jwt, seed) = (block(), block());
    let key = seed.and_then(|seed| Key::parse(seed.as_bytes()).ok());
    match (jwt, key) {
        (Some(jwt), Some(key)) => Ok(Login::Jwt {
            jwt: Zeroizing::new(jwt.to_owned()),
            key,
        }),
        (None, _) | (_, None) => Err(Failure::new(
            Exit::Operator,
            format!("{} holds no JWT and seed", file.display()),
            "name a `.creds` file",
        )),
    }
}

fn text(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = read_secret_file(file, AllowedOwner::UsOrRoot)?;
    let text = std::str::from_utf8(&bytes).map_err(|_never_quoted| {
        let what = format!("{} is not text", file.display());
        Failure::new(
            Exit::Operator,
            what,
            "name the file that holds the credentials",
        )
    })?;
    Ok(Zeroizing::new(text.trim_end().to_owned()))
}
