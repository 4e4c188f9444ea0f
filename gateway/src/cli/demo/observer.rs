//! A subscriber of everything on the server itself, without keys.

use std::collections::VecDeque;
use std::net::SocketAddr;

use async_nats::Message;

use crate::cli::failure::Failure;

use super::agent::Agent;

/// Subscribes to `>` past the gateway.
pub(super) struct Observer {
    pub(super) agent: Agent,
    /// Received, and not yet returned by `see`.
    waiting: VecDeque<Message>,
    /// Every payload so far.
    seen: Vec<bytes::Bytes>,
}

impl Observer {
    /// On return, every further message on the bus is received.
    pub(super) async fn open(name: &str, bus: SocketAddr) -> Result<Self, Failure> {
        Ok(Self {
            agent: Box::pin(Agent::connect(name, bus, ">")).await?,
            waiting: VecDeque::new(),
            seen: Vec::new(),
        })
    }

    /// The next message on `subject`, in the order of the bus.
    pub(super) async fn see(&mut self, subject: &str) -> Result<bytes::Bytes, Failure> {
        let known = self
            .waiting
            .iter()
            .position(|message| message.subject.as_str() == subject);
        if let Some(message) = known.and_then(|index| self.waiting.remove(index)) {
            return Ok(message.payload);
        }
        loop {
            let message = self.agent.next().await?;
            self.seen.push(message.payload.clone());
            if message.subject.as_str() == subject {
                return Ok(message.payload);
            }
            self.waiting.push_back(message);
        }
    }

    /// Whether any payload contains `text`.
    pub(super) fn has_read(&self, text: &[u8]) -> bool {
        let within = |payload: &bytes::Bytes| memchr::memmem::find(payload, text).is_some();
        self.seen.iter().any(within)
    }
}
