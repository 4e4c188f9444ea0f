//! What is said of messages that did not go through: one line per second and cause; the metrics have them all.

use std::time::Instant;

use crate::metrics::{Cause, Direction, Throttle};

/// The throttles of all causes, shared by all workers.
#[derive(Default)]
pub(super) struct Reports([Throttle; Cause::ALL.len()]);

/// A message that did not go through.
pub(super) struct Report<'a> {
    /// Publish: it was refused. Deliver: it was withheld.
    pub(super) direction: Direction,
    /// The keyring concerned.
    pub(super) keyring: &'a str,
    pub(super) cause: Cause,
    pub(super) subject: &'a [u8],
}

impl Reports {
    /// Writes a line, or counts it as left out.
    pub(super) fn tell(&self, report: &Report<'_>, now: Instant) {
        let throttle = self
            .0
            .iter()
            .zip(Cause::ALL)
            .find(|(_throttle, of)| *of == report.cause);
        if let Some(left_out) = throttle.and_then(|(throttle, _of)| throttle.admit(now)) {
            let Report {
                direction,
                keyring,
                cause,
                subject,
            } = report;
            let (direction, cause) = (direction.word(), cause.word());
            let subject = String::from_utf8_lossy(subject);
            tracing::warn!(direction, keyring, cause, %subject, left_out, "message did not go through");
        }
    }

    /// Says how many were left out where nothing has happened since.
    pub(super) fn catch_up(&self, now: Instant) {
        for (throttle, cause) in self.0.iter().zip(Cause::ALL) {
            if let Some(left_out) = throttle.overdue(now) {
                tracing::warn!(
                    cause = cause.word(),
                    left_out,
                    "more messages did not go through"
                );
            }
        }
    }
}
