//! The answer that somebody who asked waits for.

use tokio::sync::oneshot;

pub(super) type Answer<T> = oneshot::Sender<T>;

pub(in crate::rotation) fn reply<T>(answer: Answer<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::debug!("whoever asked has gone");
    }
}
