//! Who can be asked what is stored.

use super::{JetStream, RetentionAnswer, RetentionQuestion};
use crate::fault::{Failure, Fault};
use crate::later::{Later, ready};

/// Finds out what is stored under a key version.
pub trait Inspector: Send {
    /// Asks; the answer comes within a bounded time.
    fn inspect(&self, question: RetentionQuestion) -> Later<'static, RetentionAnswer>;
}

/// Stands in where there is no `[control]`: JetStream cannot be asked.
pub struct NoInspector;

impl Inspector for JetStream {
    fn inspect(&self, question: RetentionQuestion) -> Later<'static, RetentionAnswer> {
        let control = self.clone();
        Box::pin(async move { control.streams_storing(question).await })
    }
}

impl Inspector for NoInspector {
    fn inspect(&self, _question: RetentionQuestion) -> Later<'static, RetentionAnswer> {
        ready(RetentionAnswer::Unknown(Failure::new(
            "JetStream cannot be asked",
            Fault::operator("give the gateway a connection of its own, section [control]"),
        )))
    }
}
