//! Exit codes: one for each kind of failure, for scripts.

use std::process::ExitCode;

use strum::VariantArray;

use crate::fault::Who;

/// Why the process ended. The discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed, for none of the reasons below.
    Failed = 1,
    /// The arguments make no sense, or name a keyring that there is not.
    Usage = 2,
    /// The configuration is not valid.
    Config = 3,
    /// The operator must act: state directory, key custody, permissions, an address.
    Operator = 4,
    /// A gateway or a NATS server could not be reached.
    Unreachable = 5,
    /// The input is no envelope, or it does not open.
    Data = 6,
    /// The audit log was altered, or nothing vouches for it.
    Altered = 7,
    /// What was asked for cannot be done to the key version as it is.
    Refused = 8,
    /// Stopped by a signal before it was done.
    Interrupted = 130,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a repr(u8) enum is read by no other means"
    )]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, as `--help` and `docs/cli.md` say it.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed while running, for none of the reasons below",
            Self::Usage => "the arguments make no sense, or name a keyring that there is not",
            Self::Config => "the configuration is not valid; every mistake is on stderr",
            Self::Operator => {
                "the operator must act: state directory, key custody, permissions, an address"
            }
            Self::Unreachable => "a gateway or a NATS server could not be reached",
            Self::Data => "the input is no envelope, or it does not open",
            Self::Altered => {
                "the audit log was altered, or nothing vouches for it; the first wrong line is on stderr"
            }
            Self::Refused => {
                "refused: the state of the keyring or version does not allow it, or no such version"
            }
            Self::Interrupted => "stopped by a signal before it was done",
        }
    }

    /// The exit code for who must act on an error.
    #[must_use]
    pub const fn of(who: Who) -> Self {
        match who {
            Who::Client => Self::Data,
            Who::Server => Self::Unreachable,
            Who::Custodian | Who::Operator => Self::Operator,
            Who::Internal => Self::Failed,
        }
    }

    /// The table at the end of `keyway --help`.
    #[must_use]
    pub fn table() -> String {
        let line = |exit: &Self| format!("  {:>3}  {}\n", exit.code(), exit.meaning());
        let lines: String = Self::VARIANTS.iter().map(line).collect();
        format!("Exit codes:\n{lines}")
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_a_row_for_every_exit_code_and_no_other() {
        let page = include_str!("../../../docs/cli.md");
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("## Exit codes"))
            .skip(1)
            .take_while(|line| !line.starts_with("## "))
            .filter(|line| line.starts_with("| ") && !line.starts_with("| code"))
            .collect();
        let line = |exit: &Exit| format!("| {} | {} |", exit.code(), exit.meaning());
        let wanted: Vec<_> = Exit::VARIANTS.iter().map(line).collect();
        assert_eq!(rows, wanted);
    }

    #[test]
    fn codes_are_distinct_and_ascend() {
        assert!(Exit::VARIANTS.is_sorted_by(|a, b| a.code() < b.code()));
    }
}
