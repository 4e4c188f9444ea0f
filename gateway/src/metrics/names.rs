//! Names, labels and descriptions of metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Messages sealed, by keyring.
pub(super) const SEALED_MESSAGES: &str = "keyway_sealed_messages_total";
/// Plaintext bytes sealed, by keyring.
pub(super) const SEALED_BYTES: &str = "keyway_sealed_bytes_total";
/// Messages opened, by keyring.
pub(super) const OPENED_MESSAGES: &str = "keyway_opened_messages_total";
/// Plaintext bytes opened, by keyring.
pub(super) const OPENED_BYTES: &str = "keyway_opened_bytes_total";
/// Messages that went through unsealed, by direction.
pub(super) const PASSED_MESSAGES: &str = "keyway_passed_messages_total";
/// Payload bytes that went through unsealed, by direction.
pub(super) const PASSED_BYTES: &str = "keyway_passed_bytes_total";
/// Publishes that the gateway had the server refuse, by cause.
pub(super) const REFUSED_MESSAGES: &str = "keyway_refused_messages_total";
/// Payload bytes of refused publishes, by cause.
pub(super) const REFUSED_BYTES: &str = "keyway_refused_bytes_total";
/// Plaintext delivered on protected subjects while a migration accepts it, by keyring.
pub(super) const PLAINTEXT_MESSAGES: &str = "keyway_plaintext_messages_total";
/// Bytes of such plaintext, by keyring.
pub(super) const PLAINTEXT_BYTES: &str = "keyway_plaintext_bytes_total";
/// Deliveries withheld from the client or replaced, by keyring and cause.
pub(super) const WITHHELD_MESSAGES: &str = "keyway_withheld_messages_total";
/// Payload bytes of withheld or replaced deliveries, by keyring and cause.
pub(super) const WITHHELD_BYTES: &str = "keyway_withheld_bytes_total";
/// Messages of direct gets beyond the bytes that their clients asked for.
pub(super) const KEPT_BACK: &str = "keyway_kept_back_messages_total";
/// Lanes drawn for sealing, by keyring.
pub(super) const LANES_STARTED: &str = "keyway_lanes_started_total";
/// Where the lane of a delivered envelope was found.
pub(super) const LANE_LOOKUPS: &str = "keyway_lane_lookups_total";
/// Envelopes whose key version was not in the snapshot, by outcome of the wait.
pub(super) const MISSES: &str = "keyway_key_misses_total";
/// Key versions that were unwrapped because an envelope names them.
pub(super) const LOADS_ON_DEMAND: &str = "keyway_key_loads_on_demand_total";
/// Byte streams that violate the NATS protocol, by side.
pub(super) const MALFORMED: &str = "keyway_malformed_streams_total";
/// Client connections accepted.
pub(super) const CONNECTIONS_ACCEPTED: &str = "keyway_connections_accepted_total";
/// Client connections open now.
pub(super) const CONNECTIONS: &str = "keyway_connections";
/// Client connections turned away, by the limit that was reached.
pub(super) const CONNECTIONS_REFUSED: &str = "keyway_connections_refused_total";
/// Client connections ended, by cause.
pub(super) const CONNECTIONS_ENDED: &str = "keyway_connections_ended_total";
/// Connection directions that are not read, because no memory is left (`limits.pending`).
pub(super) const PENDING_WAITING: &str = "keyway_pending_waiting";
/// Client connections whose publishes wait for a budget or an active key version, by keyring.
pub(super) const PUBLISH_WAITING: &str = "keyway_publish_waiting";
/// Server dials that failed.
pub(super) const DIALS_FAILED: &str = "keyway_server_dials_failed_total";
/// PROXY headers for which a connection was closed, by cause.
pub(super) const HEADERS_REFUSED: &str = "keyway_proxy_headers_refused_total";
/// Time spent per batch and stage; one batch in 64 is measured.
pub(super) const BATCH_SECONDS: &str = "keyway_batch_seconds";

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to server.
    Publish,
    /// Server to client.
    Deliver,
}

/// One of the two sockets of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's socket.
    Client,
    /// The NATS server's socket.
    Server,
}

