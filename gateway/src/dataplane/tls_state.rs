//! TLS configuration, its metrics and its log throttles.

use std::sync::Arc;
use std::time::Instant;

use strum::VariantArray as _;

use crate::metrics::{HandshakeMetrics, Side, SideTable, Throttle};
use crate::tls::{Acceptor, ClientAuth, Dialer, Failure, FailureTable, TlsPolicy};
use crate::wire::info::Tls as InfoTls;

use super::address::Endpoints;

/// TLS on both sides; a handshake uses the configuration of its moment.
#[derive(Clone, Default)]
pub struct Tls {
    /// With clients.
    pub clients: Option<Arc<Acceptor>>,
    /// With servers.
    pub servers: Option<Arc<Dialer>>,
}

/// TLS configuration, metrics and log throttles, shared by all workers.
pub(super) struct TlsState {
    pub(super) tls: Tls,
    pub(super) handshakes: HandshakeMetrics,
    throttles: SideTable<FailureTable<Throttle>>,
}

impl TlsState {
    pub(super) fn new(tls: Tls) -> Self {
        Self {
            tls,
            handshakes: HandshakeMetrics::new(Failure::VARIANTS.iter().map(<&str>::from)),
            throttles: SideTable::default(),
        }
    }

    /// The TLS fields of INFO; none at a unix socket.
    pub(super) fn info_tls(&self, ends: &Endpoints) -> InfoTls {
        let (Some(acceptor), Some(_network)) = (&self.tls.clients, ends.gateway) else {
            return InfoTls::None;
        };
        let settings = acceptor.settings();
        match (settings.demand, &settings.clients) {
            (TlsPolicy::Optional, _) => InfoTls::Available,
            (TlsPolicy::Required, ClientAuth::Required(_)) => InfoTls::Verified,
            (TlsPolicy::Required, ClientAuth::NotRequested | ClientAuth::Optional(_)) => {
                InfoTls::Required
            }
        }
    }

    /// Whether TLS with servers is configured.
    pub(super) const fn has_servers(&self) -> bool {
        self.tls.servers.is_some()
    }

    /// Counts a failure. If it may be logged: how many lines were left out before it.
    pub(super) fn failed(&self, side: Side, failure: Failure, now: Instant) -> Option<u64> {
        self.handshakes.failed(side, <&str>::from(failure));
        self.throttles[side][failure].admit(now)
    }
}
