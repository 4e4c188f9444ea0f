//! Who must act on an error, whether retrying can help, and what to do.
//!
//! An error's `Display` says what is wrong; its [`Fault`] says the rest: log level, HTTP status, exit code and metric label follow
//! from it, and no text is ever taken apart.

use std::borrow::Cow;

use keyway_envelope::HeaderError;
use keyway_envelope::secret::NoEntropy;
use strum::IntoStaticStr;

/// Who has to act before the operation can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Who {
    /// The NATS client sent something that no server would accept.
    Client,
    /// The NATS server is absent, or sent something that no client would accept.
    Server,
    /// The custodian of the key-encryption key.
    Custodian,
    /// The operator: configuration, disk, permissions.
    Operator,
    /// The developers: a bug in this program.
    Internal,
}

/// Whether the same operation can succeed later without anybody's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again until somebody acts.
    Never,
    /// It may succeed after a while.
    Later,
}

/// Who has to act on an error, whether retrying can help, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who has to act.
    pub who: Who,
    /// Whether retrying can help.
    pub retry: Retry,
    help: Cow<'static, str>,
}

impl Fault {
    /// A bug in this program.
    pub const DEFECT: Self = Self {
        who: Who::Internal,
        retry: Retry::Never,
        help: Cow::Borrowed(""),
    };

    /// The operator has to act.
    pub fn operator(help: impl Into<Cow<'static, str>>) -> Self {
        Self::new((Who::Operator, Retry::Never), help)
    }

    /// The operator has to act, or it may succeed after a while.
    pub fn operator_later(help: impl Into<Cow<'static, str>>) -> Self {
        Self::new((Who::Operator, Retry::Later), help)
    }

    /// The custodian of the key-encryption key has to act.
    pub fn custodian(help: impl Into<Cow<'static, str>>) -> Self {
        Self::new((Who::Custodian, Retry::Never), help)
    }

    /// Whoever asked has to ask differently.
    pub fn client(help: impl Into<Cow<'static, str>>) -> Self {
        Self::new((Who::Client, Retry::Never), help)
    }

    /// The NATS server has to act, or it may succeed after a while.
    pub fn server(help: impl Into<Cow<'static, str>>) -> Self {
        Self::new((Who::Server, Retry::Later), help)
    }

    /// A bug in this program, with something to do about it.
    pub fn defect(help: impl Into<Cow<'static, str>>) -> Self {
        Self::new((Who::Internal, Retry::Never), help)
    }

    /// The system starts no thread.
    #[must_use]
    pub fn no_thread() -> Self {
        Self::operator_later("raise the limit of threads (TasksMax=, ulimit -u)")
    }

    /// With a further remedy.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        let help = self.help.to_mut();
        if !help.is_empty() {
            help.push_str("; ");
        }
        help.push_str(more);
        self
    }

    /// What to do; empty where nobody knows.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    fn new((who, retry): (Who, Retry), help: impl Into<Cow<'static, str>>) -> Self {
        let help = help.into();
        Self { who, retry, help }
    }
}

/// An error with a [`Fault`]. One with a source has the source's fault, unless it knows a better remedy.
pub trait Faulty: std::error::Error {
    /// The error's fault.
    fn fault(&self) -> Fault;

    /// What is wrong and what to do, in one line: `what; help`.
    fn with_help(&self) -> String {
        match self.fault().help() {
            "" => self.to_string(),
            help => format!("{self}; {help}"),
        }
    }
}

/// Implements [`Faulty`] for an enum, with a line for each of its variants.
macro_rules! faults {
    ($name:ident { $($variant:pat => $fault:expr,)+ }) => {
        impl $crate::fault::Faulty for $name {
            fn fault(&self) -> $crate::fault::Fault {
                match self {
                    $($variant => $fault,)+
                }
            }
        }
    };
}
pub(crate) use faults;

/// What is left of an error that is gone: what was wrong, and its fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What is wrong.
    pub what: String,
    /// Who must act, and how.
    pub fault: Fault,
}

impl Failure {
    /// With these words.
    pub fn new(what: impl Into<String>, fault: Fault) -> Self {
        let what = what.into();
        Self { what, fault }
    }

    /// Of an error.
    #[must_use]
    pub fn of(error: &impl Faulty) -> Self {
        Self::new(error.to_string(), error.fault())
    }
}

/// Evidence, for whoever shows it to say what to do.
impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::new(what, Fault::operator(""))
    }
}

impl Faulty for Failure {
    fn fault(&self) -> Fault {
        self.fault.clone()
    }
}

impl Faulty for NoEntropy {
    fn fault(&self) -> Fault {
        Fault::operator_later("nothing that needs a fresh key goes on until it works")
    }
}

impl Faulty for HeaderError {
    fn fault(&self) -> Fault {
        Fault::client(self.help())
    }
}
