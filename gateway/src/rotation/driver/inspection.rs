//! Questions to JetStream about what is stored under a version, and what they are for.

use std::future::Future;
use std::pin::Pin;

use crate::fault::{Failure, Fault};
use crate::policy::KeyringName;
use crate::printable::Count;
use crate::retention::RetentionAnswer;
use crate::rotation::engine::{DestroyRequest, RetentionVerdict};
use crate::rotation::error::OrderError;
use crate::rotation::reason::Reason;
use crate::rotation::report::{KeyringStatus, RetentionReasons};

use super::answer::Answer;

/// A question to JetStream that is under way.
pub(super) type PendingInspection = Pin<Box<dyn Future<Output = InspectionResult> + Send>>;

/// The answer of JetStream about a version, and what it is for.
pub(super) struct InspectionResult {
    pub(super) keyring: KeyringName,
    pub(super) number: u32,
    pub(super) stored: RetentionAnswer,
    pub(super) purpose: InspectionPurpose,
}

/// A destruction that an operator has ordered.
pub(super) struct DestroyOrder {
    pub(super) request: DestroyRequest,
    pub(super) reason: Reason,
}

/// What a question to JetStream is for.
pub(super) enum InspectionPurpose {
    /// The engine, before it destroys the version.
    Engine,
    /// An order to destroy the version if nothing needs it.
    Destroy(DestroyOrder, Answer<Result<KeyringStatus, OrderError>>),
    /// A query why the version is kept.
    Why(Answer<Result<RetentionReasons, OrderError>>),
}

pub(super) fn verdict(answer: &RetentionAnswer) -> RetentionVerdict {
    match answer {
        RetentionAnswer::NothingStored { streams } => {
            let streams = Count(*streams, "stream");
            RetentionVerdict::Clear(format!(
                "JetStream holds nothing that needs it, in {streams}"
            ))
        }
        RetentionAnswer::Stored(holders) => {
            let held = holders.iter().map(|holder| {
                format!(
                    "stream {} holds message {} on {}, stored {}",
                    holder.stream, holder.sequence, holder.subject, holder.stored
                )
            });
            RetentionVerdict::Held(held.collect::<Vec<_>>().join(", and ").into())
        }
        RetentionAnswer::Unknown(why) => RetentionVerdict::Held(Failure::new(
            format!("it cannot be proven that nothing stored needs it: {why}"),
            Fault::operator(why.fault.help().to_owned()),
        )),
    }
}
