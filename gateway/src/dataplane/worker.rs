//! A thread that carries sessions: one runtime, one set of lanes, one set of meters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle as Thread};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::keyring::{Keys, Lanes, Snapshot, WorkerId};
use crate::metrics::{Throttle, Worker as Meters};
use crate::policy::{KeyringId, Plaintext, Policy};

use super::Config;
use super::address::Ends;
use super::admission::Ticket;
use super::caches::Caches;
use super::deliver::Withheld;
use super::dial::Servers;
use super::pending::Pending;
use super::pool::Pool;
use super::reports::Reports;
use super::secure::{Secure, Tls};
use super::session::{self, Session};
use super::watch;

/// What all workers share.
pub struct Shared {
    pub(super) config: Config,
    pub(super) keys: Arc<Keys>,
    pub(super) clock: Clock,
    pub(super) servers: Servers,
    pub(super) secure: Secure,
    pub(super) reports: Reports,
    pub(super) unreachable: Throttle,
    pub(super) unsealed: Throttle,
}

/// One worker; lives on its thread.
pub struct Worker {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: RefCell<Lanes>,
    pub(super) caches: Caches,
    pub(super) meters: Meters,
    pub(super) pool: Pool,
    pub(super) pending: Pending,
    /// Since when stored messages have been withheld.
    pub(super) withheld: RefCell<Withheld>,
    sessions: RefCell<HashMap<u64, Weak<Session>>>,
    stopping: Cell<bool>,
}

/// A client that was accepted.
pub(super) struct Accepted {
    pub(super) socket: Arrived,
    pub(super) ends: Ends,
    /// Counts accepted connections; names the session in logs.
    pub(super) number: u64,
    /// Its place among those that may be connected.
    pub(super) ticket: Ticket,
}

/// Its socket, on its way to the worker whose runtime will hold it.
pub(super) enum Arrived {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Arrived {
    /// Says why the connection ends; as far as that can be said without waiting.
    pub(super) fn turn_away(&self, why: &[u8]) {
        let said = match self {
            Self::Tcp(stream) => (&mut &*stream).write(why),
            Self::Unix(stream) => (&mut &*stream).write(why),
        };
        if let Err(error) = said {
            tracing::trace!(%error, "a client is turned away without a word");
        }
    }
}

/// The way to a worker. Dropping it asks the worker to drain and end.
pub(super) struct Handle {
    pub(super) accepted: mpsc::UnboundedSender<Accepted>,
    pub(super) thread: Thread<()>,
}

/// Starts the thread.
pub(super) fn start(id: usize, shared: Arc<Shared>) -> io::Result<Handle> {
    let (accepted, queue) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = Builder::new().name(format!("worker-{id}")).spawn(move || {
        LocalSet::new().block_on(&runtime, serve(Worker::new(WorkerId(id), shared), queue));
    })?;
    Ok(Handle { accepted, thread })
}

async fn serve(worker: Worker, mut queue: mpsc::UnboundedReceiver<Accepted>) {
    let worker = Rc::new(worker);
    let mut sessions = JoinSet::new();
    let mut changes = worker.shared.keys.changes();
    // One of the workers does it, for it is done as for a session.
    let watching = (worker.id == WorkerId(0)).then(|| spawn_local(watch::run(Rc::clone(&worker))));
    loop {
        tokio::select! {
            accepted = queue.recv() => match accepted {
                Some(accepted) => drop(sessions.spawn_local(session::run(Rc::clone(&worker), accepted))),
                None => break,
            },
            Some(_ended) = sessions.join_next() => {}
            () = changes.next() => worker.renew(),
        }
    }
    watching.iter().for_each(JoinHandle::abort);
    worker.stop_sessions();
    let drained = timeout(worker.shared.config.drain, async {
        while sessions.join_next().await.is_some() {}
    })
    .await;
    if drained.is_err() {
        tracing::warn!(
            sessions = sessions.len(),
            "closing sessions that did not end in time"
        );
    }
}

impl Shared {
    /// Whether the keyring's subjects carry plaintext, while a migration lasts.
    pub(super) fn accepts_plaintext(&self, policy: &Policy, keyring: KeyringId) -> bool {
        match policy.keyring(keyring).map(|rule| rule.plaintext) {
            Some(Plaintext::Accept { until }) => self.clock.wall() < until,
            Some(Plaintext::Reject) | None => false,
        }
    }

    /// Shared state of workers that have yet to start.
    #[must_use]
    pub fn new(config: Config, keys: Arc<Keys>, clock: Clock) -> Self {
        let servers = Servers::new(config.servers.clone(), config.dial_timeout);
        Self {
            config,
            keys,
            clock,
            servers,
            secure: Secure::new(Tls::default()),
            reports: Reports::default(),
            unreachable: Throttle::new(),
            unsealed: Throttle::new(),
        }
    }
}

impl Shared {
    /// The same, with TLS.
    #[must_use]
    pub fn with(self, tls: Tls) -> Self {
        let secure = Secure::new(tls);
        let servers = if secure.reaches_servers() {
            self.servers.secured()
        } else {
            self.servers
        };
        Self {
            secure,
            servers,
            ..self
        }
    }
}

impl Worker {
    /// A worker for the thread that calls.
    #[must_use]
    pub fn new(id: WorkerId, shared: Arc<Shared>) -> Self {
        let snapshot = shared.keys.load();
        let meters = Meters::new(
            snapshot
                .policy()
                .keyrings()
                .iter()
                .map(|rule| rule.name.as_str()),
        );
        let pending = Pending::new(shared.config.pending_each());
        let lanes = RefCell::new(Lanes::new(id, shared.clock.instant()));
        drop(snapshot);
        Self {
            id,
            shared,
            lanes,
            caches: Caches::default(),
            meters,
            pool: Pool::default(),
            pending,
            withheld: RefCell::default(),
            sessions: RefCell::default(),
            stopping: Cell::new(false),
        }
    }

    /// Meters for the keyrings that a reload has added; of no cost while there are none.
    pub(super) fn learn(&self, snapshot: &Snapshot) {
        let rules = snapshot.policy().keyrings().iter();
        self.meters.grow(rules.map(|rule| rule.name.as_str()));
    }

    pub(super) fn enter(&self, number: u64, session: &Rc<Session>) {
        self.meters.connections.increment(1.0);
        drop(
            self.sessions
                .borrow_mut()
                .insert(number, Rc::downgrade(session)),
        );
        if self.stopping.get() {
            session.stop();
        }
    }

    pub(super) fn leave(&self, number: u64) {
        self.meters.connections.decrement(1.0);
        drop(self.sessions.borrow_mut().remove(&number));
    }

    /// The keys have changed: what a version that is gone has left here is wiped, although no message may come for hours.
    fn renew(&self) {
        let snapshot = self.shared.keys.load();
        let now = self.shared.clock.instant();
        self.lanes.borrow_mut().begin(&snapshot, now);
        self.caches.refresh(&snapshot);
    }

    fn stop_sessions(&self) {
        // A session that is still dialling is stopped when it enters.
        self.stopping.set(true);
        for session in self.sessions.borrow().values().filter_map(Weak::upgrade) {
            session.stop();
        }
    }
}