/// Why a message was refused or withheld: for operators, never told to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A plaintext arrived on a protected subject.
    Plaintext,
    /// It has an envelope's magic, but no valid header.
    BadEnvelope,
    /// No key version has this kid, in the snapshot or the catalogue.
    UnknownKey,
    /// Its key version is not active yet.
    PreActiveKey,
    /// Its key version is suspended, and does not open.
    SuspendedKey,
    /// Its key version is compromised, and does not open.
    CompromisedKey,
    /// Its key version is destroyed.
    DestroyedKey,
    /// Its key version may open, but its secret cannot be unwrapped.
    UnloadableKey,
    /// Its key version can be loaded, but was not within `miss-wait`.
    LateKey,
    /// The key version belongs to a keyring that does not serve this subject, or that the configuration does not have.
    WrongKeyring,
    /// The AEAD tag does not verify: altered, moved to another subject, or sealed for another.
    Unauthentic,
    /// Its envelope would exceed the server's `max_payload`.
    TooLarge,
    /// It answers no pending request of the client.
    Answer,
    /// An empty payload in a keyring with `empty = "seal"`.
    Empty,
    /// A message of a JetStream counter (`Nats-Incr`), which the server reads and writes in plaintext.
    Counter,
    /// A request whose reply subject is not allowed or belongs to others; or an answer whose request is not known.
    Reply,
    /// The client is not in the keyring's `publish-by` or `deliver-to`.
    Identity,
    /// A request to JetStream whose JSON is ambiguous.
    Unclear,
    /// A schedule or stream with which the server would publish or store envelopes under a subject where they cannot be opened.
    Destination,
    /// An answer of JetStream's API to a request whose prefix is not in `jetstream.api-prefixes`.
    ApiPrefix,
}

/// Where the lane of a delivered envelope was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneSource {
    /// In the connection's own cache.
    Connection,
    /// In the key version's map, which all connections share.
    Shared,
    /// Nowhere: derived anew.
    Derived,
}

/// How waiting for an absent key version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissOutcome {
    /// It was loaded.
    Loaded,
    /// The catalogue does not have it, or its state forbids opening.
    Absent,
    /// The wait ended first.
    TimedOut,
    /// The budget of misses was used up: nothing was waited for.
    Refused,
}

impl Direction {
    /// The label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Deliver => "deliver",
        }
    }
}

impl Side {
    /// The label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl Cause {
    /// All causes, in the order of their declaration.
    pub const ALL: [Self; 20] = [
        Self::Plaintext,
        Self::BadEnvelope,
        Self::UnknownKey,
        Self::PreActiveKey,
        Self::SuspendedKey,
        Self::CompromisedKey,
        Self::DestroyedKey,
        Self::UnloadableKey,
        Self::LateKey,
        Self::WrongKeyring,
        Self::Unauthentic,
        Self::TooLarge,
        Self::Answer,
        Self::Empty,
        Self::Counter,
        Self::Reply,
        Self::Identity,
        Self::Unclear,
        Self::Destination,
        Self::ApiPrefix,
    ];

    /// The label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::BadEnvelope => "bad-envelope",
            Self::UnknownKey => "unknown-key",
            Self::PreActiveKey => "pre-active-key",
            Self::SuspendedKey => "suspended-key",
            Self::CompromisedKey => "compromised-key",
            Self::DestroyedKey => "destroyed-key",
            Self::UnloadableKey => "unloadable-key",
            Self::LateKey => "late-key",
            Self::WrongKeyring => "wrong-keyring",
            Self::Unauthentic => "unauthentic",
            Self::TooLarge => "too-large",
            Self::Answer => "answer",
            Self::Empty => "empty",
            Self::Counter => "counter",
            Self::Reply => "reply",
            Self::Identity => "identity",
            Self::Unclear => "unclear",
            Self::Destination => "destination",
            Self::ApiPrefix => "api-prefix",
        }
    }
}

impl LaneSource {
    /// The label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Shared => "shared",
            Self::Derived => "derived",
        }
    }
}

impl MissOutcome {
    /// The label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Absent => "absent",
            Self::TimedOut => "timed-out",
            Self::Refused => "refused",
        }
    }
}

