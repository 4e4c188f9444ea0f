//! Who must act on an error, and whether retrying can help.
//!
//! Every error of the crate answers [`Faulty::fault`]; log level, HTTP status, exit code and metric label are decided from that
//! answer, each in one place.

/// Who has to act before the operation can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The NATS client sent something that no server would accept.
    Client,
    /// The NATS server is absent, or sent something that no client would accept.
    Server,
    /// Whoever guards the key-encryption key.
    Custodian,
    /// The operator: configuration, disk, permissions.
    Operator,
    /// Us: a defect in this program.
    Us,
}

/// Whether the same operation can succeed later without anybody's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again until somebody acts.
    Never,
    /// It may succeed after a while.
    Later,
}

/// The answer to "who must act, and does retrying help".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who has to act.
    pub who: Who,
    /// Whether retrying can help.
    pub retry: Retry,
}

/// An error that knows whose it is.
pub trait Faulty: std::error::Error {
    /// Who must act, and whether retrying can help.
    fn fault(&self) -> Fault;
}

impl Who {
    /// The word used in logs and metric labels.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Custodian => "custodian",
            Self::Operator => "operator",
            Self::Us => "internal",
        }
    }
}
