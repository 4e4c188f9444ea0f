//! Why a program cannot be worked with.

use std::{fmt, io};

/// What failed, and why.
#[derive(thiserror::Error)]
#[error("{what}: {cause}{}", last_lines(log))]
pub struct Error {
    /// What was being done with which program.
    pub what: String,
    /// The operating system's error, or the last line of a program that has ended.
    pub cause: String,
    /// All that the program said.
    pub log: String,
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self {
            what,
            cause: error.to_string(),
            log: String::new(),
        }
    }
}

/// As it is displayed: that is what `unwrap` shows.
impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// With what leads to them, if there are any.
fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(20));
    last.fold(String::new(), |before, line| format!("{before}\n  {line}"))
}
