//! What JetStream says is stored under a version, and what it is asked for.

use crate::fault::{Failure, Fault};
use crate::printable::Count;
use crate::retention::RetentionAnswer;
use crate::rotation::engine::{DestroyRequest, RetentionVerdict};
use crate::rotation::reason::Reason;

/// A destruction that an operator has ordered.
pub(super) struct DestroyOrder {
    pub(super) request: DestroyRequest,
    pub(super) reason: Reason,
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
