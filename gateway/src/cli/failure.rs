//! A command's failure: what went wrong, what would help, and the exit code.

use std::io;

use crate::fault::Faulty;
use crate::operations::Mistake;

use super::exit::Exit;
use super::output::Line;

/// Why a command ended early.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) exit: Exit,
    /// What is wrong; `None`: nothing needs to be said.
    what: Option<String>,
    /// What would help.
    help: Option<String>,
    /// Its causes, where there are several.
    mistakes: Vec<Mistake>,
}

impl Failure {
    /// A failure with its remedy; empty `help`: none is known.
    pub(super) fn new(exit: Exit, what: impl Into<String>, help: impl Into<String>) -> Self {
        let help = help.into();
        Self {
            exit,
            what: Some(what.into()),
            help: (!help.is_empty()).then_some(help),
            mistakes: Vec::new(),
        }
    }

    /// A failure that prints nothing, because it was reported already or needs no report.
    pub(super) const fn silent(exit: Exit) -> Self {
        Self {
            exit,
            what: None,
            help: None,
            mistakes: Vec::new(),
        }
    }

    /// Adds its causes.
    pub(super) fn with_mistakes(mut self, mistakes: Vec<Mistake>) -> Self {
        self.mistakes = mistakes;
        self
    }

    /// From an error of the library, whose fault decides the exit code.
    pub(super) fn of(error: &impl Faulty) -> Self {
        Self::with_exit(Exit::of(error.fault().who), error)
    }

    /// The same with an exit code that the command chooses.
    pub(super) fn with_exit(exit: Exit, error: &impl Faulty) -> Self {
        Self::new(exit, error.to_string(), error.fault().help())
    }

    /// What is wrong, without the remedy.
    pub(super) fn what(&self) -> &str {
        self.what.as_deref().unwrap_or("it was reported above")
    }

    /// The lines for stderr. Further lines of the remedy are indented.
    pub(super) fn report(&self) -> Vec<Line> {
        let what = self.what.iter().map(|what| Line::from("error: ").and(what));
        let mistakes = self.mistakes.iter().flat_map(|mistake| {
            [
                Line::from(&mistake.what),
                Line::from("  help: ").and(&mistake.help),
            ]
        });
        let help = self
            .help
            .iter()
            .flat_map(|help| help.split('\n').enumerate());
        let help = help.map(|(index, line)| {
            let before = if index == 0 { "  help: " } else { "        " };
            Line::from(before).and(line)
        });
        what.chain(mistakes).chain(help).collect()
    }
}

impl<E: Faulty> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// Output that cannot be written. A closed pipe (`| head`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent(Exit::Done)
        } else {
            Self::new(
                Exit::Failed,
                format!("cannot write the output: {error}"),
                "",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{self, Fault};

    #[test]
    fn help_gets_its_own_line_and_no_semicolon_begins_one() {
        let error = fault::Failure::new("a; b is wrong", Fault::operator("chmod 0600 'x'; retry"));
        let shown = ["error: a; b is wrong", "  help: chmod 0600 'x'; retry"];
        assert_eq!(Failure::of(&error).report(), shown.map(Line::from));
        let error = fault::Failure::new("a is wrong", Fault::DEFECT);
        assert_eq!(
            Failure::of(&error).report(),
            [Line::from("error: a is wrong")]
        );
    }

    #[test]
    fn line_end_in_a_failure_begins_no_line_of_its_own() {
        let failure = Failure::new(Exit::Failed, "a\nok  b", "c\nok  d");
        let shown = ["error: a\\nok  b", "  help: c", "        ok  d"];
        let report: Vec<_> = failure
            .report()
            .iter()
            .map(|line| line.as_str().to_owned())
            .collect();
        assert_eq!(report, shown);
    }

    #[test]
    fn every_mistake_has_a_line_of_its_own_and_begins_no_other() {
        let mistake = |what: &str| Mistake {
            what: what.to_owned(),
            help: "c".to_owned(),
        };
        let failure = Failure::new(Exit::Config, "not valid", "correct it");
        let failure = failure.with_mistakes(vec![mistake("a\nok"), mistake("b\u{1b}")]);
        let shown = [
            "error: not valid",
            "a\\nok",
            "  help: c",
            "b\\u{1b}",
            "  help: c",
            "  help: correct it",
        ];
        let report = failure.report();
        assert_eq!(report.iter().map(Line::as_str).collect::<Vec<_>>(), shown);
    }

    #[test]
    fn closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.report()), (Exit::Done, Vec::new()));
    }
}
