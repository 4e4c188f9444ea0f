//! Why nothing is done.

use crate::fault::{Fault, Faulty, Retry, Who};
use crate::rotation::OrderError;

/// An order was not carried out, or a question not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reason is empty.
    #[error("no reason is given; say in `why` what an auditor should read")]
    NoReason,
    /// Rotation refuses it, or failed.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl Faulty for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::NoReason => Fault {
                who: Who::Client,
                retry: Retry::Never,
            },
            Self::Order(error) => error.fault(),
        }
    }
}
