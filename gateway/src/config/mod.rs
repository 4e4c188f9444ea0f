//! The configuration: TOML in, checked values out, or all errors at once with position and remedy.
//!
//! [`schema`] is the one table of keys: the check for unknown keys, the defaults and the page `docs/configuration.md` all come
//! from it. A file is read in three steps: TOML with the position of every value ([`toml`]), one conversion for each section, and
//! the checks between sections. A failed step does not stop the others, so that no error hides another.

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
pub use finding::{Errors, Finding, Warning};
pub use gateway_config::{
    Admin, DestroyApproval, GatewayConfig, Keyring, Limit, Log, LogFormat, OpenPolicy, Retain,
    Rotate, Terms,
};
pub use locate::{GatewayLocation, locate_gateway};
pub use settings::settings;

use finding::Findings;
use section::Section;

/// Reads and checks the file at `path`. Relative paths in it start at its own directory.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn check(
    path: &Path,
    environment: &Environment,
) -> Result<(GatewayConfig, Vec<Warning>), Errors> {
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
pub fn defaults(environment: &Environment) -> Result<(GatewayConfig, Vec<Warning>), Errors> {
    check_text("(defaults)", "", Path::new(""), environment)
}

fn check_bytes(
    name: &str,
    bytes: &[u8],
    base: &Path,
    environment: &Environment,
) -> Result<(GatewayConfig, Vec<Warning>), Errors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => check_text(name, text, base, environment),
        Err(error) => Err(Errors::not_utf8(name, bytes, error)),
    }
}

/// [`check`] for text that was read already; messages call the file `name`, and relative paths start at `base`.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn check_text(
    name: &str,
    text: &str,
    base: &Path,
    environment: &Environment,
) -> Result<(GatewayConfig, Vec<Warning>), Errors> {
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
    let lock_memory = root.optional("lock-memory", value::boolean);
    let admin = operation::admin(&administration, state.as_deref());
    let log = operation::log(&root.section("log"));
    let custody = operation::custody(&root.section("custody"), environment);
    let control_line = network
        .as_ref()
        .map_or(usize::MAX, |network| network.max_control_line);
    let keyrings = keyring::convert(root, control_line, environment.now);
    if let (Some(network), Some(admin)) = (&network, &admin) {
        network::check_addresses(root, network, (&administration, admin.listen));
    }
    let control = control::convert(root, network.as_ref());
    let proxy_seed = proxy::seed(&root.section("proxy"));
    let ((policy, keyrings), network) = (keyrings?, network?);
    keyring::check_clients(root, &network.verified);
    keyring::check_sizes(root, network.max_message, &keyrings);
    if network.relay_only {
        keyring::warn_of_relay(root);
    }
    Some(GatewayConfig {
        dataplane: network,
        state: state?,
        lock_memory: lock_memory?,
        admin: admin?,
        log: log?,
        custody: custody?,
        control: control?,
        proxy_seed: proxy_seed?,
        policy,
        keyrings,
    })
}
