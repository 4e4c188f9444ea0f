//! A question to JetStream on the gateway's own connection.
//!
//! Before a key version is destroyed, [`Control::holders`] asks which streams may still hold messages that were sealed under it.
//! A wrong "none" loses messages for good, so every doubt is an [`Answer::Unknown`] with its reason; `docs/keys.md` says what the
//! answer proves and what it cannot see.
//!
//! What is looked at is what is *stored*: `STREAM.MSG.GET` with a pattern and a sequence gives the next stored message whose
//! subject matches, whatever the stream's own subjects, mirrors, sources or transforms say, and its first bytes name the key
//! version. That request goes to the stream's leader; a direct get may be answered by a replica that lags behind. It creates no
//! consumer, which could change what an interest or work-queue stream keeps.
//!
//! | you look for | it is in |
//! |---|---|
//! | where to connect, as whom | [`Config`], [`Login`] |
//! | one request, one answer, the server's own words | `api` |
//! | what an answer's JSON says | `json` |
//! | which stored times say when a message was sealed | `stream` |
//! | the look into one stream | `scan` |
//! | all streams of the account, and the verdict | `question` |
//! | which streams rename subjects, and what becomes of a subject by one transform after another | `survey`, `renaming` |

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
pub use survey::{Renaming, Scheduling, Survey, Unseen};

/// How far the times of the catalogue and those of stored messages may lie apart: a message is stored a moment after it was
/// sealed (a client's buffers, a slow bus), and the gateway's and the servers' clocks differ. Ten minutes are far more than
/// either, and cost only that a version is kept so much longer.
pub const MARGIN: Duration = Duration::from_mins(10);

/// Which streams may still hold messages that were sealed under this key version?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The keyring.
    pub keyring: KeyringName,
    /// Every subject that it serves or served while the version sealed, aliases included.
    pub subjects: Vec<Pattern>,
    /// The key version.
    pub kid: Kid,
    /// When it began to seal; `None`: from the beginning of time.
    pub activated: Option<Timestamp>,
    /// When it ceased to; `None`: not yet.
    pub deactivated: Option<Timestamp>,
}

/// What JetStream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is stored that was sealed under it.
    Clear {
        /// How many streams were looked at.
        streams: usize,
    },
    /// Each of these streams holds at least one such message. Others may, too.
    Held(Vec<Holder>),
    /// It cannot be proven. Why, and behind the first `; ` what would help.
    Unknown(String),
}

/// A stream that holds a message sealed under the key version, and the message that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The stream.
    pub stream: String,
    /// Under which prefix its API was found: `$JS.API`, or that of a domain or another account.
    pub api: String,
    /// The message's stored subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream stored it.
    pub stored: Timestamp,
    /// How many such messages the stream can hold at most.
    pub messages_at_most: u64,
    /// When this message is removed by its age, if that is known.
    pub expires: Option<Timestamp>,
    /// The stream's consumers that have messages to deliver or to see acknowledged. Empty, too, when they could not be listed.
    pub consumers: Vec<ConsumerBehind>,
    /// What ends its storage, for people.
    pub why: String,
}

/// A consumer that is not done with its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBehind {
    /// Its name.
    pub name: String,
    /// Messages that it has not delivered yet.
    pub pending: u64,
    /// Messages that it has delivered, and that nobody has acknowledged.
    pub ack_pending: u64,
}

/// The way to JetStream. Clones are the same one.
///
/// Nothing is connected until a question is asked, and nothing stays connected after it: questions are rare, credentials are
/// read anew, and a bus that is away disturbs neither a start nor the traffic. A question runs on a thread of its own, because
/// whoever asks may wait for disks and have no timer; one runs at a time, so that a start with many old versions does not
/// become a burst on the bus.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Held by the thread whose question is being asked.
    turn: Mutex<()>,
}

impl Control {
    /// Remembers where to connect; connects later.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let turn = Mutex::new(());
        Self(Arc::new(Inner { config, turn }))
    }

    /// Asks. The answer comes within [`Config::deadline`] of this question's turn. Needs no runtime of the caller's.
    pub async fn holders(&self, question: Question) -> Answer {
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
            Answer::Unknown(format!("no thread could ask JetStream: {ended}; ask again"))
        })
    }

    /// Asks which streams rename subjects, on the thread that calls, within [`Config::deadline`].
    #[must_use]
    pub fn survey(&self) -> Survey {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        survey::ask(&self.0.config)
    }
}

impl Inner {
    fn answer(&self, question: &Question) -> Answer {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = question::ask(&self.config, question);
        tracing::debug!(keyring = %question.keyring, kid = %question.kid, ?answer, "asked JetStream");
        answer
    }
}
