//! What waits until nothing is under way for any keyring.

use tokio::sync::oneshot;

use crate::rotation::config::{Reload, RotationConfig};
use crate::rotation::drain::DrainLink;
use crate::rotation::error::OrderError;

use super::answer::Answer;

/// Something that waits.
pub(in crate::rotation) enum Waiting {
    /// Another configuration is to be put in force.
    Reload {
        config: Box<RotationConfig>,
        reload: Reload,
        answer: Answer<Result<(), OrderError>>,
    },
    /// Another configuration is in force, and what follows from it is being done.
    Reloaded {
        answer: Answer<Result<(), OrderError>>,
    },
    /// Another process is to take over.
    HandOver(HandOver),
}

/// Another process is to take over; the answer are the links to processes that drain already.
pub(in crate::rotation) struct HandOver {
    pub(in crate::rotation) channel: DrainChannel,
    pub(in crate::rotation) answer: Answer<Vec<DrainLink>>,
}

/// The channels of a process that begins to drain.
pub(in crate::rotation) struct DrainChannel {
    /// Its link to the writer of the catalogue.
    pub(in crate::rotation) link: DrainLink,
    /// Completed when its clients are to be disconnected at once.
    pub(in crate::rotation) moved: oneshot::Sender<()>,
}
