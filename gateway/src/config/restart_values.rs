//! The values of the keys whose change takes a restart, for a reload to compare.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::schema::{self, TakesEffect};

/// What each of these keys was read as, defaults included, so that another spelling of a value is no change; once for each table
/// of a list.
#[derive(Clone, Debug, Default)]
pub struct RestartValues(BTreeMap<&'static str, Vec<String>>);

impl RestartValues {
    /// Keeps the value of the key at `path`, if its change takes a restart.
    pub(super) fn add(&mut self, path: &str, value: &dyn Debug) {
        let key = schema::key(path);
        if let Some(key) = key.filter(|key| key.takes_effect == TakesEffect::AtRestart) {
            self.0
                .entry(key.path)
                .or_default()
                .push(format!("{value:?}"));
        }
    }

    /// The keys that have another value in `next`; of a section that comes or goes, not its keys.
    #[must_use]
    pub fn changed(&self, next: &Self) -> Vec<String> {
        let mut changed: Vec<String> = Vec::new();
        for key in schema::keys().filter(|key| self.differs(next, key.path)) {
            let path = schema::shown(key.path);
            let is_table = |table: &String| path.starts_with(&format!("{table}."));
            if !changed.iter().any(is_table) {
                changed.push(path);
            }
        }
        changed
    }

    fn differs(&self, next: &Self, path: &str) -> bool {
        let values = |of: &Self| of.0.get(path).cloned().unwrap_or_default();
        let (was, is) = (values(self), values(next));
        let list = path
            .rsplit_once("[].")
            .and_then(|(list, _name)| schema::key(list));
        if list.is_some_and(|list| list.takes_effect == TakesEffect::AtReload) {
            // A table may be new.
            return !was.iter().all(|value| is.contains(value));
        }
        was != is
    }
}
