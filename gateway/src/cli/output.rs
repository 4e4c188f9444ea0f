//! What a command says to people and scripts: standard output, and never a panic when nobody reads it.

use std::fmt;
use std::io::{self, IsTerminal, StdoutLock, Write};

use serde::Serialize;

/// Standard output.
pub(super) struct Output(StdoutLock<'static>);

impl Output {
    /// The process's own.
    pub(super) fn of_process() -> Self {
        Self(io::stdout().lock())
    }

    /// One line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.0, "{text}")
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// A value as indented JSON and a line end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.0, value)?;
        self.line("")
    }

    /// What was written so far is to be seen now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line on standard error. That nobody reads it changes nothing.
pub(super) fn complain(text: impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Whether colours and box drawing are wanted on standard output: a terminal, and no `NO_COLOR` (no-color.org).
pub(super) fn is_fancy() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let dumb = set("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb
}

/// How many characters fit a line of the terminal on standard output; `None` when there is no terminal.
pub(super) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    // Some terminals do not know how wide they are.
    Some(if columns == 0 { 80 } else { columns })
}

/// A table for people: columns aligned by characters, two spaces between, none at the end of a line.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_columns_and_leaves_no_trailing_space() {
        let rows = [vec!["é", "b"], vec!["long", ""], vec!["x"]]
            .map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(table(&rows), "é     b\nlong\nx");
    }
}
