//! A socket, a buffer, a back-pressure decision, a connection's end.
//!
//! The life of a message, stage by stage. [`session`] names the stages of a connection, [`publish`] and [`deliver`] those of
//! a batch:
//!
//! ```text
//! accept (listener) → TLS (secure) → dial → greet (INFO) → TLS where it comes behind INFO
//!   publish:  fill from the client → parse → policy → seal → write → flush to the server
//!   deliver:  fill from the server → parse → policy → open → write → flush to the client
//! ```
//!
//! [`PublishPath`] and [`DeliverPath`] are those stages without the sockets: bytes in, bytes out. Benches and the allocation test
//! drive the very code that sessions run.
//!
//! One task carries a session; both directions run in it, so that what they share needs no lock. A direction reads again only
//! after its last batch was written: a slow peer stops its own traffic and nobody else's.

mod address;
mod admission;
mod caches;
mod config;
mod deliver;
mod dial;
mod encrypted;
mod greet;
mod identity;
mod link;
mod listener;
mod meaning;
mod pending;
mod pool;
mod publish;
mod refusals;
mod replies;
mod reports;
mod route_cache;
mod secure;
mod session;
mod socket;
mod watch;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::keyring::Keys;

pub use address::{Ends, ListenAddr};
pub use admission::Crowd;
pub use config::{Config, ServerAddr};
pub use deliver::{DeliverBatch, DeliverPath};
pub use dial::Reach;
#[cfg(any(test, fuzzing))]
pub use identity::check;
pub use link::Link;
pub use publish::{PublishBatch, PublishPath};
pub use secure::Tls;
pub use worker::{Shared, Worker};

use admission::Admission;
use listener::{Door, Listener};
use worker::Handle;

/// The running message path.
pub struct Dataplane {
    addrs: Vec<ListenAddr>,
    reach: Reach,
    listeners: JoinSet<()>,
    workers: Vec<Handle>,
}

/// The message path could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listen address could not be bound.
    #[error(
        "cannot listen on {addr}: {source}; choose another `listen` address, or stop what holds this one"
    )]
    Listen {
        /// The address asked for.
        addr: ListenAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A worker thread could not be started.
    #[error("cannot start a worker thread: {0}")]
    Worker(io::Error),
}

impl Faulty for StartError {
    fn fault(&self) -> Fault {
        match self {
            Self::Listen { .. } => Fault {
                who: Who::Operator,
                retry: Retry::Never,
            },
            Self::Worker(_) => Fault {
                who: Who::Operator,
                retry: Retry::Later,
            },
        }
    }
}

impl Dataplane {
    /// Binds the listeners and starts the workers. Must be called within a tokio runtime, which will accept connections.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: Config,
        keys: Arc<Keys>,
        tls: Tls,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let bound = config
            .listen
            .iter()
            .map(bind)
            .collect::<Result<Vec<_>, _>>()?;
        let (addrs, bound): (_, Vec<_>) = bound.into_iter().unzip();
        let count = config.worker_count();
        let shared = Arc::new(Shared::new(config, keys, clock).with(tls));
        let workers = (0..count)
            .map(|id| worker::start(id, Arc::clone(&shared)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(StartError::Worker)?;
        let door = Door {
            counter: AtomicU64::new(1),
            admission: Arc::new(Admission::new(shared.config.crowd)),
            clock: shared.clock.clone(),
        };
        let door = Arc::new(door);
        let mut listeners = JoinSet::new();
        for listener in bound {
            let queues = workers
                .iter()
                .map(|worker| worker.accepted.clone())
                .collect();
            listeners.spawn(listener::accept(listener, queues, Arc::clone(&door)));
        }
        Ok(Self {
            addrs,
            reach: shared.servers.reach(),
            listeners,
            workers,
        })
    }

    /// Where clients can connect.
    #[must_use]
    pub fn addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// Tells whether a server was reached last time; looked for every second while none is.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// Stops accepting, ends every session as if its client had closed, and waits until all have ended or the drain time is over.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
        let threads: Vec<_> = self.workers.drain(..).map(|worker| worker.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .filter_map(|thread| thread.join().err())
                .count()
        })
        .await;
        let panicked = joined.unwrap_or(0);
        if panicked != 0 {
            tracing::error!(panicked, "worker threads ended by a panic");
        }
    }
}

fn bind(addr: &ListenAddr) -> Result<(ListenAddr, Listener), StartError> {
    let failed = |source| StartError::Listen {
        addr: addr.clone(),
        source,
    };
    let listener = Listener::bind(addr).map_err(failed)?;
    Ok((listener.addr().map_err(failed)?, listener))
}
