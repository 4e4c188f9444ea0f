//! One table of the file, read key by key: absent keys take the schema's default, errors are recorded with their position.

use std::fmt::Debug;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::finding::Findings;
use crate::config::restart_values::RestartValues;
use crate::config::schema::{self, Default};
use crate::config::value::{self, Convert, Value};

/// Reads every field, so that no error hides another; `None` if one of them has an error.
macro_rules! read_all {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {
        match ($($value,)*) {
            ($(Some($field),)*) => Some($type { $($field),* }),
            _ => None,
        }
    };
}
pub(super) use read_all;

/// A table, present or not.
pub(super) struct Section<'t> {
    table: Option<&'t DeTable<'t>>,
    /// Its path in the schema: empty, or ending in a dot.
    path: String,
    /// Its byte offset in the file.
    start: usize,
    findings: &'t Findings<'t>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn root(table: &'t DeTable<'t>, findings: &'t Findings<'t>) -> Self {
        Self::new(Some(table), String::new(), 0, findings)
    }

    /// The table `name`; all defaults when it is absent.
    pub(super) fn section(&self, name: &str) -> Self {
        self.record(name, &self.has(name));
        let path = format!("{}{name}.", self.path);
        let Some(found) = self.get(name) else {
            return Self::new(None, path, self.start, self.findings);
        };
        let table = found.get_ref().as_table();
        if table.is_none() {
            let help = format!("write a section `[{}]`", self.shown(name));
            self.expected("a table", name, found, &help);
        }
        Self::new(table, path, found.span().start, self.findings)
    }

    /// The tables of the list `name`; none when it is absent.
    pub(super) fn sections(&self, name: &str) -> Vec<Self> {
        let path = format!("{}{name}[].", self.path);
        let found = self.get(name);
        let list = found.and_then(|found| found.get_ref().as_array());
        self.record(name, &list.map_or(0, |list| list.len()));
        let help = format!("write one section `[[{name}]]` for each, or a list of tables");
        if let (Some(found), None) = (found, list) {
            self.expected("a list of tables", name, found, &help);
        }
        let section = |item: &'t Spanned<DeValue<'t>>| {
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.expected("a table", name, item, &help);
            }
            Some(Self::new(
                Some(table?),
                path.clone(),
                item.span().start,
                self.findings,
            ))
        };
        list.into_iter().flatten().filter_map(section).collect()
    }

    /// Records an error about a value of another type.
    fn expected(&self, wanted: &str, name: &str, found: &Spanned<DeValue<'_>>, help: &str) {
        let message = format!("expected {wanted}, found {}", value::kind(found.get_ref()));
        self.error_at(found.span().start, name, message, help);
    }

    /// A table of the list `name` in which every key is absent.
    pub(super) fn absent(&self, name: &str) -> Self {
        let path = format!("{}{name}[].", self.path);
        Self::new(None, path, self.start, self.findings)
    }

    /// The value of `name`, or the default. `None`: an error, which is recorded.
    pub(super) fn one<T: Debug>(&self, name: &str, convert: Convert<T>) -> Option<T> {
        let read = |found: &Spanned<DeValue<'_>>| self.converted(name, found, convert);
        self.recorded(name, self.found_or_default(name, read)?)
    }

    /// The value of `name`; `Some(None)` when it is absent, `None` on an error.
    pub(super) fn optional<T: Debug>(&self, name: &str, convert: Convert<T>) -> Option<Option<T>> {
        let read = match self.get(name) {
            Some(found) => self.converted(name, found, convert).map(Some),
            None => Some(None),
        };
        self.recorded(name, read)
    }

    /// Whether the word of `name` is this one.
    pub(super) fn is(&self, name: &str, wanted: &str) -> Option<bool> {
        let word = self.one(name, value::word::<String>);
        word.map(|word| word == wanted)
    }

    /// The values of `name` (a list or one value), or the default. `None`: an error, which is recorded.
    pub(super) fn list<T: Debug>(&self, name: &str, convert: Convert<T>) -> Option<Vec<T>> {
        let (values, complete) = self.valid(name, convert);
        complete.then(|| values.into_iter().map(|(value, _place)| value).collect())
    }

    /// The valid values of `name` with their byte offsets, and whether all are valid. An empty list is an error.
    pub(super) fn non_empty_list<T: Debug>(
        &self,
        name: &str,
        convert: Convert<T>,
    ) -> (Vec<(T, usize)>, bool) {
        let (values, complete) = self.valid(name, convert);
        if values.is_empty() && complete {
            self.error(name, "the list is empty", self.example(name));
            return (values, false);
        }
        (values, complete)
    }

    /// The valid values of `name` with their byte offsets, or the default; and whether all are valid.
    pub(super) fn valid<T: Debug>(
        &self,
        name: &str,
        convert: Convert<T>,
    ) -> (Vec<(T, usize)>, bool) {
        let read = |found: &Spanned<DeValue<'_>>| {
            let one = std::slice::from_ref(found);
            let items = found.get_ref().as_array().map_or(one, |list| list);
            let values = items.iter().filter_map(|item| {
                let place = self.get(name).map_or(self.start, |_| item.span().start);
                Some((self.converted(name, item, convert)?, place))
            });
            let values: Vec<_> = values.collect();
            let complete = values.len() == items.len();
            (values, complete)
        };
        let (values, complete) = self.found_or_default(name, read).unwrap_or_default();
        self.record(
            name,
            &values.iter().map(|(value, _)| value).collect::<Vec<_>>(),
        );
        (values, complete)
    }

    /// Reads the value of `name`, or the default. `None` without one, which is an error where the key is required.
    fn found_or_default<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Spanned<DeValue<'_>>) -> T,
    ) -> Option<T> {
        if let Some(found) = self.get(name) {
            return Some(read(found));
        }
        match schema::key(&self.schema_path(name))?.default {
            Default::Value(text) => DeValue::parse(text).ok().map(|default| read(&default)),
            Default::Required => {
                let message = format!("`{name}` is missing");
                self.error_at(self.start, name, message, self.example(name));
                None
            }
            Default::Described(_) => None,
        }
    }

    /// What was read so far of the keys whose change takes a restart.
    pub(super) fn restart_values(&self) -> RestartValues {
        self.findings.restart_values.borrow().clone()
    }

    /// Keeps the value of `name` for a reload to compare, if its change takes a restart.
    pub(super) fn record(&self, name: &str, value: &dyn Debug) {
        let mut values = self.findings.restart_values.borrow_mut();
        values.add(&self.schema_path(name), value);
    }

    fn recorded<T: Debug>(&self, name: &str, read: Option<T>) -> Option<T> {
        read.inspect(|value| self.record(name, value))
    }

    /// Whether the file has `name` here.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Records an error at the value of `name`, or at the section when it is absent.
    pub(super) fn error(&self, name: &str, message: impl Into<String>, help: impl Into<String>) {
        self.error_at(self.place(name), name, message, help);
    }

    /// [`Self::error`], and `None` for a conversion to end with.
    pub(super) fn refuse<T>(&self, name: &str, message: &str, help: &str) -> Option<T> {
        self.error(name, message, help);
        None
    }

    /// Records an error at byte `at`, which belongs to `name`.
    pub(super) fn error_at(
        &self,
        at: usize,
        name: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let key = self.shown(name);
        self.findings.error(at, &key, message.into(), help.into());
    }

    /// Records a warning at the value of `name`, or at the section when it is absent.
    pub(super) fn warn(&self, name: &str, message: impl Into<String>, help: &str) {
        let (place, key) = (self.place(name), self.shown(name));
        self.findings
            .warn(place, &key, message.into(), help.to_owned());
    }

    fn new(
        table: Option<&'t DeTable<'t>>,
        path: String,
        start: usize,
        findings: &'t Findings<'t>,
    ) -> Self {
        let section = Self {
            table,
            path,
            start,
            findings,
        };
        section.check_names();
        section
    }

    /// Records the keys that the schema does not have.
    fn check_names(&self) {
        for key in self.table.iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            if let Err(help) = schema::known(&self.path, name) {
                let message = "no such key".to_owned();
                self.error_at(key.span().start, name, message, help);
            }
        }
    }

    fn converted<T>(
        &self,
        name: &str,
        found: &Spanned<DeValue<'_>>,
        convert: Convert<T>,
    ) -> Option<T> {
        let value = Value {
            toml: found.get_ref(),
            kind: schema::key(&self.schema_path(name))?.kind,
            base: self.findings.base,
        };
        convert(value)
            .map_err(|wrong| {
                let help = wrong.help.unwrap_or_else(|| self.example(name));
                self.error_at(found.span().start, name, wrong.message, help);
            })
            .ok()
    }

    fn get(&self, name: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table?.get(name)
    }

    fn place(&self, name: &str) -> usize {
        self.get(name)
            .map_or(self.start, |found| found.span().start)
    }

    fn example(&self, name: &str) -> String {
        let key = schema::key(&self.schema_path(name));
        key.map_or_else(String::new, |key| format!("for example: {}", key.example))
    }

    fn schema_path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn shown(&self, name: &str) -> String {
        schema::shown(&self.schema_path(name))
    }
}
