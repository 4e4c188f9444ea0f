//! What operators see and keep: state, administration, logs, custody.

use std::path::{Path, PathBuf};

use tracing::Level;

use crate::config::checked::{Admin, Custody, Log, LogFormat};
use crate::config::environment::Environment;
use crate::config::section::Section;
use crate::config::value;
use crate::custody::PassphraseSource;

/// What a unix socket's address holds on Linux, without the final zero.
const LONGEST_SOCKET: usize = 107;

/// Reads `state`.
pub(super) fn state(root: &Section<'_>, base: &Path, environment: &Environment) -> Option<PathBuf> {
    let written = root.optional("state", |v| value::path(v, base))?;
    let state = written.or_else(|| environment.state.clone());
    if state.is_none() {
        root.error(
            "state",
            "no state directory: neither `state` nor $KEYWAY_STATE_DIR, $XDG_STATE_HOME or $HOME is set".to_owned(),
            "for example: state = \"/var/lib/keyway\"".to_owned(),
        );
    }
    state
}

/// Reads `[admin]`.
pub(super) fn admin(section: &Section<'_>, base: &Path, state: Option<&Path>) -> Option<Admin> {
    let listen = section.one("listen", |v| match v.as_str() {
        Some("off") => Ok(None),
        _ => value::address(v).map(Some),
    });
    let socket = section.optional("socket", |v| value::path(v, base))?;
    let socket = socket.or_else(|| Some(state?.join("admin.sock")))?;
    if socket.as_os_str().len() > LONGEST_SOCKET {
        let message = format!(
            "the path has {} bytes, at most {LONGEST_SOCKET} fit a socket's address",
            socket.as_os_str().len()
        );
        section.error(
            "socket",
            message,
            "for example: socket = \"/run/keyway/admin.sock\"".to_owned(),
        );
    }
    Some(Admin {
        listen: listen?,
        socket,
    })
}

/// Reads `[log]`.
pub(super) fn log(section: &Section<'_>) -> Option<Log> {
    let format = section.one("format", |v| {
        value::choice(v, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let level = section.one("level", |v| {
        let levels = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        value::choice(v, &levels)
    });
    Some(Log {
        format: format?,
        level: level?,
    })
}

/// Reads `[custody]`.
pub(super) fn custody(section: &Section<'_>, base: &Path) -> Option<Custody> {
    let by_passphrase = section.one("kind", |v| {
        value::choice(v, &[("file", false), ("passphrase", true)])
    });
    let file = section.optional("passphrase-file", |v| value::path(v, base));
    let fd = section.optional("passphrase-fd", descriptor);
    match (by_passphrase?, file?, fd?) {
        (false, None, None) => Some(Custody::File),
        (true, Some(file), None) => Some(Custody::Passphrase(PassphraseSource::File(file))),
        (true, None, Some(fd)) => Some(Custody::Passphrase(PassphraseSource::Descriptor(fd))),
        (false, file, _) => {
            let name = if file.is_some() {
                "passphrase-file"
            } else {
                "passphrase-fd"
            };
            let message = "a passphrase is given, but the key is kept in a file".to_owned();
            section.error(
                name,
                message,
                "write `kind = \"passphrase\"`, or remove this line".to_owned(),
            );
            None
        }
        (true, None, None) => {
            let message = "nothing says where the passphrase is read from".to_owned();
            section.error(
                "kind",
                message,
                "add `passphrase-file` or `passphrase-fd`".to_owned(),
            );
            None
        }
        (true, Some(_), Some(_)) => {
            let message = "the passphrase is given twice".to_owned();
            section.error(
                "passphrase-fd",
                message,
                "keep `passphrase-file` or `passphrase-fd`".to_owned(),
            );
            None
        }
    }
}

/// A file descriptor that can be read from: not the standard output or error.
fn descriptor(value: &toml::de::DeValue<'_>) -> Result<u32, super::finding::Wrong> {
    let number = value::count(value, 0, 65_535)?;
    match u32::try_from(number) {
        Ok(fd) if !matches!(fd, 1 | 2) => Ok(fd),
        _ => Err(super::finding::Wrong::new(format!(
            "{number} is where the gateway writes: the passphrase cannot be read from it"
        ))),
    }
}
