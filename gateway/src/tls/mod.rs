//! TLS configuration from files: certificates, keys, CAs and revocation lists.
//!
//! [`Acceptor`] is for clients, [`Dialer`] for servers. Each is made of files by [`ReloadableConfig::load`], whose errors name the file;
//! [`ReloadableConfig::reload`] reads them again and swaps the whole configuration, or keeps the one that works. A handshake uses the
//! configuration of its moment; existing connections keep theirs.
//!
//! TLS 1.2 and 1.3 with the crate's one provider, no ALPN (NATS has none). Sessions are not resumed: connections are long-lived,
//! and so every handshake checks the peer's certificate by the current revocation list.

mod accept;
mod certificate;
mod dial;
mod error;
mod failure;
mod files;
mod help;
mod private_key;
mod reloadable;
mod revocation;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock::Clock;

pub use certificate::{CertificateInfo, Names, Peer, Warning};
pub use error::Error;
pub use failure::{Failure, FailureTable};
pub use files::Contents;
pub use reloadable::{Built, Changed, ReloadableConfig, Settings};
pub use settings::{
    Authorities, ClientAuth, HandshakeOrder, ListenerTls, Pair, Role, ServerTls, TlsPolicy,
};

/// TLS with clients.
pub type Acceptor = ReloadableConfig<ListenerTls>;

/// TLS with servers.
pub type Dialer = ReloadableConfig<ServerTls>;

/// The crate's one provider, which also seals envelopes.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The crate's clock, for rustls.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.wall().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}
