//! One table of the file, read key by key: absent keys take the schema's default, errors are recorded with their position.

use std::fmt::Debug;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::finding::{Findings, ValueError};
use crate::config::restart_values::RestartValues;
use crate::config::schema::{self, Default};
use crate::config::value::{self, Value};

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
        let start = found.span().start;
        let table = found.get_ref().as_table();
        if table.is_none() {
            let message = format!("expected a table, found {}", value::kind(found.get_ref()));
            let help = format!("write a section `[{}]`", self.shown(name));
            self.error_at(start, name, message, help);
        }
        Self::new(table, path, start, self.findings)
    }

    /// The tables of the list `name`; none when it is absent.
    pub(super) fn sections(&self, name: &str) -> Vec<Self> {
        let path = format!("{}{name}[].", self.path);
        let list = self.get(name).and_then(|found| found.get_ref().as_array());
        self.record(name, &list.map_or(0, |list| list.len()));
        let Some(found) = self.get(name) else {
            return Vec::new();
        };
        let help = format!("write one section `[[{name}]]` for each, or a list of tables");
        let Some(list) = list else {
            let message = format!(
                "expected a list of tables, found {}",
                value::kind(found.get_ref())
            );
            self.error_at(found.span().start, name, message, help);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in list {
            let start = item.span().start;
            if let Some(table) = item.get_ref().as_table() {
                sections.push(Self::new(Some(table), path.clone(), start, self.findings));
            } else {
                let message = format!("expected a table, found {}", value::kind(item.get_ref()));
                self.error_at(start, name, message, help.clone());
            }
        }
        sections
    }

    /// A table of the list `name` in which every key is absent.
    pub(super) fn absent(&self, name: &str) -> Self {
        let path = format!("{}{name}[].", self.path);
        Self::new(None, path, self.start, self.findings)
    }

    /// The value of `name`, or the default. `None`: an error, which is recorded.
    pub(super) fn one<T: Debug>(
        &self,
        name: &str,
        convert: impl Fn(Value<'_>) -> Result<T, ValueError>,
    ) -> Option<T> {
        if let Some(found) = self.get(name) {
            return self.recorded(name, self.converted(name, found, &convert));
        }
        match schema::key(&self.schema_path(name))?.default {
            Default::Value(text) => {
                let default = DeValue::parse(text).ok()?;
                self.recorded(name, convert(self.value(name, default.get_ref())?).ok())
            }
            Default::Required => {
                let message = format!("`{name}` is missing");
                self.error_at(self.start, name, message, self.example(name));
                None
            }
            Default::Described(_) => None,
        }
    }

    /// The value of `name`; `Some(None)` when it is absent, `None` on an error.
    #[expect(clippy::option_option, reason = "absent and mistaken are two things")]
    pub(super) fn optional<T: Debug>(
        &self,
        name: &str,
        convert: impl Fn(Value<'_>) -> Result<T, ValueError>,
    ) -> Option<Option<T>> {
        let read = match self.get(name) {
            Some(found) => self.converted(name, found, &convert).map(Some),
            None => Some(None),
        };
        self.recorded(name, read)
    }

    /// The values of `name` (a list or one value) with their byte offsets, or the default. `None`: an error, which is recorded.
    pub(super) fn list<T: Debug>(
        &self,
        name: &str,
        convert: impl Fn(Value<'_>) -> Result<T, ValueError>,
    ) -> Option<Vec<(T, usize)>> {
        let (values, complete) = self.valid(name, convert);
        complete.then_some(values)
    }

    /// The valid values of `name` with their byte offsets, and whether all are valid. An empty list is an error.
    pub(super) fn non_empty_list<T: Debug>(
        &self,
        name: &str,
        convert: impl Fn(Value<'_>) -> Result<T, ValueError>,
    ) -> (Vec<(T, usize)>, bool) {
        let (values, complete) = self.valid(name, convert);
        if values.is_empty() && complete {
            self.error(name, "the list is empty".to_owned(), self.example(name));
            return (values, false);
        }
        (values, complete)
    }

    fn valid<T: Debug>(
        &self,
        name: &str,
        convert: impl Fn(Value<'_>) -> Result<T, ValueError>,
    ) -> (Vec<(T, usize)>, bool) {
        let Some(found) = self.get(name) else {
            let values = self.one(name, |value| each(value, &convert));
            let complete = values.is_some();
            let values = values.into_iter().flatten();
            return (values.map(|value| (value, self.start)).collect(), complete);
        };
        let one = std::slice::from_ref(found);
        let items = found.get_ref().as_array().map_or(one, |list| list);
        let mut values = Vec::new();
        for item in items {
            let value = self.converted(name, item, &convert);
            values.extend(value.map(|value| (value, item.span().start)));
        }
        self.record(
            name,
            &values.iter().map(|(value, _)| value).collect::<Vec<_>>(),
        );
        let complete = values.len() == items.len();
        (values, complete)
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
    pub(super) fn error(&self, name: &str, message: String, help: String) {
        self.error_at(self.place(name), name, message, help);
    }

    /// Records an error at byte `at`, which belongs to `name`.
    pub(super) fn error_at(&self, at: usize, name: &str, message: String, help: String) {
        self.findings.error(at, &self.shown(name), message, help);
    }

    /// Records a warning at the value of `name`, or at the section when it is absent.
    pub(super) fn warn(&self, name: &str, message: String, help: &str) {
        self.findings.warn(
            self.place(name),
            &self.shown(name),
            message,
            help.to_owned(),
        );
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
        convert: &impl Fn(Value<'_>) -> Result<T, ValueError>,
    ) -> Option<T> {
        let wrong = match convert(self.value(name, found.get_ref())?) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        let help = wrong.help.unwrap_or_else(|| self.example(name));
        self.error_at(found.span().start, name, wrong.message, help);
        None
    }

    /// `toml` as a value of the key `name`.
    fn value<'v>(&'v self, name: &str, toml: &'v DeValue<'v>) -> Option<Value<'v>> {
        Some(Value {
            toml,
            kind: schema::key(&self.schema_path(name))?.kind,
            base: self.findings.base,
        })
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

/// Every item of a list, or a single value.
fn each<T>(
    value: Value<'_>,
    convert: &impl Fn(Value<'_>) -> Result<T, ValueError>,
) -> Result<Vec<T>, ValueError> {
    let with = |toml| Value { toml, ..value };
    match value.toml.as_array() {
        Some(list) => (list.iter().map(|item| convert(with(item.get_ref())))).collect(),
        None => Ok(vec![convert(value)?]),
    }
}

/// The values of a list.
pub(super) fn without_positions<T>(placed: Vec<(T, usize)>) -> Vec<T> {
    placed.into_iter().map(|(value, _place)| value).collect()
}
