//! `state`, `[admin]`, `[log]` and `[custody]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::admin::Token;
use crate::config::environment::Environment;
use crate::config::finding::ValueError;
use crate::config::gateway_config::{Admin, Log};
use crate::config::section::{Section, read_all};
use crate::config::value::{self, MAX_SOCKET_PATH, Value};
use crate::custody::{Custody, PassphraseSource};

/// Reads `state`.
pub(super) fn state(root: &Section<'_>, environment: &Environment) -> Option<PathBuf> {
    let written = root.optional("state", value::path)?;
    written.or_else(|| environment.state.clone()).or_else(|| {
        root.refuse(
            "state",
            "no state directory: neither `state` nor $KEYWAY_STATE_DIR, $XDG_STATE_HOME or $HOME is set",
            "for example: state = \"/var/lib/keyway\"",
        )
    })
}

/// Reads `[admin]`.
pub(super) fn admin(section: &Section<'_>, state: Option<&Path>) -> Option<Admin> {
    let listen = section.one("listen", |v| match v.toml.as_str() {
        Some("off") => Ok(None),
        _ => value::address(v).map(Some),
    });
    let tokens = tokens(section);
    let socket = section.optional("socket", value::path)?;
    let socket = socket.or_else(|| Some(state?.join("admin.sock")))?;
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        let message = format!(
            "the path has {} bytes, at most {MAX_SOCKET_PATH} fit a socket's address",
            socket.as_os_str().len()
        );
        section.error(
            "socket",
            message,
            "for example: socket = \"/run/keyway/admin.sock\"",
        );
    }
    let (listen, tokens) = (listen?, tokens?);
    check_tokens(section, listen, &tokens);
    Some(Admin {
        listen,
        socket,
        tokens,
    })
}

/// Reads `admin.tokens`; `None` when one of them has an error.
fn tokens(section: &Section<'_>) -> Option<Vec<Token>> {
    let written = section.sections("tokens");
    let mut tokens: Vec<Token> = Vec::new();
    let count = written.len();
    for token in written {
        let name = token.one("name", token_name);
        let file = token.one("file", value::path);
        let (Some(name), Some(file)) = (name, file) else {
            continue;
        };
        if tokens.iter().any(|earlier| earlier.name == name) {
            let message = format!("the name `{name}` stands twice");
            let help = "give each token a name of its own: the audit log tells them apart by it";
            token.error("name", message, help);
            continue;
        }
        tokens.push(Token { name, file });
    }
    (tokens.len() == count).then_some(tokens)
}

/// Tokens need a TCP listener, on loopback because there is no TLS.
fn check_tokens(section: &Section<'_>, listen: Option<SocketAddr>, tokens: &[Token]) {
    if tokens.is_empty() {
        return;
    }
    match listen {
        None => section.error(
            "tokens",
            "tokens open TCP, and `listen` is \"off\"",
            "remove the tokens, or give `listen` an address",
        ),
        Some(addr) if !addr.ip().is_loopback() => section.warn(
            "tokens",
            format!("tokens can be read on the way to {addr}: there is no TLS"),
            "listen on a loopback address, behind a proxy with TLS",
        ),
        Some(_loopback) => {}
    }
}

/// A token's name, which logs show as `token:NAME`.
fn token_name(value: Value<'_>) -> Result<String, ValueError> {
    let written = value::text(value)?;
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if written.is_empty() || written.len() > 63 || !written.chars().all(letter) {
        return Err(ValueError::new(format!(
            "`{written}` is no name: 1 to 63 of a-z, 0-9, `-`, `_`"
        )));
    }
    Ok(written.to_owned())
}

/// Reads `[log]`.
pub(super) fn log(section: &Section<'_>) -> Option<Log> {
    read_all!(Log {
        format: section.one("format", value::word),
        level: section.one("level", value::word),
    })
}

/// Reads `[custody]`.
pub(super) fn custody(section: &Section<'_>, environment: &Environment) -> Option<Custody> {
    let by_passphrase = section.is("kind", "passphrase");
    let file = section.optional("passphrase-file", value::path);
    let fd = section.optional("passphrase-fd", descriptor);
    match (by_passphrase?, file?, fd?) {
        (true, None, None) if environment.passphrase.is_some() => {
            environment.passphrase.clone().map(Custody::Passphrase)
        }
        (false, None, None) => Some(Custody::File),
        (true, Some(file), None) => Some(Custody::Passphrase(PassphraseSource::File(file))),
        (true, None, Some(fd)) => Some(Custody::Passphrase(PassphraseSource::Descriptor(fd))),
        (false, file, _) => section.refuse(
            file.map_or("passphrase-fd", |_file| "passphrase-file"),
            "a passphrase is given, but the key is kept in a file",
            "write `kind = \"passphrase\"`, or remove this line",
        ),
        (true, None, None) => section.refuse(
            "kind",
            "nothing says where the passphrase is read from",
            "add `passphrase-file` or `passphrase-fd`, or give one on each command line",
        ),
        (true, Some(_), Some(_)) => section.refuse(
            "passphrase-fd",
            "the passphrase is given twice",
            "keep `passphrase-file` or `passphrase-fd`",
        ),
    }
}

/// A file descriptor that can be read from: not the standard output or error.
fn descriptor(value: Value<'_>) -> Result<u32, ValueError> {
    let number = value::integer(value, 0, 65_535)?;
    if matches!(number, 1 | 2) {
        return Err(ValueError::new(format!(
            "{number} is where the gateway writes: the passphrase cannot be read from it"
        )));
    }
    Ok(number)
}
