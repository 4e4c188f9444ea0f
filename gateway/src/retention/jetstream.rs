//! The handle for asking JetStream.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

use crate::fault::{Failure, Fault};

use super::answer::{RetentionAnswer, RetentionQuestion};
use super::config::Config;
use super::question;
use super::survey::{self, Survey};

/// A handle for asking JetStream; clones share it.
///
/// It connects for each question and disconnects after it: questions are rare, credentials are read anew, and an unreachable
/// server disturbs neither a start nor the traffic. A question runs on a thread of its own, because the caller's may block on
/// disks and have no timer; one runs at a time, so that a start with many old versions causes no burst of requests.
#[derive(Clone, Debug)]
pub struct JetStream {
    config: Arc<Config>,
    /// Locked by the thread that asks.
    turn: Arc<Mutex<()>>,
}

impl JetStream {
    /// Connects when a question is asked.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            turn: Arc::default(),
        }
    }

    /// Asks which streams hold messages. The answer comes within [`Config::deadline`] once earlier questions are answered. Needs
    /// no runtime of the caller's.
    pub async fn streams_storing(&self, question: RetentionQuestion) -> RetentionAnswer {
        let (tell, told) = oneshot::channel();
        let asked = self.clone();
        let asking = move || {
            if tell.send(asked.answer(&question)).is_err() {
                tracing::debug!("nobody waits for JetStream's answer any more");
            }
        };
        let thread = Builder::new().name("control".to_owned()).spawn(asking);
        let ended = match thread {
            Ok(_detached) => "it ended by a panic".to_owned(),
            Err(error) => error.to_string(),
        };
        told.await.unwrap_or_else(|_dropped| {
            RetentionAnswer::Unknown(Failure::new(
                format!("no thread could ask JetStream: {ended}"),
                Fault::operator_later("ask again"),
            ))
        })
    }

    /// Asks which streams rename subjects, on the calling thread, within [`Config::deadline`]. `imports` are as in
    /// [`RetentionQuestion::api_prefixes`].
    #[must_use]
    pub fn survey(&self, imports: &[String]) -> Survey {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        survey::ask(&self.config, imports)
    }

    fn answer(&self, question: &RetentionQuestion) -> RetentionAnswer {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = question::ask(&self.config, question);
        tracing::debug!(keyring = %question.keyring, kid = %question.kid, ?answer, "asked JetStream");
        answer
    }
}
