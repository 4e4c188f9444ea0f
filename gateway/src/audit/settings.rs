//! What a configuration says about protection, key by key, as far as the log keeps it; and how two of them differ.
//!
//! The log holds the settings whole where they are others than before, and their digest in every line that puts some in force: an
//! auditor reads there what was protected when, and the next start what is weaker now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Text;
use super::tree::{Hash, sha256};

/// Every key with its value: `keyring.agents.plaintext` and so on. A key that has no value is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, Value>);

/// The settings that are in force from a line on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// SHA-256 of their canonical form: [`Settings::digest`].
    pub sha256: Hash,
    /// They themselves; `None` where an earlier line has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// A key whose value is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key.
    pub key: Text,
    /// Its value before; `null`: none.
    pub old: Value,
    /// Its value now.
    pub new: Value,
}

impl Settings {
    /// Gives a key a value; `null` takes it away.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        if value.is_null() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, value);
        }
    }

    /// The value of a key; `null` for none.
    #[must_use]
    pub fn get(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }

    /// The keys that have a value, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// SHA-256 of the canonical form: a JSON object without spaces, its keys in the order of their bytes.
    #[must_use]
    pub fn digest(&self) -> Hash {
        sha256(&[Value::from_iter(self.0.clone()).to_string().as_bytes()])
    }

    /// These, but for the keys that `differ` tells: they are as in `other`.
    #[must_use]
    pub fn with(&self, other: &Self, differ: impl Fn(&str) -> bool) -> Self {
        let own = self.0.iter().filter(|(key, _)| !differ(key));
        let others = other.0.iter().filter(|(key, _)| differ(key));
        let all = own.chain(others);
        Self(all.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// What a line says that puts these in force.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        InForce {
            sha256: self.digest(),
            settings: Some(self.clone()),
        }
    }

    /// Every key that has another value in `next`.
    #[must_use]
    pub fn changes(&self, next: &Self) -> Vec<Change> {
        let mut keys: Vec<&str> = self.keys().chain(next.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let change = |key| Change::of(key, self.get(key), next.get(key));
        keys.into_iter()
            .filter(|key| self.get(key) != next.get(key))
            .map(change)
            .collect()
    }
}

impl Change {
    /// From one value to another.
    #[must_use]
    pub fn of(key: &str, old: &Value, new: &Value) -> Self {
        Self {
            key: key.into(),
            old: old.clone(),
            new: new.clone(),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, old, new } = self;
        write!(f, "{key}: {} -> {}", Shown(old), Shown(new))
    }
}

/// A value as people read it.
struct Shown<'a>(&'a Value);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Null => f.write_str("none"),
            Value::String(word) => f.write_str(word),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                std::fmt::Display::fmt(other, f)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_of_the_sorted_object_without_spaces() {
        let mut settings = Settings::default();
        settings.set("b", vec!["x", "y"]);
        settings.set("a", 1);
        settings.set("c", Value::Null);
        let canonical = br#"{"a":1,"b":["x","y"]}"#;
        assert_eq!(settings.digest(), sha256(&[canonical]));
    }

    #[test]
    fn change_is_told_of_keys_that_come_go_or_have_another_value() {
        let (mut old, mut new) = (Settings::default(), Settings::default());
        for (key, before, after) in [
            ("gone", Some(1), None),
            ("new", None, Some(2)),
            ("kept", Some(3), Some(3)),
        ] {
            old.set(key, before);
            new.set(key, after);
        }
        let told = old.changes(&new);
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["gone: 1 -> none", "new: none -> 2"]);
    }
}
