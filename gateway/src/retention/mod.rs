//! What JetStream has stored, asked on the gateway's own connection, section `[control]`.
//!
//! Before a key version is destroyed, [`JetStream::streams_storing`] asks which streams may still hold messages that were sealed under it.
//! A wrong "none" loses messages for good, so every doubt is an [`RetentionAnswer::Unknown`] with its reason; `docs/keys.md` says what the
//! answer proves and what it cannot.
//!
//! `StoredMessage` messages themselves are read: `STREAM.MSG.GET` with `next_by_subj` and a sequence gives the next stored message whose
//! subject matches, whatever the stream's subjects, mirrors, sources or transforms are, and its envelope has the key version's
//! kid. That request goes to the stream's leader, whereas a direct get may be answered by a replica that lags behind. It creates
//! no consumer, which could change what an interest or work-queue stream keeps.
//!
//! | you look for | it is in |
//! |---|---|
//! | servers and credentials | [`Config`], [`Login`] |
//! | one request to JetStream's API, and its errors | `api` |
//! | the JSON of the answers | `json` |
//! | whether stored times are those of the publish | `stream` |
//! | scanning one stream | `scan` |
//! | scanning all streams of the account, and the answer | `question` |
//! | streams that rename subjects, and the composition of subject transforms | `survey`, `renaming` |

mod api;
mod config;
mod json;
mod question;
mod renaming;
mod scan;
mod stream;
mod survey;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::envelope::Kid;
use crate::policy::{KeyringName, Pattern};

pub use config::{Config, Login, LoginError};
pub use survey::{Renaming, Scheduling, Survey, UnaskedSource};

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
    /// It cannot be proven: the reason, and behind the first `; ` the remedy.
    Unknown(String),
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

/// A handle for asking JetStream; clones share it.
///
/// It connects for each question and disconnects after it: questions are rare, credentials are read anew, and an unreachable
/// server disturbs neither a start nor the traffic. A question runs on a thread of its own, because the caller's may block on
/// disks and have no timer; one runs at a time, so that a start with many old versions causes no burst of requests.
#[derive(Clone, Debug)]
pub struct JetStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Locked by the thread that asks.
    turn: Mutex<()>,
}

impl JetStream {
    /// Connects when a question is asked.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let turn = Mutex::new(());
        Self(Arc::new(Inner { config, turn }))
    }

    /// Asks which streams hold messages. The answer comes within [`Config::deadline`] once earlier questions are answered. Needs
    /// no runtime of the caller's.
    pub async fn streams_storing(&self, question: RetentionQuestion) -> RetentionAnswer {
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        let asking = move || {
            if tell.send(inner.answer(&question)).is_err() {
                tracing::debug!("nobody waits for JetStream's answer any more");
            }
        };
        let thread = Builder::new().name("control".to_owned()).spawn(asking);
        let ended = match thread {
            Ok(_detached) => "it ended by a panic".to_owned(),
            Err(error) => error.to_string(),
        };
        told.await.unwrap_or_else(|_dropped| {
            RetentionAnswer::Unknown(format!("no thread could ask JetStream: {ended}; ask again"))
        })
    }

    /// Asks which streams rename subjects, on the calling thread, within [`Config::deadline`].
    #[must_use]
    pub fn survey(&self) -> Survey {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        survey::ask(&self.0.config)
    }
}

impl Inner {
    fn answer(&self, question: &RetentionQuestion) -> RetentionAnswer {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = question::ask(&self.config, question);
        tracing::debug!(keyring = %question.keyring, kid = %question.kid, ?answer, "asked JetStream");
        answer
    }
}
