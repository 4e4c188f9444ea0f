//! How a session takes leave of its client when the gateway stops, as nats-server does in its lame duck mode.
//!
//! First the client is told, by an INFO that says `ldm`, so that whoever wants to can move on. Later the connection is closed: what
//! the client has sent goes out, then a `PING` of the gateway's own, and when its `PONG` has come the client has been given all that
//! the server had for it until then. Then the client reads the end of the stream, and what it sends until it closes in return goes out, too:
//! of somebody who never pauses something is always under way.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::address::Ends;

/// How long the names of other gateways may take to be resolved.
const LOOKUP: Duration = Duration::from_secs(1);

/// How far stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not at all.
    Serves,
    /// Clients are told.
    LameDuck,
    /// Connections are closed, one after the other.
    Closes,
    /// The rest of them at once: clients must not be kept.
    Moves,
    /// What is left is dropped.
    Over,
}

/// A gateway that clients may reconnect to.
#[derive(Clone, Debug)]
pub(super) struct Other {
    /// `host:port`, as configured.
    text: String,
    /// Where that leads, as far as it can be told.
    leads: Vec<SocketAddr>,
}

/// Where clients of a gateway that stops can go.
pub(super) type Others = Arc<[Other]>;

/// What one session has been asked to say and do.
#[derive(Default)]
pub(super) struct Parting {
    /// The client is to be told.
    owed: RefCell<Option<Others>>,
    closes: Cell<bool>,
    /// Wakes the deliver direction.
    pub(super) news: Notify,
    /// Wakes the publish direction: the client reads the end of the stream.
    pub(super) told: Notify,
}

impl Parting {
    /// The client is to be told as soon as it may hear it.
    pub(super) fn announce(&self, others: &Others) {
        self.owed.replace(Some(Arc::clone(others)));
        self.news.notify_one();
    }

    /// What the client is yet to be told; once.
    pub(super) fn take(&self) -> Option<Others> {
        self.owed.take()
    }

    /// Whether the client is yet to be told.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.borrow().is_some()
    }

    pub(super) fn close(&self) {
        self.closes.set(true);
    }

    /// Whether the connection is to be closed.
    pub(super) const fn closes(&self) -> bool {
        self.closes.get()
    }
}

/// Finds out where each `host:port` leads, so that nobody is sent back to where they are.
pub(super) async fn resolve(advertised: &[String]) -> Others {
    let mut others = Vec::with_capacity(advertised.len());
    for text in advertised {
        let found = timeout(LOOKUP, lookup_host(text)).await;
        let leads = found.map(|found| found.map(Iterator::collect).unwrap_or_default());
        others.push(Other {
            text: text.clone(),
            leads: leads.unwrap_or_default(),
        });
    }
    others.into()
}

/// The same for a gateway whose successor has its addresses.
pub(super) fn all(advertised: &[String]) -> Others {
    let other = |text: &String| Other {
        text: text.clone(),
        leads: Vec::new(),
    };
    advertised.iter().map(other).collect()
}

/// `connect_urls` for a client that came this way.
pub(super) fn urls(others: &[Other], ends: Ends) -> Vec<String> {
    let here = |other: &&Other| ends.gateway.is_none_or(|addr| !other.leads.contains(&addr));
    let elsewhere = others.iter().filter(here);
    elsewhere.map(|other| other.text.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_are_sent_elsewhere_and_not_back() {
        let advertised = ["127.0.0.1:4223", "127.0.0.1:4224", "[::1]:4223"].map(str::to_owned);
        let ends = Ends {
            client: Some(([127, 0, 0, 1], 9).into()),
            gateway: Some(([127, 0, 0, 1], 4223).into()),
        };
        let others = resolve(&advertised).await;
        assert_eq!(urls(&others, ends), advertised[1..]);
        assert_eq!(urls(&all(&advertised), ends), advertised);
    }
}
