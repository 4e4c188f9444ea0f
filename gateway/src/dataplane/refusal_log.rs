//! Log lines for messages that were refused or withheld: one per second and cause; the metrics count all.

use std::time::Instant;

use strum::VariantArray;

use crate::metrics::{Cause, CauseTable, Direction, Throttle};
use crate::policy::IdentityKinds;

/// Throttled log lines, shared by all workers.
#[derive(Default)]
pub(super) struct RefusalLog {
    causes: CauseTable<Throttle>,
    replies: Throttle,
}

/// A message that was refused or withheld.
pub(super) struct RefusedMessage<'a> {
    /// Publish: refused. Deliver: withheld.
    pub(super) direction: Direction,
    /// The keyring concerned.
    pub(super) keyring: &'a str,
    pub(super) cause: Cause,
    pub(super) subject: &'a [u8],
    /// The kinds of the client's identity, where that is the cause.
    pub(super) identity: Option<IdentityKinds>,
}

impl RefusalLog {
    pub(super) fn log(&self, report: &RefusedMessage<'_>, now: Instant) {
        if let Some(left_out) = self.causes[report.cause].admit(now) {
            let RefusedMessage {
                direction,
                keyring,
                cause,
                subject,
                identity,
            } = report;
            let (direction, cause) = (<&str>::from(direction), <&str>::from(cause));
            let subject = String::from_utf8_lossy(subject);
            let identity = identity.map(tracing::field::display);
            tracing::warn!(direction, keyring, cause, identity, %subject, left_out, "message did not go through");
        }
    }

    /// Logs a refused subscription, with its subject.
    pub(super) fn log_subscription(&self, report: &RefusedMessage<'_>, now: Instant) {
        if let Some(left_out) = self.causes[report.cause].admit(now) {
            let (keyring, cause) = (report.keyring, <&str>::from(report.cause));
            let subject = String::from_utf8_lossy(report.subject);
            let identity = report.identity.map(tracing::field::display);
            tracing::warn!(keyring, cause, identity, %subject, left_out, "subscription refused");
        }
    }

    /// Logs a message that is sealed for exactly this reply subject, which another keyring names.
    pub(super) fn log_reply(&self, keyring: &str, (subject, reply): (&[u8], &[u8]), now: Instant) {
        if let Some(left_out) = self.replies.admit(now) {
            let [subject, reply] = [subject, reply].map(String::from_utf8_lossy);
            tracing::info!(
                keyring, %subject, %reply, left_out,
                "sealed for exactly this reply subject, which another keyring names: what a stream stores of it opens for nobody; if clients wait for answers there, name its prefix in `inbox-prefixes`"
            );
        }
    }

    /// Logs how many lines were left out where none has followed.
    pub(super) fn catch_up(&self, now: Instant) {
        for cause in Cause::VARIANTS {
            if let Some(left_out) = self.causes[*cause].overdue(now) {
                tracing::warn!(
                    cause = <&str>::from(cause),
                    left_out,
                    "more messages did not go through"
                );
            }
        }
    }
}
