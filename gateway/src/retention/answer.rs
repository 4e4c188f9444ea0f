//! What is asked of JetStream before a key version is destroyed, and the answer.

use std::time::Duration;

use jiff::Timestamp;

use crate::envelope::Kid;
use crate::fault::Failure;
use crate::policy::{KeyringName, Pattern};

/// How far the catalogue's times and those of stored messages may lie apart: a message is stored some time after it was sealed (a
/// client's buffers, a slow bus), and the clocks of gateway and servers differ. Ten minutes are far more than either, and only
/// keep a version that much longer.
pub const CLOCK_MARGIN: Duration = Duration::from_mins(10);

/// Which streams may still hold messages that were sealed under this key version?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionQuestion {
    /// The keyring.
    pub keyring: KeyringName,
    /// Every subject that it serves, or served while the version sealed, aliases included.
    pub subjects: Vec<Pattern>,
    /// Subjects under which this account imports another account's JetStream API, with or without a final dot.
    pub api_prefixes: Vec<String>,
    /// The key version.
    pub kid: Kid,
    /// When it began to seal; `None`: no lower bound.
    pub activated: Option<Timestamp>,
    /// When it stopped; `None`: not yet.
    pub deactivated: Option<Timestamp>,
}

/// The answer to a [`RetentionQuestion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetentionAnswer {
    /// Nothing is stored that was sealed under it.
    NothingStored {
        /// How many streams were scanned.
        streams: usize,
    },
    /// Each of these streams holds at least one such message; others may, too.
    Stored(Vec<StoringStream>),
    /// It cannot be proven: the reason.
    Unknown(Failure),
}

/// A stream that holds a message sealed under the key version, and that message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoringStream {
    /// The stream's name.
    pub stream: String,
    /// The API prefix under which it was found: `$JS.API`, or that of a domain or another account.
    pub api: String,
    /// The message's stored subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream stored it.
    pub stored: Timestamp,
    /// How many such messages the stream can hold at most.
    pub messages_at_most: u64,
    /// When this message expires by its age, if that is known.
    pub expires: Option<Timestamp>,
    /// The stream's consumers with messages to deliver, or to be acknowledged. Empty, too, when they could not be listed.
    pub consumers: Vec<ConsumerBehind>,
    /// What removes the stream's messages, for people.
    pub why: String,
}

/// A consumer with unfinished messages of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBehind {
    /// Its name.
    pub name: String,
    /// `num_pending`: messages not delivered yet.
    pub pending: u64,
    /// `num_ack_pending`: messages delivered and not acknowledged.
    pub ack_pending: u64,
}
