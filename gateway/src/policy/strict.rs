//! How a keyring treats plaintext, and envelopes that do not open.

use std::time::{Duration, SystemTime};

use strum::{EnumString, IntoStaticStr, VariantNames};

/// How plaintext that arrives on a protected subject is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Withheld and counted.
    Reject,
    /// Delivered, while a migration lasts.
    Accept {
        /// The first moment at which plaintext is rejected again.
        until: SystemTime,
    },
}

/// What may answer a sealed request. Statuses and empty answers always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Answers {
    /// Envelopes: for request/reply between clients.
    Sealed,
    /// JetStream's `PubAck`, and no envelope: for subjects that only streams listen to.
    PubAck,
    /// Both.
    #[default]
    Either,
}

/// How an empty payload that is published on a protected subject is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Empty {
    /// It passes: NATS gives it meaning in many places.
    #[default]
    Pass,
    /// It is sealed, and one that arrives unsealed is withheld, unless it has a meaning in NATS: headers that control a stream or
    /// a key-value store, statuses, acknowledgements.
    Seal,
}

/// How a delivery that does not open is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecryptable {
    /// What the client gets.
    pub deliver: Substitute,
    /// A delivery from a stream is answered with `-NAK` and this delay before redelivery; `None`: the consumer's `ack_wait`
    /// applies.
    pub nak_delay: Option<Duration>,
    /// When a consumer gives up a withheld message of a stream; `None`: never.
    pub limit: Option<Limit>,
}

impl Undecryptable {
    pub(super) const fn is_nothing(self) -> bool {
        matches!(self.deliver, Substitute::Nothing)
    }
}

/// What a client gets in place of a message that does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Substitute {
    /// Nothing.
    #[default]
    Nothing,
    /// The envelope as it is, with a header that names the cause.
    Envelope,
}

/// When and how a consumer gives up a message that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Time since the first delivery that was withheld.
    pub after: Duration,
    /// What happens after that time.
    pub then: AtLimit,
}

/// How a consumer gets past a message that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum AtLimit {
    /// `+TERM`: the server does not redeliver it, and a work-queue stream deletes it.
    Terminate,
    /// The client gets the envelope as it is, with a header that names the cause. The only option for ordered consumers, which do
    /// not acknowledge.
    Envelope,
}
