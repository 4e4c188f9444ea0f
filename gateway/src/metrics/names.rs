//! The metrics: name, kind, unit and `# HELP` line of each, declared once.

use metrics::{
    Unit, describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram,
};

/// Declares a constant for each metric's name, and [`describe`].
macro_rules! metrics {
    ($($describe:ident $constant:ident = $name:literal, $unit:ident, $help:literal;)*) => {
        $(#[doc = $help] pub(super) const $constant: &str = $name;)*

        /// Registers the units and `# HELP` lines of all metrics.
        pub fn describe() {
            $($describe!($constant, Unit::$unit, $help);)*
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

metrics! {
    counter SEALED_MESSAGES = "keyway_sealed_messages_total", Count, "Messages sealed, by keyring.";
    counter SEALED_BYTES = "keyway_sealed_bytes_total", Bytes, "Plaintext bytes sealed, by keyring.";
    counter OPENED_MESSAGES = "keyway_opened_messages_total", Count, "Messages opened, by keyring.";
    counter OPENED_BYTES = "keyway_opened_bytes_total", Bytes, "Plaintext bytes opened, by keyring.";
    counter PASSED_MESSAGES = "keyway_passed_messages_total", Count, "Messages that went through unsealed, by direction.";
    counter PASSED_BYTES = "keyway_passed_bytes_total", Bytes, "Payload bytes that went through unsealed, by direction.";
    counter REFUSED_MESSAGES = "keyway_refused_messages_total", Count, "Publishes refused, by keyring and cause.";
    counter WITHHELD_MESSAGES = "keyway_withheld_messages_total", Count, "Deliveries withheld from the client or replaced, by keyring and cause.";
    counter REFUSED_BYTES = "keyway_refused_bytes_total", Bytes, "Payload bytes of publishes refused, by keyring and cause.";
    counter WITHHELD_BYTES = "keyway_withheld_bytes_total", Bytes, "Payload bytes of deliveries withheld or replaced, by keyring and cause.";
    counter PLAINTEXT_MESSAGES = "keyway_plaintext_messages_total", Count, "Plaintext delivered while a migration accepts it, by keyring.";
    counter PLAINTEXT_BYTES = "keyway_plaintext_bytes_total", Bytes, "Bytes of plaintext delivered while a migration accepts it, by keyring.";
    counter KEPT_BACK = "keyway_kept_back_messages_total", Count, "Messages of direct gets beyond the bytes that their clients asked for.";
    counter LANES_STARTED = "keyway_lanes_started_total", Count, "Lanes drawn for sealing, by keyring.";
    counter LANE_LOOKUPS = "keyway_lane_lookups_total", Count, "Where the lane of a delivered envelope was found.";
    counter MISSES = "keyway_key_misses_total", Count, "Waits for a key version that was not in the snapshot, by outcome.";
    counter LOADS_ON_DEMAND = "keyway_key_loads_on_demand_total", Count, "Key versions that were unwrapped because an envelope names them.";
    counter MALFORMED = "keyway_malformed_streams_total", Count, "Streams that broke the protocol, by side.";
    counter CONNECTIONS_ACCEPTED = "keyway_connections_accepted_total", Count, "Client connections accepted.";
    counter CONNECTIONS_REFUSED = "keyway_connections_refused_total", Count, "Client connections turned away, by the limit that was reached.";
    counter CONNECTIONS_ENDED = "keyway_connections_ended_total", Count, "Client connections ended, by cause.";
    counter HEADERS_REFUSED = "keyway_proxy_headers_refused_total", Count, "PROXY headers for which a connection was closed, by cause.";
    counter DIALS_FAILED = "keyway_server_dials_failed_total", Count, "Server dials that failed.";
    gauge CONNECTIONS = "keyway_connections", Count, "Client connections open now.";
    gauge PENDING_WAITING = "keyway_pending_waiting", Count, "Directions of connections that are not read on, because no memory is left for them.";
    gauge PUBLISH_WAITING = "keyway_publish_waiting", Count, "Client connections whose publishes wait for something to seal with, by keyring.";
    histogram BATCH_SECONDS = "keyway_batch_seconds", Seconds, "Time per batch and stage; one batch in 64 is measured.";
    gauge USED_MESSAGES = "keyway_budget_used_messages", Count, "Messages that count against the limit of the active key version (sealed, or reserved by a process that was killed), by keyring.";
    gauge USED_BYTES = "keyway_budget_used_bytes", Bytes, "Plaintext bytes that count against the limit of the active key version (sealed, or reserved by a process that was killed), by keyring.";
    gauge LEFT_MESSAGES = "keyway_budget_left_messages", Count, "Messages that may still be sealed under the active key version, by keyring.";
    gauge LEFT_BYTES = "keyway_budget_left_bytes", Bytes, "Plaintext bytes that may still be sealed under the active key version, by keyring.";
    gauge GRANTED_MESSAGES = "keyway_grants_outstanding_messages", Count, "Messages granted to lanes of the active key version and not sealed yet, by keyring.";
    gauge GRANTED_BYTES = "keyway_grants_outstanding_bytes", Bytes, "Bytes granted to lanes of the active key version and not sealed yet, by keyring.";
    gauge THRESHOLD_SECONDS = "keyway_forecast_threshold_seconds", Seconds, "Time until usage starts a rotation, at the present rate; inf: never.";
    gauge LIMIT_SECONDS = "keyway_forecast_limit_seconds", Seconds, "Time until the hard limit is reached, at the present rate; inf: never.";
    gauge DUE = "keyway_rotation_due_timestamp_seconds", Seconds, "Unix time at which the active key version's cryptoperiod ends, by keyring.";
    gauge STOPPED = "keyway_publish_stopped", Count, "1 while nothing can be sealed under the keyring, by keyring and cause.";
    gauge VERSIONS = "keyway_key_versions", Count, "Key versions, by keyring and state.";
    gauge OLDEST = "keyway_oldest_opened_version", Count, "Number of the oldest key version opened under in the last minute; 0: none.";
    gauge OLDEST_AGE = "keyway_oldest_opened_version_age_seconds", Seconds, "Time since the oldest key version opened under in the last minute began to seal.";
    gauge AUDIT_CLOSED = "keyway_audit_log_closed", Count, "1 while the audit log takes no line, so that no key event happens.";
    gauge AUDIT_RESERVE = "keyway_audit_reserve_present", Count, "1 while the audit log has its reserve for revocations on a full disk.";
    gauge ROLLED_BACK = "keyway_catalogue_rolled_back", Count, "1 while a record on disk is older than the one in force, or another one of its epoch.";
    counter ROTATIONS = "keyway_rotations_total", Count, "Rotations, by keyring, trigger and outcome.";
    counter EVENTS_FAILED = "keyway_key_events_failed_total", Count, "Key events that failed, by keyring and event.";
    counter FAILED_OPENS = "keyway_failed_opens_total", Count, "Envelopes that named a key version and did not open, by keyring.";
    counter CLOCK_SET = "keyway_clock_set_total", Count, "Times that the host's wall clock was set by a second or more, by way.";
    histogram STEP_SECONDS = "keyway_rotation_step_seconds", Seconds, "How long each step of a rotation took.";
    histogram RESERVATION_SECONDS = "keyway_reservation_seconds", Seconds, "How long it took to reserve a part of a budget durably, by keyring.";
    counter TLS_HANDSHAKES = "keyway_tls_handshakes_total", Count, "TLS handshakes done, by side.";
    counter TLS_FAILED = "keyway_tls_handshake_failures_total", Count, "TLS handshakes failed, by side and cause.";
    counter TLS_RELOADS_FAILED = "keyway_tls_reload_failures_total", Count, "Attempts to take over changed certificate files that failed, by side.";
    gauge TLS_EXPIRY = "keyway_tls_certificate_expiry_timestamp_seconds", Seconds, "Unix time at which the certificate in a file expires, by the configuration's key for the file.";
}

#[cfg(test)]
mod tests {
    #[test]
    fn page_has_a_row_for_every_metric_and_no_other() {
        let page = include_str!("../../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut rows: Vec<&str> = rows
            .filter_map(|row| row.split('`').next())
            .filter(|name| name.starts_with("keyway_"))
            .collect();
        let mut names = super::NAMES.to_vec();
        rows.sort_unstable();
        names.sort_unstable();
        assert_eq!(rows, names);
    }
}
