//! What operators, and a process that takes over, ask of the driver.

use crate::disk::{self, Lock};

use super::answer::Answer;
use super::tick::Driver;
use super::waiting::Waiting;

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
