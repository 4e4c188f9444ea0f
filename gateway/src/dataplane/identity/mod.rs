//! The verified identity of a client.
//!
//! A certificate's names come from the TLS handshake, the account from the server's INFO. A user, an nkey and the key that signed
//! a JWT count where the operator states that the servers check them. Of credentials only the names are kept.

#[cfg(any(test, fuzzing))]
pub mod check;
mod denied;
mod proof;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::clock::Clock;
use crate::keyring::Snapshot;
use crate::policy::{ClientName, IdentityKind, IdentityKinds};
use crate::tls::{Names, Peer};
use crate::wire::Credentials;
use crate::wire::info::Info;

use super::config::Credential;
pub(super) use denied::DeniedKeyrings;
use proof::{Proof, ServerInfo};

/// The verified names of one client, and what they deny it.
#[derive(Default)]
pub(in crate::dataplane) struct Identity {
    /// From its certificate; fixed for the connection.
    certificate: Vec<ClientName>,
    /// From its CONNECT.
    claims: Claims,
    /// From the server's INFO.
    account: Account,
    server: ServerInfo,
    /// Changes whenever the names may have.
    epoch: u64,
    /// The keyrings under which it may not publish.
    pub(super) publish_denied: DeniedKeyrings,
    /// Those whose messages it may not receive.
    pub(super) deliver_denied: DeniedKeyrings,
    /// The snapshot's generation and the epoch for which that was decided.
    decided: Option<(u64, u64)>,
}

/// What the client's CONNECT has proven.
#[derive(Default)]
enum Claims {
    /// It has sent nothing yet.
    #[default]
    Silent,
    /// Its first operation was a CONNECT that proves these names, until its JWT expires, if it has one.
    Proven(Vec<ClientName>, Option<Instant>),
    /// For good: it sent something before CONNECT, under another user perhaps; or a later CONNECT named another user, while
    /// messages for the earlier one may still arrive; or its JWT has expired.
    Unclear,
}

/// The client's account, as the server's INFO names it after CONNECT was accepted.
#[derive(Default)]
enum Account {
    #[default]
    Unknown,
    Named(ClientName),
    /// For good: two different ones were named.
    Unclear,
}

impl Identity {
    /// Takes the names of the client's verified certificate.
    pub(super) fn set_certificate(&mut self, peer: &Peer) {
        let Names {
            dns, uris, emails, ..
        } = &peer.names;
        let named = |kind: IdentityKind| move |name: &String| (kind, name.clone());
        let subject = std::iter::once((IdentityKind::Subject, peer.subject.clone()));
        let names = subject
            .chain(dns.iter().map(named(IdentityKind::Dns)))
            .chain(uris.iter().map(named(IdentityKind::Uri)))
            .chain(emails.iter().map(named(IdentityKind::Email)));
        self.set_certificate_names(names);
    }

    pub(super) fn set_certificate_names(
        &mut self,
        names: impl IntoIterator<Item = (IdentityKind, String)>,
    ) {
        let names = names.into_iter();
        self.certificate = names
            .filter_map(|(kind, text)| ClientName::proven(kind, &text))
            .collect();
        self.changed();
    }

    /// The client's first operation is not CONNECT.
    pub(super) fn spoke_before_connect(&mut self) {
        self.claims = Claims::Unclear;
        self.changed();
    }

    /// Reads an INFO of the server.
    pub(super) fn read_info(&mut self, said: &Info<'_>) {
        self.server.auth_required = said.auth_required;
        if let Some(nonce) = said.nonce {
            nonce.clone_into(&mut self.server.nonce);
        }
        // Before CONNECT, perhaps in the clear, it cannot be about this client.
        if let Some(account) = said.remote_account
            && !matches!(self.claims, Claims::Silent)
        {
            self.set_account(account);
        }
    }

    /// Whether the server requires credentials.
    pub(super) const fn auth_required(&self) -> bool {
        self.server.auth_required
    }

    /// Reads a CONNECT, which the server accepts, or else ends the connection. A later one must prove the same names again.
    pub(super) fn read_connect(
        &mut self,
        credentials: &Credentials<'_>,
        verified: &[Credential],
        clock: &Clock,
    ) {
        if matches!(self.claims, Claims::Unclear) {
            return;
        }
        let proof = proof::proof(credentials, &self.server, verified, clock.wall());
        let Proof { names, valid_for } = proof;
        let until = valid_for.and_then(|valid_for| clock.instant().checked_add(valid_for));
        self.claims = match &self.claims {
            Claims::Silent => Claims::Proven(names, until),
            Claims::Proven(before, _) if !before.is_empty() && *before == names => {
                Claims::Proven(names, until)
            }
            Claims::Proven(..) | Claims::Unclear => Claims::Unclear,
        };
        self.changed();
    }

    /// Decides again which keyrings are denied, if they or the client's names may have changed.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot, now: Instant) {
        self.expire(now);
        let decided = Some((snapshot.generation(), self.epoch));
        if self.decided == decided {
            return;
        }
        self.decided = decided;
        let policy = snapshot.policy();
        self.publish_denied =
            DeniedKeyrings::new(policy, |rule| !rule.publish_by.admit(self.names()));
        self.deliver_denied =
            DeniedKeyrings::new(policy, |rule| !rule.deliver_to.admit(self.names()));
    }

    /// Drops the names if the JWT has expired. The server ends the connection, too, but in its own time.
    fn expire(&mut self, now: Instant) {
        if matches!(self.claims, Claims::Proven(_, Some(until)) if until <= now) {
            self.claims = Claims::Unclear;
            self.changed();
        }
    }

    /// The server named the client's account.
    fn set_account(&mut self, said: &[u8]) {
        let name = std::str::from_utf8(said).ok();
        let name = name.and_then(|name| ClientName::proven(IdentityKind::Account, name));
        self.account = match (&self.account, name) {
            (Account::Named(before), Some(name)) if *before == name => return,
            (Account::Unknown, Some(name)) => Account::Named(name),
            (Account::Unknown, None) => return,
            (Account::Named(_) | Account::Unclear, _) => Account::Unclear,
        };
        self.changed();
    }

    /// All verified names.
    pub(super) fn names(&self) -> impl Iterator<Item = &ClientName> {
        let (claimed, account) = match (&self.claims, &self.account) {
            (Claims::Proven(names, _), Account::Named(name)) => (names.as_slice(), Some(name)),
            (Claims::Proven(names, _), Account::Unknown | Account::Unclear) => {
                (names.as_slice(), None)
            }
            (Claims::Silent | Claims::Unclear, _) => (&[][..], None),
        };
        self.certificate.iter().chain(claimed).chain(account)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.names().map(ClientName::bytes).sum()
    }

    /// The kinds of its names, for a report.
    pub(super) fn kinds(&self) -> IdentityKinds {
        let kinds = self.names().map(ClientName::kind);
        kinds.fold(IdentityKinds::default(), IdentityKinds::with)
    }

    const fn changed(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }
}
