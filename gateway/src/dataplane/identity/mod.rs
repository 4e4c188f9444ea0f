//! Who a client is, as far as somebody has verified it; what nobody has verified is nothing here.
//!
//! A certificate's names come from the TLS handshake. An nkey, and the account that signed a JWT, the gateway verifies itself. A user
//! and an account by name are as good as the server's check of them. Of credentials nothing is kept but the names.

mod barred;
#[cfg(any(test, fuzzing))]
pub mod check;
mod proof;
#[cfg(test)]
mod tests;

use crate::policy::{ClientName, Kind, Kinds};
use crate::tls::{Names, Peer};
use crate::wire::Credentials;
use crate::wire::info::Info;

pub(super) use barred::Barred;
use proof::Greeted;

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
    /// Its first operation was a CONNECT that proves these.
    Proven(Vec<ClientName>),
    /// It spoke before its CONNECT, and may have been somebody else then; or a later CONNECT named somebody else, and what is
    /// delivered may still be the earlier one's. For good.
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

    /// The client sent a CONNECT that the server takes. A later one must prove the same names again.
    pub(super) fn connect(&mut self, json: &[u8]) {
        let proven = proof::names(&Credentials::read(json), &self.server);
        self.claims = match &self.claims {
            Claims::Silent => Claims::Proven(proven),
            Claims::Proven(before) if !before.is_empty() && *before == proven => return,
            Claims::Proven(_) | Claims::Unclear => Claims::Unclear,
        };
        self.changed();
    }

    /// The server said in which account the client is.
    fn account(&mut self, said: &[u8]) {
        let name = std::str::from_utf8(said).ok();
        let name = name.and_then(ClientName::account_said);
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
            (Claims::Proven(names), Account::Said(name)) => (names.as_slice(), Some(name)),
            (Claims::Proven(names), Account::Unsaid | Account::Unclear) => (names.as_slice(), None),
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
