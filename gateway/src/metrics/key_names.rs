//! Names and descriptions of the metrics of keys and rotation; [`super::names`] has the others.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Messages sealed under the active version, by keyring.
pub(super) const USED_MESSAGES: &str = "keyway_budget_used_messages";
/// Bytes sealed under the active version, by keyring.
pub(super) const USED_BYTES: &str = "keyway_budget_used_bytes";
/// Messages that may still be sealed under it.
pub(super) const LEFT_MESSAGES: &str = "keyway_budget_left_messages";
/// Bytes that may still be sealed under it.
pub(super) const LEFT_BYTES: &str = "keyway_budget_left_bytes";
/// Messages granted to lanes and not sealed yet.
pub(super) const GRANTED_MESSAGES: &str = "keyway_grants_outstanding_messages";
/// Bytes granted to lanes and not sealed yet.
pub(super) const GRANTED_BYTES: &str = "keyway_grants_outstanding_bytes";
/// Seconds until the soft threshold, at the present rate.
pub(super) const THRESHOLD_SECONDS: &str = "keyway_forecast_threshold_seconds";
/// Seconds until the hard limit, at the present rate.
pub(super) const LIMIT_SECONDS: &str = "keyway_forecast_limit_seconds";
/// When the cryptoperiod of the active version ends.
pub(super) const DUE: &str = "keyway_rotation_due_timestamp_seconds";
/// Whether publishes on the keyring's subjects wait, by keyring and cause.
pub(super) const STOPPED: &str = "keyway_publish_stopped";
/// Key versions, by keyring and state.
pub(super) const VERSIONS: &str = "keyway_key_versions";
/// The number of the oldest version opened under in the last minute.
pub(super) const OLDEST: &str = "keyway_oldest_opened_version";
/// How long ago that version began to seal.
pub(super) const OLDEST_AGE: &str = "keyway_oldest_opened_version_age_seconds";
/// Rotations, by keyring, trigger and outcome.
pub(super) const ROTATIONS: &str = "keyway_rotations_total";
/// How long each step of a rotation takes.
pub(super) const STEP_SECONDS: &str = "keyway_rotation_step_seconds";
/// Key events that failed, by keyring and event.
pub(super) const EVENTS_FAILED: &str = "keyway_key_events_failed_total";
/// How long the durable write of a reservation takes.
pub(super) const RESERVATION_SECONDS: &str = "keyway_reservation_seconds";
/// Envelopes that named a version and did not open, by keyring.
pub(super) const FAILED_OPENS: &str = "keyway_failed_opens_total";
/// Whether the audit log is closed.
pub(super) const AUDIT_CLOSED: &str = "keyway_audit_log_closed";
/// Whether the audit log has its reserve.
pub(super) const AUDIT_RESERVE: &str = "keyway_audit_reserve_present";
pub(super) const ROLLED_BACK: &str = "keyway_catalogue_rolled_back";
/// Steps of the host's wall clock, by direction.
pub(super) const CLOCK_SET: &str = "keyway_clock_set_total";

const GAUGES: [(&str, Unit, &str); 16] = [
    (
        USED_MESSAGES,
        Unit::Count,
        "Messages that count against the limit of the active key version (sealed, or reserved by a process that was killed), by keyring.",
    ),
    (
        USED_BYTES,
        Unit::Bytes,
        "Plaintext bytes that count against the limit of the active key version (sealed, or reserved by a process that was killed), by keyring.",
    ),
    (
        LEFT_MESSAGES,
        Unit::Count,
        "Messages that may still be sealed under the active key version, by keyring.",
    ),
    (
        LEFT_BYTES,
        Unit::Bytes,
        "Plaintext bytes that may still be sealed under the active key version, by keyring.",
    ),
    (
        GRANTED_MESSAGES,
        Unit::Count,
        "Messages granted to lanes of the active key version and not sealed yet, by keyring.",
    ),
    (
        GRANTED_BYTES,
        Unit::Bytes,
        "Bytes granted to lanes of the active key version and not sealed yet, by keyring.",
    ),
    (
        THRESHOLD_SECONDS,
        Unit::Seconds,
        "Time until usage starts a rotation, at the present rate; inf: never.",
    ),
    (
        LIMIT_SECONDS,
        Unit::Seconds,
        "Time until the hard limit is reached, at the present rate; inf: never.",
    ),
    (
        DUE,
        Unit::Seconds,
        "Unix time at which the active key version's cryptoperiod ends, by keyring.",
    ),
    (
        STOPPED,
        Unit::Count,
        "1 while nothing can be sealed under the keyring, by keyring and cause.",
    ),
    (VERSIONS, Unit::Count, "Key versions, by keyring and state."),
    (
        OLDEST,
        Unit::Count,
        "Number of the oldest key version opened under in the last minute; 0: none.",
    ),
    (
        OLDEST_AGE,
        Unit::Seconds,
        "Time since the oldest key version opened under in the last minute began to seal.",
    ),
    (
        AUDIT_CLOSED,
        Unit::Count,
        "1 while the audit log takes no line, so that no key event happens.",
    ),
    (
        AUDIT_RESERVE,
        Unit::Count,
        "1 while the audit log has its reserve for revocations on a full disk.",
    ),
    (
        ROLLED_BACK,
        Unit::Count,
        "1 while a record on disk is older than the one in force, or another one of its epoch.",
    ),
];

/// Registers units and `# HELP` lines.
pub(super) fn describe() {
    for (name, unit, text) in GAUGES {
        describe_gauge!(name, unit, text);
    }
    describe_counter!(
        ROTATIONS,
        Unit::Count,
        "Rotations, by keyring, trigger and outcome."
    );
    describe_counter!(
        EVENTS_FAILED,
        Unit::Count,
        "Key events that failed, by keyring and event."
    );
    describe_counter!(
        FAILED_OPENS,
        Unit::Count,
        "Envelopes that named a key version and did not open, by keyring."
    );
    describe_counter!(
        CLOCK_SET,
        Unit::Count,
        "Times that the host's wall clock was set by a second or more, by way."
    );
    describe_histogram!(
        STEP_SECONDS,
        Unit::Seconds,
        "How long each step of a rotation took."
    );
    describe_histogram!(
        RESERVATION_SECONDS,
        Unit::Seconds,
        "How long it took to reserve a part of a budget durably, by keyring."
    );
}
