//! Inputs of a configuration from the process: time and environment variables. The only reader of environment variables.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::clock::Clock;
use crate::custody::PassphraseSource;

/// Inputs of a configuration beside its text.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Wall-clock time, against which dates are checked.
    pub now: SystemTime,
    /// The state directory of a configuration that names none.
    pub state: Option<PathBuf>,
    /// The passphrase source from the command line, used where `custody` has `kind = "passphrase"` and names none.
    pub passphrase: Option<PassphraseSource>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn from_process(clock: &Clock) -> Self {
        Self {
            now: clock.wall(),
            state: state_directory(|name| std::env::var_os(name)),
            passphrase: None,
        }
    }
}

/// `$KEYWAY_STATE_DIR`, else `$XDG_STATE_HOME/keyway`, else `$HOME/.local/state/keyway`. An empty variable counts as unset, and
/// a relative `$XDG_STATE_HOME` too (XDG Base Directory Specification).
pub(super) fn state_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| {
        let value = variable(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let xdg = || path("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || path("HOME").map(|home| home.join(".local/state"));
    path("KEYWAY_STATE_DIR").or_else(|| xdg().or_else(home).map(|base| base.join("keyway")))
}
