//! The settings of a configuration that concern protection, as the log records them, and how two configurations differ.
//!
//! Every line that puts settings in force has their digest, and all of them where they have changed: an auditor reads what was
//! protected when, and the next start finds what is weaker now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hash::{Hash, sha256};
use super::text::Text;

/// Every setting by its key (`keyring.agents.plaintext`), without those that have no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, Value>);

/// The settings that a line puts in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// SHA-256 of their canonical form: [`Settings::digest`].
    pub sha256: Hash,
    /// The settings; `None` where an earlier line has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// A setting whose value has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key.
    pub key: Text,
    /// The old value; `null`: none.
    pub old: Value,
    /// The new value; `null`: none.
    pub new: Value,
}

impl Settings {
    /// Sets a value; `null` removes the key.
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

    /// The keys that have a value, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// SHA-256 of the canonical form: a JSON object without spaces, its keys sorted by their bytes.
    #[must_use]
    pub fn digest(&self) -> Hash {
        sha256(&[Value::from_iter(self.0.clone()).to_string().as_bytes()])
    }

    /// These settings, but those for which `differ` is true are taken from `other`.
    #[must_use]
    pub fn with(&self, other: &Self, differ: impl Fn(&str) -> bool) -> Self {
        let own = self.0.iter().filter(|(key, _)| !differ(key));
        let others = other.0.iter().filter(|(key, _)| differ(key));
        let all = own.chain(others);
        Self(all.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// The content of a line that puts these in force.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        InForce {
            sha256: self.digest(),
            settings: Some(self.clone()),
        }
    }

    /// The settings that have another value in `next`.
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
    /// The change of one setting.
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
