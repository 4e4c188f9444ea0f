//! Labels of metrics: each variant is a label value, in kebab case.

#![expect(
    clippy::too_many_arguments,
    reason = "a table's constructor takes a value for each variant"
)]

use strum::{EnumTable, IntoStaticStr, VariantArray};

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Direction {
    /// Client to server.
    Publish,
    /// Server to client.
    Deliver,
}

/// One of the two sockets of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Side {
    /// The client's socket.
    Client,
    /// The NATS server's socket.
    Server,
}

/// Why a message was refused or withheld: for operators, never told to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LaneSource {
    /// In the connection's own cache.
    Connection,
    /// In the key version's map, which all connections share.
    Shared,
    /// Nowhere: derived anew.
    Derived,
}

/// How waiting for an absent key version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
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
