//! Output of commands. A closed pipe never panics, and no value from outside reaches the terminal unescaped.

use std::fmt;
use std::io::{self, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use crate::printable::{self, Printable};

/// A line for people, with all values escaped. Its only escape sequences are our own colours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(String);

impl<T: fmt::Display> From<T> for Line {
    fn from(text: T) -> Self {
        Self(Printable(text).to_string())
    }
}

impl Line {
    /// The text in a colour, given as an SGR code.
    pub(super) fn coloured(text: impl fmt::Display, code: &'static str) -> Self {
        Self(format!("\u{1b}[{code}m{}\u{1b}[0m", Printable(text)))
    }

    /// Appends.
    pub(super) fn and(mut self, more: impl Into<Self>) -> Self {
        self.0.push_str(&more.into().0);
        self
    }

    /// The text with its colour codes.
    pub(super) const fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The lines of a text of our own; a line end in a value would be escaped.
pub(super) fn lines_of(text: &str) -> impl Iterator<Item = Line> {
    text.split('\n').map(Line::from)
}

/// Standard output. Escapes everything but `bytes`.
pub(super) struct Output(StdoutLock<'static>);

impl Output {
    /// Locks the process's standard output.
    pub(super) fn of_process() -> Self {
        Self(io::stdout().lock())
    }

    /// One line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn line(&mut self, line: impl Into<Line>) -> io::Result<()> {
        writeln!(self.0, "{}", line.into().as_str())
    }

    /// Several lines.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn lines(
        &mut self,
        lines: impl IntoIterator<Item = impl Into<Line>>,
    ) -> io::Result<()> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Bytes, unescaped.
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
        let text = serde_json::to_string_pretty(value)?;
        writeln!(self.0, "{}", printable::json(&text))
    }

    /// Flushes the buffer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line on standard error; write errors are ignored.
pub(super) fn eprint_line(line: impl Into<Line>) {
    drop(writeln!(io::stderr().lock(), "{}", line.into().as_str()));
}

/// Whether standard output is a terminal.
pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether colours and box drawing are wanted on standard output: a terminal, and no `NO_COLOR` (no-color.org).
pub(super) fn wants_colour() -> bool {
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
    // Some terminals report 0 columns.
    Some(if columns == 0 { 80 } else { columns })
}

/// A table for people, line by line: columns aligned by characters, two spaces between, none at the end of a line.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Vec<String> {
    let rows = std::iter::once(head.map(str::to_owned)).chain(rows);
    let rows = rows.map(|row| row.map(|cell| Printable(cell).to_string()));
    let rows: Vec<_> = rows.collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: [String; N]| {
        let cells = row.into_iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_columns_and_leaves_no_trailing_space() {
        let rows = [["long", ""], ["x", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["é", "b"], rows), ["é     b", "long", "x"]);
    }

    #[test]
    fn cell_cannot_begin_a_line_and_is_as_wide_as_what_is_shown_of_it() {
        let rows = [["aaaaaa", "c"].map(str::to_owned)];
        assert_eq!(table(["a\nok", "b"], rows), ["a\\nok   b", "aaaaaa  c"]);
    }

    #[test]
    fn only_our_own_colours_reach_the_terminal() {
        let text = "x\u{1b}[32mok\n";
        let line = Line::from(text).and(Line::coloured(text, "31"));
        let shown = "x\\u{1b}[32mok\\n";
        assert_eq!(line.as_str(), format!("{shown}\u{1b}[31m{shown}\u{1b}[0m"));
    }
}
