//! What one direction of a session learns and the other needs.

use std::net::SocketAddr;

use crate::wire::Buffer;

use super::refusals::Refusals;
use super::replies::Replies;

/// Shared by both directions of one session; they run in one task, so a `RefCell` is all it takes.
pub struct Link {
    /// Where the client is.
    pub(super) peer: SocketAddr,
    /// Where the client reached us: what INFO has to call host and port.
    pub(super) local: SocketAddr,
    /// The server's own `max_payload`, headers included; `None` while it has said none.
    pub(super) max_payload: Option<usize>,
    /// How far the greeting has come.
    pub(super) greeting: Greeting,
    /// Whether the server knows headers.
    pub(super) headers: bool,
    /// What the client asked for in its CONNECT.
    pub(super) client: Reads,
    /// The same: what the server says of each operation.
    pub(super) told: Told,
    /// The rule of the protocol that a peer broke, if one did: for the session's log line.
    pub(super) broken: Option<&'static str>,
    /// What reply subjects stand for.
    pub(super) replies: Replies,
    /// What the client is told of publishes that the gateway refused.
    pub(super) refusals: Refusals,
    /// What the deliver direction has to say to the server: whole operations.
    pub(super) to_server: Buffer,
}

/// What a client reads of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Payloads alone: the server leaves headers out.
    Payloads,
    /// Headers too.
    Headers,
}

/// What a client is told of its own operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// `+OK` for each, and so for each that the gateway adds: it adds none. The server's own default.
    Each,
    /// Errors alone.
    Errors,
}

/// The server speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// No INFO yet.
    Awaited,
    /// The first INFO has come.
    Came,
    /// And the publish direction has been told.
    Told,
}

impl Link {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            local,
            max_payload: None,
            greeting: Greeting::Awaited,
            headers: false,
            client: Reads::Payloads,
            told: Told::Each,
            broken: None,
            replies: Replies::default(),
            refusals: Refusals::default(),
            to_server: Buffer::new(),
        }
    }

    /// Whether the publish direction is to be told now that the first INFO has come; once only.
    pub(super) fn greeted(&mut self) -> bool {
        let came = self.greeting == Greeting::Came;
        if came {
            self.greeting = Greeting::Told;
        }
        came
    }
}
