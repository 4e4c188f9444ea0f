//! State that both directions of a session share.

use std::rc::Rc;

use crate::tls::{Names, Peer};
use crate::wire::Buffer;

use super::account::Account;
#[cfg(test)]
use super::account::MOST;
use super::address::Ends;
use super::deliver::{Named, Timers};
use super::identity::Identity;
use super::refusals::Refusals;
use super::replies::Replies;
#[cfg(test)]
use super::{
    deliver::{MOST_TO_SERVER, timers},
    refusals,
    remembered::Remembered,
};
#[cfg(test)]
use crate::policy::LONGEST_NAME;
#[cfg(test)]
use crate::wire::Limits;

/// Shared by both directions of one session; they run in one task, so a `RefCell` suffices.
pub struct Link {
    /// Memory for all of this.
    pub(super) account: Rc<Account>,
    /// The addresses of the client's connection.
    pub(super) ends: Ends,
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
    pub(super) client: Reads,
    /// Whether the client is `verbose`, by its CONNECT.
    pub(super) told: Told,
    /// The protocol rule that a peer violated, for the session's log line.
    pub(super) broken: Option<&'static str>,
    /// What is known of reply subjects.
    pub(super) replies: Replies,
    /// Errors for what the gateway refused, on their way to the client.
    pub(super) refusals: Refusals,
    /// The client's NATS account, as its INFO names it.
    pub(super) account_named: Named,
    /// Since when stored messages have been withheld, while that is unknown.
    pub(super) timers: Timers,
    /// Operations of the deliver direction for the server.
    pub(super) to_server: Buffer,
}

/// What a client supports (`headers` in CONNECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// No headers: the server strips them.
    Payloads,
    /// Headers.
    Headers,
}

/// What a client is sent for its own operations (`verbose` in CONNECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// `+OK` for each, so that the gateway must not add any. nats-server's default.
    Each,
    /// Errors only.
    Errors,
}

impl Link {
    /// Takes the names of the client's certificate, after the TLS handshake.
    pub(super) fn show(&mut self, peer: Option<Peer>) {
        let Some(peer) = peer else {
            return;
        };
        if self.account.grow(size(&peer)) {
            self.identity.shown(&peer);
        } else {
            tracing::warn!(
                "a client's certificate has more names than there is memory for: they are nobody's"
            );
        }
        self.peer = Some(peer.subject);
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> Vec<Remembered> {
        let of = |what, bytes, bound| Remembered { what, bytes, bound };
        let line = Limits::default().max_server_line;
        let replies = self.replies.bytes();
        let mut all = vec![
            of("the server's INFO", self.info.len(), line),
            of("its nonce", self.nonce.as_ref().map_or(0, Vec::len), line),
            of(
                "names of the client",
                self.identity.bytes(),
                3 * LONGEST_NAME,
            ),
            of("refusals", self.refusals.bytes(), refusals::MOST_BYTES),
            of(
                "timers",
                self.timers.len().saturating_mul(timers::PLACE),
                timers::MOST * timers::PLACE,
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

    pub(super) fn new(ends: Ends, account: Rc<Account>) -> Self {
        Self {
            timers: Timers::of_connection(Rc::clone(&account)),
            account_named: Named::default(),
            ends,
            peer: None,
            max_payload: None,
            nonce: None,
            headers: false,
            identity: Identity::default(),
            info: Box::default(),
            protocol: None,
            client: Reads::Payloads,
            told: Told::Each,
            broken: None,
            replies: Replies::new(&account),
            refusals: Refusals::new(Rc::clone(&account)),
            to_server: Buffer::new(),
            account,
        }
    }

    /// Whether the client accepts an asynchronous INFO: it said so (`protocol` 1), and its first PONG has come.
    pub(super) fn hears_info(&self) -> bool {
        self.protocol.is_some_and(|protocol| protocol >= 1) && self.refusals.has_ponged()
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
