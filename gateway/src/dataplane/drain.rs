//! Draining sessions when the gateway stops, like nats-server's lame duck mode.
//!
//! First the client gets an INFO with `ldm`, so that it can reconnect elsewhere. When its turn to be closed has come, what it has
//! sent is forwarded, then a `PING` of the gateway's own; with its `PONG` everything that the server had for the client until
//! then has been delivered. Then the client's stream is half-closed, and what it sends until it closes, too, is still forwarded:
//! a busy publisher always has something in flight.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::address::Endpoints;

/// The time to resolve the name of an advertised gateway.
const LOOKUP: Duration = Duration::from_secs(1);

/// The stages of stopping, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DrainStage {
    /// Not stopping.
    Serves,
    /// Clients are sent `ldm`.
    LameDuck,
    /// Connections are closed, one after the other.
    Closes,
    /// The remaining ones are closed at once: clients have to move.
    Moves,
    /// Remaining sessions are dropped.
    Over,
}

/// A gateway that clients may reconnect to.
#[derive(Clone, Debug)]
pub(super) struct AdvertisedGateway {
    /// `host:port`, as configured.
    text: String,
    /// Its resolved addresses; empty if unknown.
    addrs: Vec<SocketAddr>,
}

/// Gateways that clients can reconnect to.
pub(super) type AdvertisedGateways = Arc<[AdvertisedGateway]>;

/// What one session has been asked to do.
#[derive(Default)]
pub(super) struct SessionDrain {
    /// The INFO with `ldm` that is to be sent.
    announcement: RefCell<Option<AdvertisedGateways>>,
    closes: Cell<bool>,
    /// Wakes the deliver direction.
    pub(super) wake_deliver: Notify,
    /// Wakes the publish direction: the client's stream has been half-closed.
    pub(super) wake_publish: Notify,
}

impl SessionDrain {
    /// Sends the client `ldm` as soon as it accepts an asynchronous INFO.
    pub(super) fn announce(&self, others: &AdvertisedGateways) {
        self.announcement.replace(Some(Arc::clone(others)));
        self.wake_deliver.notify_one();
    }

    pub(super) fn take_announcement(&self) -> Option<AdvertisedGateways> {
        self.announcement.take()
    }

    pub(super) fn has_announcement(&self) -> bool {
        self.announcement.borrow().is_some()
    }

    pub(super) fn close(&self) {
        self.closes.set(true);
    }

    pub(super) const fn closes(&self) -> bool {
        self.closes.get()
    }
}

/// Resolves each `host:port`, so that [`urls`] can leave out this gateway.
pub(super) async fn resolve(advertised: &[String]) -> AdvertisedGateways {
    let mut others = Vec::with_capacity(advertised.len());
    for text in advertised {
        let found = timeout(LOOKUP, lookup_host(text)).await;
        let addrs = found.map(|found| found.map(Iterator::collect).unwrap_or_default());
        others.push(AdvertisedGateway {
            text: text.clone(),
            addrs: addrs.unwrap_or_default(),
        });
    }
    others.into()
}

/// All of them, this gateway's own addresses included: another process has taken those over.
pub(super) fn all(advertised: &[String]) -> AdvertisedGateways {
    let other = |text: &String| AdvertisedGateway {
        text: text.clone(),
        addrs: Vec::new(),
    };
    advertised.iter().map(other).collect()
}

/// `connect_urls` for a client: the gateways at other addresses than the one that it is connected to.
pub(super) fn urls(others: &[AdvertisedGateway], ends: Endpoints) -> Vec<String> {
    let here =
        |other: &&AdvertisedGateway| ends.gateway.is_none_or(|addr| !other.addrs.contains(&addr));
    let elsewhere = others.iter().filter(here);
    elsewhere.map(|other| other.text.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_are_sent_elsewhere_and_not_back() {
        let advertised = ["127.0.0.1:4223", "127.0.0.1:4224", "[::1]:4223"].map(str::to_owned);
        let ends = Endpoints {
            client: Some(([127, 0, 0, 1], 9).into()),
            gateway: Some(([127, 0, 0, 1], 4223).into()),
        };
        let others = resolve(&advertised).await;
        assert_eq!(urls(&others, ends), advertised[1..]);
        assert_eq!(urls(&all(&advertised), ends), advertised);
    }
}
