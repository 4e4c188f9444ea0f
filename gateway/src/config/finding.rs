//! Errors and warnings with their position in the file.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use super::restart_values::RestartValues;

/// An error or warning about a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; `None` when the file as a whole is meant.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key, as `section.key`; empty when none is meant.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// Why a configuration cannot be used: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Errors(Vec<Finding>);

/// An invalid value, before its position is known.
#[derive(Debug)]
pub(super) struct ValueError {
    /// What is wrong.
    pub(super) message: String,
    /// The remedy; `None`: the schema's example.
    pub(super) help: Option<String>,
}

/// The message when the conversion failed without recording an error: a bug.
pub(super) const DEFECT: &str = "this program refuses the file and cannot say why";

/// Collects the errors and warnings of all conversions.
pub(super) struct Findings<'t> {
    file: &'t str,
    text: &'t str,
    /// Where relative paths in it start.
    pub(super) base: &'t Path,
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
    /// What was read so far.
    pub(super) restart_values: RefCell<RestartValues>,
}

impl ValueError {
    /// An error whose remedy is the schema's example.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// An error with a remedy of its own.
    pub(super) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: Some(help.into()),
        }
    }
}

impl<'t> Findings<'t> {
    pub(super) fn new(file: &'t str, text: &'t str, base: &'t Path) -> Self {
        Self {
            file,
            text,
            base,
            errors: RefCell::default(),
            warnings: RefCell::default(),
            restart_values: RefCell::default(),
        }
    }

    /// Records an error at byte `at`.
    pub(super) fn error(&self, at: usize, key: &str, message: String, help: String) {
        let finding = self.finding(at, key, message, help);
        self.errors.borrow_mut().push(finding);
    }

    /// Records a warning at byte `at`.
    pub(super) fn warn(&self, at: usize, key: &str, message: String, help: String) {
        let finding = self.finding(at, key, message, help);
        self.warnings.borrow_mut().push(finding);
    }

    /// Records syntax errors. `true` when a table's header is broken: the keys behind it are in the wrong table, and errors about
    /// them would be noise.
    pub(super) fn syntax(&self, mistakes: &[toml::de::Error]) -> bool {
        let mut structure_lost = false;
        for mistake in mistakes {
            let at = mistake.span().map_or(0, |span: Range<usize>| span.start);
            structure_lost |= line_at(self.text, at).trim_start().starts_with('[');
            let message = format!("not TOML: {}", mistake.message().replace('\n', ", "));
            self.error(
                at,
                "",
                message,
                "see https://toml.io for how values are written".to_owned(),
            );
        }
        structure_lost
    }

    /// The result. A line with a syntax error is reported for that alone.
    pub(super) fn conclude<T>(self, checked: Option<T>) -> Result<(T, Vec<Finding>), Errors> {
        let mut errors = self.errors.into_inner();
        let broken: Vec<_> = errors
            .iter()
            .filter(|e| e.key.is_empty())
            .map(|e| e.line)
            .collect();
        errors.retain(|e| e.key.is_empty() || !broken.contains(&e.line));
        in_order(&mut errors);
        match checked {
            Some(checked) if errors.is_empty() => {
                let mut warnings = self.warnings.into_inner();
                in_order(&mut warnings);
                Ok((checked, warnings))
            }
            None if errors.is_empty() => Err(Errors::defect(self.file)),
            Some(_) | None => Err(Errors(errors)),
        }
    }

    fn finding(&self, at: usize, key: &str, message: String, help: String) -> Finding {
        let (line, column) = position(self.text, at);
        Finding {
            file: self.file.to_owned(),
            line: Some(line),
            column: Some(column),
            key: key.to_owned(),
            message,
            help,
        }
    }
}

impl Errors {
    /// The errors in the order of the file; never empty.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        let help = "name a readable file; `configs/quickstart.toml` is one to start from";
        Self::whole(file, format!("cannot read the file: {error}"), help)
    }

    pub(super) fn not_utf8(file: &str, bytes: &[u8], error: std::str::Utf8Error) -> Self {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let text = String::from_utf8_lossy(valid);
        let (line, column) = position(&text, text.len());
        let mut errors = Self::whole(
            file,
            "not UTF-8".to_owned(),
            "TOML files are UTF-8: save it so",
        );
        for finding in &mut errors.0 {
            (finding.line, finding.column) = (Some(line), Some(column));
        }
        errors
    }

    /// A conversion failed without recording an error.
    fn defect(file: &str) -> Self {
        Self::whole(file, DEFECT.to_owned(), "report this as a defect of keyway")
    }

    fn whole(file: &str, message: String, help: &str) -> Self {
        Self(vec![Finding {
            file: file.to_owned(),
            line: None,
            column: None,
            key: String::new(),
            message,
            help: help.to_owned(),
        }])
    }
}

impl Finding {
    /// Position and message, without the remedy.
    #[must_use]
    pub fn what(&self) -> String {
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{line}:{column}:"),
            (_, _) => String::new(),
        };
        let key = if self.key.is_empty() {
            String::new()
        } else {
            format!(" {}:", self.key)
        };
        format!("{}:{place}{key} {}", self.file, self.message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  help: {}", self.what(), self.help)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

fn in_order(findings: &mut Vec<Finding>) {
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings.dedup();
}

/// Line and column of byte `at`, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let start = before.rsplit('\n').next().unwrap_or_default();
    (line, start.chars().count().saturating_add(1))
}

/// The whole line around byte `at`.
pub(super) fn line_at(text: &str, at: usize) -> &str {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let start = before
        .rfind('\n')
        .map_or(0, |newline| newline.saturating_add(1));
    let end = at.saturating_add(after.find('\n').unwrap_or(after.len()));
    text.get(start..end).unwrap_or_default()
}
