//! What one direction of a session learns and the other needs.

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

/// Shared by both directions of one session; they run in one task, so a `RefCell` is all it takes.
pub struct Link {
    /// What all of this makes the gateway remember.
    pub(super) account: Rc<Account>,
    /// Where the client is, and where it reached us.
    pub(super) ends: Ends,
    /// The subject of the client's certificate, which was verified.
    pub(super) peer: Option<String>,
    /// The server's own `max_payload`, headers included; `None` while it has said none.
    pub(super) max_payload: Option<usize>,
    /// What a trusted proxy signs: the newest nonce of a server that knows such signatures.
    pub(super) nonce: Option<Vec<u8>>,
    /// Whether the server knows headers.
    pub(super) headers: bool,
    /// Who the client is.
    pub(super) identity: Identity,
    /// The server's last INFO, as it was: `{…}`.
    pub(super) info: Box<[u8]>,
    /// The protocol level of the client's CONNECT; `None` before it.
    pub(super) protocol: Option<i64>,
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
    /// In which account the server has said that the client is.
    pub(super) account_named: Named,
    /// Since when stored messages have been withheld, while nobody says in which account the client is.
    pub(super) timers: Timers,
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

impl Link {
    /// The client's handshake is over, and this is the certificate that it has shown.
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

    /// What it holds, in bytes.
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

    /// Nothing has been said yet.
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

    /// Whether the client reads an INFO that it did not ask for: it said so, and has seen that the server took it in.
    pub(super) fn hears_info(&self) -> bool {
        self.protocol.is_some_and(|protocol| protocol >= 1) && self.refusals.has_ponged()
    }
}

/// What the names in a certificate take, in bytes, its subject twice.
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
