//! Who must act on an error, and whether retrying can help.
//!
//! Every error of the crate implements [`Faulty`]; log level, HTTP status, exit code and metric label follow from its [`Fault`].

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

/// Who has to act on an error, and whether retrying can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who has to act.
    pub who: Who,
    /// Whether retrying can help.
    pub retry: Retry,
}

impl Fault {
    /// The operator has to act.
    pub const OPERATOR: Self = Self::new(Who::Operator, Retry::Never);
    /// The operator has to act, or it may succeed after a while.
    pub const OPERATOR_LATER: Self = Self::new(Who::Operator, Retry::Later);
    /// The custodian of the key-encryption key has to act.
    pub const CUSTODIAN: Self = Self::new(Who::Custodian, Retry::Never);
    /// A bug in this program.
    pub const DEFECT: Self = Self::new(Who::Internal, Retry::Never);

    const fn new(who: Who, retry: Retry) -> Self {
        Self { who, retry }
    }
}

/// An error with a [`Fault`].
pub trait Faulty: std::error::Error {
    /// The error's fault.
    fn fault(&self) -> Fault;
}

impl Faulty for keyway_envelope::secret::NoEntropy {
    fn fault(&self) -> Fault {
        Fault {
            who: Who::Operator,
            retry: Retry::Later,
        }
    }
}
