//! The configuration: TOML in, checked values out, or all errors at once with position and remedy.
//!
//! [`schema`] is the one table of keys: the check for unknown keys, the defaults and the page `docs/configuration.md` all come
//! from it. A file is read in three steps: TOML with the position of every value ([`toml`]), one conversion for each section, and
//! the checks between sections. A failed step does not stop the others, so that no error hides another.

#![expect(
    clippy::option_option,
    reason = "`Some(None)`: a key is absent; `None`: it is mistaken"
)]

#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod control;
mod environment;
mod finding;
mod gateway_config;
mod keyring;
mod locate;
mod network;
mod operation;
mod proxy;
mod restart_values;
pub mod schema;
mod section;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod value;
mod words;

use std::path::Path;

pub use environment::Environment;
pub use finding::{Errors, Finding};
pub use gateway_config::{
    Admin, DestroyApproval, GatewayConfig, Keyring, Limit, Log, OpenPolicy, Retain, Rotate, Terms,
};
pub use locate::{GatewayLocation, locate_gateway};
pub use restart_values::RestartValues;
pub use settings::settings;
pub use words::LogFormat;

use finding::Findings;
use section::{Section, read_all};

/// A configuration that can be used, with warnings about it, or everything that is wrong with it.
pub type Checked = Result<(GatewayConfig, Vec<Finding>), Errors>;

/// Reads and checks the file at `path`. Relative paths in it start at its own directory.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn check(path: &Path, environment: &Environment) -> Checked {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => {
            let base = path.parent().unwrap_or_else(|| Path::new(""));
            check_bytes(&name, &bytes, base, environment)
        }
        Err(error) => Err(Errors::unreadable(&name, &error)),
    }
}

/// The configuration of a gateway without a file: all defaults.
///
/// # Errors
/// When the environment names no state directory.
pub fn defaults(environment: &Environment) -> Checked {
    check_text("(defaults)", "", Path::new(""), environment)
}

fn check_bytes(name: &str, bytes: &[u8], base: &Path, environment: &Environment) -> Checked {
    match std::str::from_utf8(bytes) {
        Ok(text) => check_text(name, text, base, environment),
        Err(error) => Err(Errors::not_utf8(name, bytes, error)),
    }
}

/// [`check`] for text that was read already; messages call the file `name`, and relative paths start at `base`.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn check_text(name: &str, text: &str, base: &Path, environment: &Environment) -> Checked {
    let findings = Findings::new(name, text, base);
    let (root, mistakes) = toml::de::DeTable::parse_recoverable(text);
    let structure_lost = findings.syntax(&mistakes);
    let checked = if structure_lost {
        None
    } else {
        convert(&Section::root(root.get_ref(), &findings), environment)
    };
    findings.conclude(checked)
}

/// Converts every section, whatever errors the others have.
fn convert(root: &Section<'_>, environment: &Environment) -> Option<GatewayConfig> {
    let administration = root.section("admin");
    let network = network::convert(root);
    let state = operation::state(root, environment);
    let admin = operation::admin(&administration, state.as_deref());
    let control_line = network
        .as_ref()
        .map_or(usize::MAX, |network| network.max_control_line);
    let keyrings = keyring::convert(root, control_line, environment.now);
    if let (Some(network), Some(admin)) = (&network, &admin) {
        network::check_addresses(root, network, (&administration, admin.listen));
    }
    if let (Some(network), Some((_policy, keyrings))) = (&network, &keyrings) {
        keyring::check(root, network, keyrings);
    }
    let (policy, keyrings) = keyrings.unzip();
    read_all!(GatewayConfig {
        state: state,
        lock_memory: root.optional("lock-memory", value::boolean),
        admin: admin,
        log: operation::log(&root.section("log")),
        custody: operation::custody(&root.section("custody"), environment),
        control: control::convert(root, network.as_ref()),
        proxy_seed: root
            .section("proxy")
            .optional("nkey-seed-file", value::path),
        dataplane: network,
        policy: policy,
        keyrings: keyrings,
        restart_values: Some(root.restart_values()),
    })
}
