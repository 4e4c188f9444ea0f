//! A certificate: whose it is, what is wrong with it, when it expires.
//!
//! Two halves, each configured for itself: [`Acceptor`] is what clients meet at the listener, [`Dialer`] what the gateway shows and
//! believes when it connects to a server. Each is made of files by [`Live::load`], which says of every mistake which file it is in;
//! [`Live::reload`] reads them again and swaps the whole configuration, or keeps the one that works. A handshake takes the
//! configuration of its moment; connections that are there keep theirs.
//!
//! TLS 1.2 and 1.3 with the one provider of the crate, no ALPN (NATS has none). Sessions are not resumed: connections to a bus live
//! long, and so every handshake checks the peer's certificate by today's revocation list.

mod accept;
mod certificate;
mod dial;
mod error;
mod failure;
mod help;
mod live;
mod private;
mod read;
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

pub use certificate::{Doubt, Fact, Names, Peer};
pub use error::Error;
pub use failure::Failure;
pub use live::{Built, Changed, Live, Settings};
pub use read::Contents;
pub use settings::{Authorities, Clients, Demand, Handshake, Listener, Pair, Role, ToServer};

/// What clients meet at the listener.
pub type Acceptor = Live<Listener>;

/// What the gateway shows to servers, and believes of them.
pub type Dialer = Live<ToServer>;

/// The one provider: that of the envelopes.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The crate's clock, as rustls asks it.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.wall().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}
