//! The result of a check.

use serde::Serialize;
use strum::Display;

use crate::config;
use crate::fault::Faulty;

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

    /// A problem from an error of the library.
    pub(super) fn of_error(check: &'static str, error: &impl Faulty) -> Self {
        let fault = error.fault();
        let remedy = match fault.help() {
            "" => "see docs/cli.md",
            help => help,
        };
        Self::problem(check, error.to_string(), remedy)
    }

    /// A warning of the configuration, as `keyway check` has it.
    pub(super) fn of_warning(warning: &config::Finding) -> Self {
        let what = format!("{}: {}", warning.key, warning.message);
        Self::warning("configuration", what, warning.help.clone())
    }
}
