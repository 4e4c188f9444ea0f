//! Metrics of TLS: handshakes on both sides, reloads, and when certificates expire.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Label, counter, gauge};

use super::labels::{Side, SideTable};
use super::names;

/// Counters of TLS handshakes, shared by all workers.
pub struct HandshakeMetrics {
    done: SideTable<Counter>,
    failed: SideTable<Vec<(&'static str, Counter)>>,
}

/// Metrics of certificate files.
pub struct CertificateMetrics {
    reloads_failed: SideTable<Counter>,
}

impl HandshakeMetrics {
    /// `causes` are all label values of failed handshakes.
    #[must_use]
    pub fn new(causes: impl Iterator<Item = &'static str> + Clone) -> Self {
        let failed = |side: Side| {
            let counter = |cause| {
                let labels = [
                    Label::new("side", <&str>::from(side)),
                    Label::new("cause", cause),
                ];
                (cause, counter!(names::TLS_FAILED, labels.iter()))
            };
            causes.clone().map(counter).collect()
        };
        Self {
            done: SideTable::from_closure(
                |side| counter!(names::TLS_HANDSHAKES, "side" => <&str>::from(side)),
            ),
            failed: SideTable::from_closure(failed),
        }
    }

    /// Counts a successful handshake.
    pub fn done(&self, side: Side) {
        self.done[side].increment(1);
    }

    /// Counts a failed handshake.
    pub fn failed(&self, side: Side, cause: &str) {
        let causes = self.failed[side].iter();
        for (_cause, counter) in causes.filter(|(of, _counter)| *of == cause) {
            counter.increment(1);
        }
    }
}

impl Default for CertificateMetrics {
    fn default() -> Self {
        let failed = |side: Side| counter!(names::TLS_RELOADS_FAILED, "side" => <&str>::from(side));
        Self {
            reloads_failed: SideTable::from_closure(failed),
        }
    }
}

impl CertificateMetrics {
    /// Sets the expiry of the certificate in the file of this configuration key.
    pub fn expires(&self, role: &'static str, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!(names::TLS_EXPIRY, "role" => role).set(since.as_secs_f64());
    }

    /// Counts a failed reload of changed files.
    pub fn reload_failed(&self, side: Side) {
        self.reloads_failed[side].increment(1);
    }
}