/// Counters with their units and `# HELP` lines.
const COUNTERS: [(&str, Unit, &str); 23] = [
    (SEALED_MESSAGES, Unit::Count, "Messages sealed, by keyring."),
    (
        SEALED_BYTES,
        Unit::Bytes,
        "Plaintext bytes sealed, by keyring.",
    ),
    (OPENED_MESSAGES, Unit::Count, "Messages opened, by keyring."),
    (
        OPENED_BYTES,
        Unit::Bytes,
        "Plaintext bytes opened, by keyring.",
    ),
    (
        PASSED_MESSAGES,
        Unit::Count,
        "Messages that went through unsealed, by direction.",
    ),
    (
        PASSED_BYTES,
        Unit::Bytes,
        "Payload bytes that went through unsealed, by direction.",
    ),
    (
        REFUSED_MESSAGES,
        Unit::Count,
        "Publishes refused, by keyring and cause.",
    ),
    (
        WITHHELD_MESSAGES,
        Unit::Count,
        "Deliveries withheld from the client or replaced, by keyring and cause.",
    ),
    (
        REFUSED_BYTES,
        Unit::Bytes,
        "Payload bytes of publishes refused, by keyring and cause.",
    ),
    (
        WITHHELD_BYTES,
        Unit::Bytes,
        "Payload bytes of deliveries withheld or replaced, by keyring and cause.",
    ),
    (
        PLAINTEXT_MESSAGES,
        Unit::Count,
        "Plaintext delivered while a migration accepts it, by keyring.",
    ),
    (
        PLAINTEXT_BYTES,
        Unit::Bytes,
        "Bytes of plaintext delivered while a migration accepts it, by keyring.",
    ),
    (
        KEPT_BACK,
        Unit::Count,
        "Messages of direct gets beyond the bytes that their clients asked for.",
    ),
    (
        LANES_STARTED,
        Unit::Count,
        "Lanes drawn for sealing, by keyring.",
    ),
    (
        LANE_LOOKUPS,
        Unit::Count,
        "Where the lane of a delivered envelope was found.",
    ),
    (
        MISSES,
        Unit::Count,
        "Waits for a key version that was not in the snapshot, by outcome.",
    ),
    (
        LOADS_ON_DEMAND,
        Unit::Count,
        "Key versions that were unwrapped because an envelope names them.",
    ),
    (
        MALFORMED,
        Unit::Count,
        "Streams that broke the protocol, by side.",
    ),
    (
        CONNECTIONS_ACCEPTED,
        Unit::Count,
        "Client connections accepted.",
    ),
    (
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Client connections turned away, by the limit that was reached.",
    ),
    (
        CONNECTIONS_ENDED,
        Unit::Count,
        "Client connections ended, by cause.",
    ),
    (
        HEADERS_REFUSED,
        Unit::Count,
        "PROXY headers for which a connection was closed, by cause.",
    ),
    (DIALS_FAILED, Unit::Count, "Server dials that failed."),
];

/// Registers the units and `# HELP` lines of all metrics.
pub fn describe() {
    for (name, unit, text) in COUNTERS {
        describe_counter!(name, unit, text);
    }
    describe_gauge!(CONNECTIONS, Unit::Count, "Client connections open now.");
    describe_gauge!(
        PENDING_WAITING,
        Unit::Count,
        "Directions of connections that are not read on, because no memory is left for them."
    );
    describe_gauge!(
        PUBLISH_WAITING,
        Unit::Count,
        "Client connections whose publishes wait for something to seal with, by keyring."
    );
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "Time per batch and stage; one batch in 64 is measured."
    );
    super::key_names::describe();
    super::tls::describe();
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
        let source = [
            include_str!("names.rs"),
            include_str!("key_names.rs"),
            include_str!("tls.rs"),
        ];
        let mut names: Vec<&str> = source
            .iter()
            .flat_map(|file| file.split('"'))
            .filter(|text| {
                let body = text.strip_prefix("keyway_");
                body.is_some_and(|body| !body.is_empty())
            })
            .collect();
        rows.sort_unstable();
        names.sort_unstable();
        assert_eq!(rows, names);
    }
}
