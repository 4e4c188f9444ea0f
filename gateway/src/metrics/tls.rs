//! Metrics of TLS: handshakes on both sides, reloads, and when certificates expire.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Label, Unit, counter, describe_counter, describe_gauge, gauge};

use super::names::Side;

/// Successful TLS handshakes, by side.
const HANDSHAKES: &str = "keyway_tls_handshakes_total";
/// Failed TLS handshakes, by side and cause.
const FAILED: &str = "keyway_tls_handshake_failures_total";
/// Unix time at which a file's certificate expires, by the configuration key of the file.
const EXPIRY: &str = "keyway_tls_certificate_expiry_timestamp_seconds";
/// Failed reloads of changed files, by side.
const RELOADS_FAILED: &str = "keyway_tls_reload_failures_total";

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// Counters of TLS handshakes, shared by all workers.
pub struct HandshakeMetrics {
    done: [Counter; 2],
    failed: [Vec<(&'static str, Counter)>; 2],
}

/// Metrics of certificate files.
pub struct CertificateMetrics {
    reloads_failed: [Counter; 2],
}

impl HandshakeMetrics {
    /// `causes` are all label values of failed handshakes.
    #[must_use]
    pub fn new(causes: impl Iterator<Item = &'static str> + Clone) -> Self {
        let failed = |side: Side| {
            let counter = |cause| {
                let labels = [Label::new("side", side.word()), Label::new("cause", cause)];
                (cause, counter!(FAILED, labels.iter()))
            };
            causes.clone().map(counter).collect()
        };
        Self {
            done: SIDES.map(|side| counter!(HANDSHAKES, "side" => side.word())),
            failed: SIDES.map(failed),
        }
    }

    /// Counts a successful handshake.
    pub fn done(&self, side: Side) {
        of(&self.done, side).increment(1);
    }

    /// Counts a failed handshake.
    pub fn failed(&self, side: Side, cause: &str) {
        let causes = of(&self.failed, side).iter();
        for (_cause, counter) in causes.filter(|(of, _counter)| *of == cause) {
            counter.increment(1);
        }
    }
}

impl Default for CertificateMetrics {
    fn default() -> Self {
        let failed = |side: Side| counter!(RELOADS_FAILED, "side" => side.word());
        Self {
            reloads_failed: SIDES.map(failed),
        }
    }
}

impl CertificateMetrics {
    /// Sets the expiry of the certificate in the file of this configuration key.
    pub fn expires(&self, role: &'static str, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!(EXPIRY, "role" => role).set(since.as_secs_f64());
    }

    /// Counts a failed reload of changed files.
    pub fn reload_failed(&self, side: Side) {
        of(&self.reloads_failed, side).increment(1);
    }
}

const fn of<T>([client, server]: &[T; 2], side: Side) -> &T {
    match side {
        Side::Client => client,
        Side::Server => server,
    }
}

/// Registers units and `# HELP` lines.
pub(super) fn describe() {
    describe_counter!(HANDSHAKES, Unit::Count, "TLS handshakes done, by side.");
    describe_counter!(
        FAILED,
        Unit::Count,
        "TLS handshakes failed, by side and cause."
    );
    describe_counter!(
        RELOADS_FAILED,
        Unit::Count,
        "Attempts to take over changed certificate files that failed, by side."
    );
    describe_gauge!(
        EXPIRY,
        Unit::Seconds,
        "Unix time at which the certificate in a file expires, by the configuration's key for the file."
    );
}
