//! How strict a keyring is about what is not an envelope, and about envelopes that do not open.

use std::time::{Duration, SystemTime};

/// What becomes of a plaintext that arrives on a protected subject.
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

/// Which plaintext may answer a request that was sealed. Envelopes, statuses and empty answers always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// None: for request/reply between agents.
    Sealed,
    /// `JetStream`'s acknowledgement of a publish, and no envelope: for subjects that only streams listen to.
    PubAck,
    /// Both.
    #[default]
    Either,
}

/// What becomes of an empty payload that is published on a protected subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Empty {
    /// It passes: NATS gives it meaning in many places.
    #[default]
    Pass,
    /// It is sealed, and one that arrives unsealed is withheld. What NATS gives a meaning to passes all the same: headers that control a
    /// stream or a key-value store, statuses, acknowledgements.
    Seal,
}

/// What becomes of a delivery that does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecryptable {
    /// What the client gets.
    pub deliver: Substitute,
    /// A delivery from a stream is refused with `-NAK` and this delay before the server delivers it again; `None`: the server's own
    /// `ack_wait` decides.
    pub nak_delay: Option<Duration>,
    /// How long one message of a stream may be withheld before its consumer goes on without it; `None`: for ever.
    pub limit: Option<Limit>,
}

impl Undecryptable {
    /// Whether the client gets nothing of it.
    pub(super) const fn is_nothing(self) -> bool {
        matches!(self.deliver, Substitute::Nothing)
    }
}

/// What a client gets in place of a message that does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Substitute {
    /// Nothing.
    #[default]
    Nothing,
    /// The envelope as it is, with a header that names the cause.
    Envelope,
}

/// The end of a stream message that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Counted from the first delivery that was withheld.
    pub after: Duration,
    /// What happens then.
    pub then: AtLimit,
}

/// How a consumer gets past a message that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// `+TERM`: the server delivers it no more, and a work queue deletes it.
    Terminate,
    /// The client gets the envelope as it is, with a header that names the cause. The only way past it for ordered consumers, which
    /// acknowledge nothing.
    Envelope,
}
