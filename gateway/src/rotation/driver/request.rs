//! What operators, and a process that takes over, ask of the driver.

use tokio::sync::oneshot;

use crate::disk::{self, Lock};
use crate::rotation::drain::DrainLink;

use super::answer::Answer;
use super::reload::Waiting;
use super::tick::Driver;

/// The channels of a process that begins to drain.
pub(in crate::rotation) struct DrainChannel {
    /// Its link to the writer of the catalogue.
    pub(in crate::rotation) link: DrainLink,
    /// Completed when its clients are to be disconnected at once.
    pub(in crate::rotation) moved: oneshot::Sender<()>,
}

pub(in crate::rotation) enum Request {
    /// A question or an order; dropped once another process writes.
    Ask(Box<dyn FnOnce(&mut Driver) + Send>),
    /// A reload, or the hand-over to another process: the answer to that comes when the catalogue and the audit log are closed, with
    /// links to processes that drain already.
    Wait(Box<Waiting>),
    /// The lock of the state directory, where this process drained and the one that took over has ended.
    Lock {
        answer: Answer<Result<Lock, disk::Error>>,
    },
    Stop,
}
