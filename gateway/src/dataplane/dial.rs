//! Connecting to a NATS server: the list in order, starting with the one that worked last.

use std::io;
use std::iter::Chain;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::{self, Counter};

use super::{ServerAddr, socket};

/// The servers, and which of them worked last; shared by all workers.
pub(super) struct Servers {
    addrs: Vec<ServerAddr>,
    last_good: AtomicUsize,
    timeout: Duration,
    reach: Reachability,
    failed: Counter,
}

/// Whether the last dial reached a NATS server. Clones share it.
#[derive(Clone, Debug)]
pub struct Reachability(Arc<AtomicBool>);

/// Servers not yet tried for a client, in order.
pub(super) struct Untried(Chain<Range<usize>, Range<usize>>);

/// A connection to a server, its index and its address.
pub(super) type Dialled<'s> = (TcpStream, usize, &'s ServerAddr);

/// No server could be reached.
#[derive(Debug, thiserror::Error)]
#[error("no server could be reached; the last tried was {addr}: {source}")]
pub(super) struct Unreachable {
    addr: String,
    source: io::Error,
}

impl Default for Reachability {
    /// Reachable until a dial has failed.
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Reachability {
    /// Whether the last dial reached a server that sent INFO.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A dial reached a server that sent INFO.
    pub fn found(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// A dial reached none.
    pub fn lost(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Untried {
    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.clone().next().is_none()
    }
}

impl Servers {
    pub(super) fn new(addrs: Vec<ServerAddr>, timeout: Duration) -> Self {
        Self {
            addrs,
            last_good: AtomicUsize::new(0),
            timeout,
            reach: Reachability::default(),
            failed: metrics::dials_failed(),
        }
    }

    /// Shared with the health endpoint.
    pub(super) fn reach(&self) -> Reachability {
        self.reach.clone()
    }

    /// The server at `index` is unusable: the next dial begins with the one after it.
    pub(super) fn pass_over(&self, index: usize) {
        let next = index.saturating_add(1);
        let next = if next < self.addrs.len() { next } else { 0 };
        // Fails when another session has already moved on to another server, which is as good.
        _ = self
            .last_good
            .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        self.failed.increment(1);
        self.reach.lost();
    }

    /// All of them, the one that worked last first.
    pub(super) fn untried(&self) -> Untried {
        let first = self.last_good.load(Ordering::Relaxed);
        Untried((first..self.addrs.len()).chain(0..first))
    }

    /// Connects to the first untried server that accepts; counts those that do not.
    ///
    /// # Errors
    /// [`Unreachable`] when all failed.
    pub(super) async fn dial(&self, untried: &mut Untried) -> Result<Dialled<'_>, Unreachable> {
        let mut last = Unreachable {
            addr: "none".to_owned(),
            source: io::ErrorKind::NotFound.into(),
        };
        for index in untried.0.by_ref() {
            let Some(addr) = self.addrs.get(index) else {
                continue;
            };
            match connect(addr, self.timeout).await {
                Ok(stream) => {
                    // Whether it is a NATS server is known once it has sent INFO.
                    self.last_good.store(index, Ordering::Relaxed);
                    return Ok((stream, index, addr));
                }
                Err(source) => {
                    self.failed.increment(1);
                    tracing::trace!(server = %addr, error = %source, "cannot reach a server");
                    last = Unreachable {
                        addr: addr.to_string(),
                        source,
                    };
                }
            }
        }
        self.reach.lost();
        Err(last)
    }
}

async fn connect(addr: &ServerAddr, within: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((addr.host.as_str(), addr.port));
    let stream = timeout(within, connecting)
        .await
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    socket::set_keepalive(&stream)?;
    Ok(stream)
}
