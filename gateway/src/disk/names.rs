//! The names of keyway's own files in a state directory.

/// The lock.
pub const LOCK: &str = "lock";
/// The key-encryption key (KEK) as text.
pub const KEK: &str = "kek";
/// The parameters for deriving the KEK from a passphrase.
pub const KEK_PARAMETERS: &str = "kek.json";
/// The signing key of the records, its seed wrapped.
pub const CATALOGUE_KEY: &str = "catalogue.key";
/// The same until everything else that a catalogue needs is there.
pub const NEW_CATALOGUE_KEY: &str = ".catalogue.key.new";
/// The directory of the records.
pub const RECORDS: &str = "catalogue";
/// The highest epoch seen of every record.
pub const SEEN: &str = "seen.json";
/// The catalogue time, when it was last saved.
pub const CLOCK: &str = "clock.json";
/// The audit log's signing key.
pub const AUDIT_KEY: &str = "audit.key";
/// The same until its log has begun.
pub const NEW_AUDIT_KEY: &str = ".audit.key.new";
/// The directory of the audit log.
pub const AUDIT: &str = "audit";
/// The addresses that the gateway serves.
pub const PORTS: &str = "ports.json";
/// What the name of a marker file begins with, up to a hyphen.
pub const MARKS: [&str; 3] = ["revoked", "suspended", "withdrawn"];
