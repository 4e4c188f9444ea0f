//! The result of a check.

use serde::Serialize;
use strum::Display;

use crate::config;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(super) enum Severity {
    /// Nothing to do.
    Ok,
    /// It works but should be looked at, or could not be checked.
    Warning,
    /// It does not work, or it leaves messages unprotected.
    Problem,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check: a stable word for scripts.
    pub(super) check: &'static str,
    pub(super) severity: Severity,
    /// What was found.
    pub(super) what: String,
    /// What would help.
    pub(super) remedy: Option<String>,
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

    /// A problem from an error of the library, whose message has the remedy behind the first semicolon.
    pub(super) fn of_error(check: &'static str, error: &dyn std::error::Error) -> Self {
        let message = error.to_string();
        let (what, remedy) = message
            .split_once("; ")
            .unwrap_or((&message, "see docs/cli.md"));
        Self::problem(check, what, remedy)
    }

    /// A warning of the configuration, as `keyway check` has it.
    pub(super) fn of_warning(warning: &config::Finding) -> Self {
        let what = format!("{}: {}", warning.key, warning.message);
        Self::warning("configuration", what, warning.help.clone())
    }
}
