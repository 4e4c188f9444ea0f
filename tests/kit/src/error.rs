//! Why a program cannot be worked with.

use std::{fmt, io};

use crate::wait::DEADLINE;

/// One variant per remedy.
#[derive(thiserror::Error)]
pub enum Error {
    /// An operating system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A program cannot be run at all.
    #[error("cannot run {program}: {source}; install it, or name its path")]
    NotRun {
        /// Its path.
        program: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A program ended too early.
    #[error(
        "{program} ended before this: {awaited}; its last lines say why:\n{}",
        last_lines(log)
    )]
    Ended {
        /// Its name.
        program: String,
        /// What was waited for.
        awaited: String,
        /// All that it said.
        log: String,
    },
    /// A program runs, but does not do what it should.
    #[error(
        "{program}: not within {DEADLINE:?}: {awaited}; its last lines:\n{}",
        last_lines(log)
    )]
    Late {
        /// Its name.
        program: String,
        /// What was waited for.
        awaited: String,
        /// All that it said.
        log: String,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// The cause alone, in one line: the operating system's error, or the program's last line.
    pub fn brief(&self) -> String {
        match self {
            Self::Io { source, .. } | Self::NotRun { source, .. } => source.to_string(),
            Self::Ended { log, .. } => log.lines().last().unwrap_or("it ended at once").to_owned(),
            Self::Late { .. } => "it did not get ready in time".to_owned(),
        }
    }
}

/// As it is displayed: that is what `unwrap` shows.
impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

fn last_lines(log: &str) -> &str {
    let before = log.trim_end().rmatch_indices('\n').nth(19);
    before
        .and_then(|(at, _)| log.get(at..))
        .unwrap_or(log)
        .trim()
}
