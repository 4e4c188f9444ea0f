//! The table of keys: every key of the configuration with its default, unit, example, description, and when a change takes effect.

mod gateway;
mod key;
mod keyring;
mod tls;

pub use key::{Default, Key, Kind, TakesEffect};

/// Every key, in the order of the reference page; a table comes before its keys.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    gateway::KEYS.iter().chain(tls::KEYS).chain(keyring::KEYS)
}

/// The key at `path`.
#[must_use]
pub fn key(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}

/// The key of a setting as the audit log names it, `keyring.agents.bind` for `keyring[].bind`.
#[must_use]
pub fn key_of_setting(setting: &str) -> Option<&'static Key> {
    let in_keyring = setting.strip_prefix("keyring.");
    match in_keyring.and_then(|setting| setting.split_once('.')) {
        Some((_keyring, name)) => key(&format!("keyring[].{name}")),
        None => key(setting),
    }
}

/// The path of a key for people: `keyring.bind`.
pub(super) fn shown(path: &str) -> String {
    path.replace("[]", "")
}

/// Whether the table at `path` (empty, or ending in a dot) has `name`; if not, what to write instead.
pub(super) fn known(path: &str, name: &str) -> Result<(), String> {
    let mut here: Vec<_> = keys().filter_map(|key| child(path, key)).collect();
    if here.contains(&name) {
        return Ok(());
    }
    if let Some(close) = closest(name, &here) {
        return Err(format!("did you mean `{close}`?"));
    }
    if let Some(elsewhere) = keys().find(|key| last(key.path) == name) {
        return Err(match section(elsewhere.path) {
            "" => format!("`{name}` stands at the top of the file, before the first section"),
            section => format!("`{name}` belongs in `{}`", shown(section)),
        });
    }
    here.sort_unstable();
    Err(format!("known here: {}", here.join(", ")))
}

/// The name of `key` within the table at `path`, if it stands there.
fn child(path: &str, key: &Key) -> Option<&'static str> {
    let name = key.path.strip_prefix(path)?;
    (!name.contains('.')).then_some(name)
}

/// The name most similar to `name`, if it may be a typo of that.
pub(super) fn closest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let scored = names
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), *known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.6).then_some(best.1)
}

/// The name of a key in its table.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The path of the table in which a key stands; empty at the top of the file.
pub(super) fn section(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(section, _)| section)
}
