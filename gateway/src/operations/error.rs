//! Why nothing is done.

use crate::fault::{Fault, faults};
use crate::rotation::OrderError;

/// An order was not carried out, or a question not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reason is empty.
    #[error("no reason is given")]
    NoReason,
    /// Rotation refuses it, or failed.
    #[error(transparent)]
    Order(#[from] OrderError),
}

faults! { Error {
    Self::NoReason => Fault::client("say in `why` what an auditor should read"),
    Self::Order(error) => error.fault(),
} }
