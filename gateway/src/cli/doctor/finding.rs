//! What a check says.

use serde::Serialize;

use crate::config::Warning;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// It works; somebody should look, or nobody could.
    Warning,
    /// It does not work, or it does not protect.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check: a word that stays.
    pub(super) check: &'static str,
    pub(super) severity: Severity,
    /// What was found.
    pub(super) what: String,
    /// What would help; none where nothing needs to.
    pub(super) remedy: Option<String>,
}

impl Severity {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Ok,
            what: what.into(),
            remedy: None,
        }
    }

    pub(super) fn warning(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity: Severity::Warning,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    pub(super) fn problem(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity: Severity::Problem,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// An error of the library, whose remedy stands behind the first semicolon.
    pub(super) fn of_error(check: &'static str, error: &dyn std::error::Error) -> Self {
        let message = error.to_string();
        let (what, remedy) = message
            .split_once("; ")
            .unwrap_or((&message, "see docs/cli.md"));
        Self::problem(check, what, remedy)
    }

    /// What `keyway check` warns of.
    pub(super) fn of_warning(warning: &Warning) -> Self {
        let finding = warning.finding();
        let what = format!("{}: {}", finding.key, finding.message);
        Self::warning("configuration", what, finding.help.clone())
    }
}
