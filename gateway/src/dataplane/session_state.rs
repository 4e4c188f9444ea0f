//! What both directions of a session share: its sockets and its state.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::tls::{Names, Peer};
use crate::wire::Buffer;

use super::address::Endpoints;
use super::drain::SessionDrain;
use super::identity::Identity;
use super::injected_errors::InjectedErrors;
#[cfg(test)]
use super::memory::MOST;
use super::memory::MemoryReservation;
use super::replies::Replies;
use super::socket::{self, Socket, WriteTimeout};
use super::socket_error::SocketError;
use super::withheld_timers::{NatsAccount, Timers};
#[cfg(test)]
use super::{
    deliver::MOST_TO_SERVER, injected_errors, memory_bounds::MemoryUse, withheld_timers as timers,
};
#[cfg(test)]
use crate::policy::MAX_NAME_LEN;
#[cfg(test)]
use crate::wire::Limits;

/// What both directions of a session use.
pub(super) struct Session {
    pub(super) client: Socket,
    pub(super) server: Socket,
    pub(super) state: RefCell<SessionState>,
    /// Wakes the publish direction: there are operations for the server, or the session is to end.
    pub(super) wake_publish: Notify,
    /// Draining, once the gateway stops.
    pub(super) drain: SessionDrain,
}

/// Shared by both directions of one session; they run in one task, so a `RefCell` suffices.
pub struct SessionState {
    /// Memory for all of this.
    pub(super) reservation: Rc<MemoryReservation>,
    /// The addresses of the client's connection.
    pub(super) ends: Endpoints,
    /// The subject of the client's verified certificate.
    pub(super) peer: Option<String>,
    /// The server's `max_payload`, headers included; `None` before INFO.
    pub(super) max_payload: Option<usize>,
    /// The newest nonce of a server that verifies `proxy_sig` (ADR-55).
    pub(super) nonce: Option<Vec<u8>>,
    /// Whether the server supports headers.
    pub(super) headers: bool,
    /// The client's verified identity.
    pub(super) identity: Identity,
    /// The JSON of the server's last INFO, unchanged.
    pub(super) info: Box<[u8]>,
    /// The protocol level of the client's CONNECT; `None` before it.
    pub(super) protocol: Option<i64>,
    /// Whether the client reads headers, by its CONNECT.
    pub(super) client_reads: ClientReads,
    /// Whether the client is `verbose`, by its CONNECT.
    pub(super) verbosity: Verbosity,
    /// The protocol rule that a peer violated, for the session's log line.
    pub(super) violated_rule: Option<&'static str>,
    /// What is known of reply subjects.
    pub(super) replies: Replies,
    /// Errors for what the gateway refused, on their way to the client.
    pub(super) injected_errors: InjectedErrors,
    /// The client's NATS account, as its INFO names it.
    pub(super) nats_account: NatsAccount,
    /// Since when stored messages have been withheld, while that is unknown.
    pub(super) timers: Timers,
    /// Operations of the deliver direction for the server.
    pub(super) to_server: Buffer,
}

/// What a client supports (`headers` in CONNECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientReads {
    /// No headers: the server strips them.
    Payloads,
    /// Headers.
    Headers,
}

/// What a client is sent for its own operations (`verbose` in CONNECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// `+OK` for each, so that the gateway must not add any. nats-server's default.
    Verbose,
    /// Errors only.
    Quiet,
}

impl Session {
    pub(super) fn new(client: Socket, server: Socket, state: RefCell<SessionState>) -> Self {
        Self {
            client,
            server,
            state,
            wake_publish: Notify::new(),
            drain: SessionDrain::default(),
        }
    }

    /// Drains the session: what both peers have sent until then is still forwarded.
    pub(super) fn close(&self) {
        self.drain.close();
        self.wake_publish.notify_one();
    }

    /// Flushes what the deliver direction has for the server. Called between two batches, so between two operations.
    pub(super) async fn flush_to_server(&self) -> Result<(), SocketError> {
        let mut output = std::mem::take(&mut self.state.borrow_mut().to_server);
        socket::flush(&self.server, &mut output, WriteTimeout::Server).await
    }
}

impl SessionState {
    /// Takes the names of the client's certificate, after the TLS handshake.
    pub(super) fn set_certificate(&mut self, peer: Option<Peer>) {
        let Some(peer) = peer else {
            return;
        };
        if self.reservation.grow(size(&peer)) {
            self.identity.set_certificate(&peer);
        } else {
            tracing::warn!(
                "a client's certificate has more names than there is memory for: they are nobody's"
            );
        }
        self.peer = Some(peer.subject);
    }

    #[cfg(test)]
    pub(super) fn memory_use(&self) -> Vec<MemoryUse> {
        let of = |what, bytes, bound| MemoryUse { what, bytes, bound };
        let line = Limits::default().max_server_line;
        let replies = self.replies.bytes();
        let mut all = vec![
            of("the server's INFO", self.info.len(), line),
            of("its nonce", self.nonce.as_ref().map_or(0, Vec::len), line),
            of(
                "names of the client",
                self.identity.bytes(),
                3 * MAX_NAME_LEN,
            ),
            of(
                "injected_errors",
                self.injected_errors.bytes(),
                injected_errors::MOST_BYTES,
            ),
            of(
                "timers",
                self.timers.len().saturating_mul(timers::TIMER_BYTES),
                timers::MOST * timers::TIMER_BYTES,
            ),
            of(
                "to the server",
                self.to_server.capacity(),
                2 * MOST_TO_SERVER,
            ),
        ];
        all.extend(replies.map(|(what, bytes)| of(what, bytes, MOST)));
        all
    }

    pub(super) fn new(ends: Endpoints, reservation: Rc<MemoryReservation>) -> Self {
        Self {
            timers: Timers::of_connection(Rc::clone(&reservation)),
            nats_account: NatsAccount::default(),
            ends,
            peer: None,
            max_payload: None,
            nonce: None,
            headers: false,
            identity: Identity::default(),
            info: Box::default(),
            protocol: None,
            client_reads: ClientReads::Payloads,
            verbosity: Verbosity::Verbose,
            violated_rule: None,
            replies: Replies::new(&reservation),
            injected_errors: InjectedErrors::new(Rc::clone(&reservation)),
            to_server: Buffer::new(),
            reservation,
        }
    }

    /// Whether the client accepts an asynchronous INFO: it said so (`protocol` 1), and its first PONG has come.
    pub(super) fn accepts_async_info(&self) -> bool {
        self.protocol.is_some_and(|protocol| protocol >= 1)
            && self.injected_errors.has_delivered_pong()
    }
}

/// Bytes for the names in a certificate; the subject is kept twice.
fn size(peer: &Peer) -> usize {
    const PLACE: usize = 48;
    let Names {
        dns, uris, emails, ..
    } = &peer.names;
    let subject = std::iter::repeat_n(&peer.subject, 2);
    let names = dns.iter().chain(uris).chain(emails).chain(subject);
    names.fold(0, |sum, name| {
        sum.saturating_add(name.len()).saturating_add(PLACE)
    })
}
