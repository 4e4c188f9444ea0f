//! Who a client is, as far as somebody has verified it; what nobody has verified is nothing here.
//!
//! A certificate's names come from the TLS handshake. In which account a client is, the server says. A user, an nkey and the key that
//! signed a JWT count where the operator states that the servers check them. Of credentials nothing is kept but the names.

mod barred;
#[cfg(any(test, fuzzing))]
pub mod check;
mod proof;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::clock::Clock;
use crate::policy::{ClientName, Kind, Kinds};
use crate::tls::{Names, Peer};
use crate::wire::Credentials;
use crate::wire::info::Info;

use super::config::Credential;
pub(super) use barred::Barred;
use proof::{Greeted, Proof};

/// Who one client is. Grows and shrinks: see [`Identity::epoch`].
#[derive(Default)]
pub(in crate::dataplane) struct Identity {
    /// Holds for the connection, whatever is said on it.
    certificate: Vec<ClientName>,
    /// By its CONNECT.
    claims: Claims,
    /// By the server's word.
    account: Account,
    server: Greeted,
    epoch: u64,
}

/// What the client has said of itself.
#[derive(Default)]
enum Claims {
    /// Nothing, and nothing else either.
    #[default]
    Silent,
    /// Its first operation was a CONNECT that proves these, until its JWT runs out, if it came with one.
    Proven(Vec<ClientName>, Option<Instant>),
    /// It spoke before its CONNECT, and may have been somebody else then; or a later CONNECT named somebody else, and what is
    /// delivered may still be the earlier one's; or its JWT has run out. For good.
    Unclear,
}

/// In which account the client is, as the server says it once CONNECT has been accepted.
#[derive(Default)]
enum Account {
    #[default]
    Unsaid,
    Said(ClientName),
    /// Two different ones. For good.
    Unclear,
}

impl Identity {
    /// The client showed this certificate, which has been verified.
    pub(super) fn shown(&mut self, peer: &Peer) {
        let Names {
            dns, uris, emails, ..
        } = &peer.names;
        let named = |kind: Kind| move |name: &String| (kind, name.clone());
        let subject = std::iter::once((Kind::Subject, peer.subject.clone()));
        let names = subject
            .chain(dns.iter().map(named(Kind::Dns)))
            .chain(uris.iter().map(named(Kind::Uri)))
            .chain(emails.iter().map(named(Kind::Email)));
        self.certificate(names);
    }

    /// The same, name by name.
    pub(super) fn certificate(&mut self, names: impl IntoIterator<Item = (Kind, String)>) {
        let names = names.into_iter();
        self.certificate = names
            .filter_map(|(kind, text)| ClientName::proven(kind, &text))
            .collect();
        self.changed();
    }

    /// The client's first operation is no CONNECT.
    pub(super) fn spoke(&mut self) {
        self.claims = Claims::Unclear;
        self.changed();
    }

    /// The server sent an INFO.
    pub(super) fn greeted(&mut self, said: &Info<'_>) {
        self.server.auth_required = said.auth_required();
        if let Some(nonce) = said.nonce {
            nonce.clone_into(&mut self.server.nonce);
        }
        // What is said before the client has introduced itself, perhaps in the clear, cannot be about it.
        if let Some(account) = said.remote_account
            && !matches!(self.claims, Claims::Silent)
        {
            self.account(account);
        }
    }

    /// Whether the server asks for credentials.
    pub(super) const fn is_asked(&self) -> bool {
        self.server.auth_required
    }

    /// The client sent a CONNECT. The server takes it, or ends the connection. A later one must prove the same names again.
    pub(super) fn connect(
        &mut self,
        credentials: &Credentials<'_>,
        verified: &[Credential],
        clock: &Clock,
    ) {
        if matches!(self.claims, Claims::Unclear) {
            return;
        }
        let proof = proof::proof(credentials, &self.server, verified, clock.wall());
        let Proof { names, lasts } = proof;
        let until = lasts.and_then(|lasts| clock.instant().checked_add(lasts));
        self.claims = match &self.claims {
            Claims::Silent => Claims::Proven(names, until),
            Claims::Proven(before, _) if !before.is_empty() && *before == names => {
                Claims::Proven(names, until)
            }
            Claims::Proven(..) | Claims::Unclear => Claims::Unclear,
        };
        self.changed();
    }

    /// It is `now`: who came with a JWT that has run out is nobody. The server ends the connection, too, but in its own time.
    pub(super) fn grow_old(&mut self, now: Instant) {
        if matches!(self.claims, Claims::Proven(_, Some(until)) if until <= now) {
            self.claims = Claims::Unclear;
            self.changed();
        }
    }

    /// The server said in which account the client is.
    fn account(&mut self, said: &[u8]) {
        let name = std::str::from_utf8(said).ok();
        let name = name.and_then(|name| ClientName::proven(Kind::Account, name));
        self.account = match (&self.account, name) {
            (Account::Said(before), Some(name)) if *before == name => return,
            (Account::Unsaid, Some(name)) => Account::Said(name),
            (Account::Unsaid, None) => return,
            (Account::Said(_) | Account::Unclear, _) => Account::Unclear,
        };
        self.changed();
    }

    /// Everything that it has proven to be.
    pub(super) fn names(&self) -> impl Iterator<Item = &ClientName> {
        let (claimed, account) = match (&self.claims, &self.account) {
            (Claims::Proven(names, _), Account::Said(name)) => (names.as_slice(), Some(name)),
            (Claims::Proven(names, _), Account::Unsaid | Account::Unclear) => {
                (names.as_slice(), None)
            }
            (Claims::Silent | Claims::Unclear, _) => (&[][..], None),
        };
        self.certificate.iter().chain(claimed).chain(account)
    }

    /// What its names take, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.names().map(ClientName::bytes).sum()
    }

    /// The kinds of its names, for a report.
    pub(super) fn kinds(&self) -> Kinds {
        let kinds = self.names().map(ClientName::kind);
        kinds.fold(Kinds::default(), Kinds::with)
    }

    /// Changes whenever [`Identity::names`] may have.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    const fn changed(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }
}
