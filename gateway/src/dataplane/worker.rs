//! A worker thread: one runtime with its sessions, lanes and meters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle as Thread};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch as stages};
use tokio::task::{JoinError, JoinHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::keyring::{Keys, Lanes, Snapshot, WorkerId};
use crate::metrics::{Throttle, Worker as Meters};
use crate::policy::{KeyringId, Plaintext, Policy};

use super::Config;
use super::account::Memory;
use super::address::Ends;
use super::admission::Ticket;
use super::caches::Caches;
use super::deliver::Withheld;
use super::dial::Servers;
use super::link::Link;
use super::parting::{Others, Stage};
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
    /// Client connections open now.
    pub(super) clients: AtomicUsize,
    /// The stage of stopping.
    pub(super) stage: stages::Sender<Stage>,
    /// Gateways that clients can reconnect to when this one stops.
    pub(super) others: OnceLock<Others>,
    /// For refused PROXY headers.
    pub(super) unbelieved: Throttle,
    /// For servers that do not verify `proxy_sig`.
    pub(super) unsigned: Throttle,
    /// For peers that are no NATS servers.
    pub(super) strange: Throttle,
    /// For peers that were shed.
    pub(super) shed: Throttle,
}

/// One worker; stays on its thread.
pub struct Worker {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: RefCell<Lanes>,
    pub(super) caches: Caches,
    pub(super) meters: Meters,
    pub(super) pool: Pool,
    pub(super) pending: Pending,
    /// For the state of its sessions.
    pub(super) memory: Rc<Memory>,
    /// Since when stored messages have been withheld.
    pub(super) withheld: RefCell<Withheld>,
    sessions: RefCell<HashMap<u64, Weak<Session>>>,
    stage: Cell<Stage>,
}

/// A client that was accepted.
pub(super) struct Accepted {
    pub(super) socket: Arrived,
    pub(super) ends: Ends,
    /// The session's number, for logs.
    pub(super) number: u64,
    pub(super) ticket: Ticket,
}

/// Its socket, not yet registered with a worker's runtime.
pub(super) enum Arrived {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Arrived {
    /// Sends why the connection is refused, if the socket takes it at once.
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

/// A running worker. It ends once this is dropped and its last session has ended.
pub(super) struct Handle {
    pub(super) accepted: mpsc::UnboundedSender<Accepted>,
    /// Answered by a worker that does not hang.
    pub(super) probes: mpsc::UnboundedSender<oneshot::Sender<()>>,
    pub(super) thread: Thread<()>,
}

/// Starts the thread, which drops `prepares` once its lanes are drawn.
pub(super) fn start(
    id: usize,
    shared: Arc<Shared>,
    prepares: Sender<Infallible>,
) -> io::Result<Handle> {
    let (accepted, queue) = mpsc::unbounded_channel();
    let (probes, probed) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = Builder::new().name(format!("worker-{id}")).spawn(move || {
        let worker = Worker::new(WorkerId(id), shared);
        // Spawned like a session: the future that a LocalSet runs is polled whenever any task is.
        let serve = async move { spawn_local(serve(worker, prepares, queue, probed)).await };
        let served = LocalSet::new().block_on(&runtime, serve);
        if let Err(Ok(panic)) = served.map_err(JoinError::try_into_panic) {
            std::panic::resume_unwind(panic);
        }
    })?;
    Ok(Handle {
        accepted,
        probes,
        thread,
    })
}

async fn serve(
    worker: Worker,
    prepares: Sender<Infallible>,
    mut queue: mpsc::UnboundedReceiver<Accepted>,
    mut probes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
) {
    let worker = Rc::new(worker);
    let mut sessions = JoinSet::new();
    let mut changes = worker.shared.keys.changes();
    worker.renew();
    drop(prepares);
    // On one of the workers, because the probe connects like a session.
    let watching = (worker.id == WorkerId(0)).then(|| spawn_local(watch::run(Rc::clone(&worker))));
    let mut stages = worker.shared.stage.subscribe();
    let mut closing = std::pin::pin!(close_in_turn(Rc::clone(&worker)));
    let mut accepts = true;
    while accepts || !sessions.is_empty() {
        tokio::select! {
            accepted = queue.recv(), if accepts => match accepted {
                Some(accepted) => drop(sessions.spawn_local(session::run(Rc::clone(&worker), accepted))),
                None => accepts = false,
            },
            Some(_ended) = sessions.join_next() => {}
            () = changes.next() => worker.renew(),
            Some(probe) = probes.recv() => drop(probe.send(())),
            Ok(()) = stages.changed() => worker.reach(*stages.borrow_and_update()),
            () = &mut closing => break,
        }
    }
    watching.iter().for_each(JoinHandle::abort);
    if !sessions.is_empty() {
        tracing::warn!(
            sessions = sessions.len(),
            "closing sessions that have not ended"
        );
    }
}

/// Waits until connections are to be closed, closes them one after the other, and returns when the rest is to be dropped.
async fn close_in_turn(worker: Rc<Worker>) {
    let mut stages = worker.shared.stage.subscribe();
    let over = {
        let mut stages = worker.shared.stage.subscribe();
        async move { drop(stages.wait_for(|stage| *stage == Stage::Over).await) }
    };
    let course = async {
        drop(stages.wait_for(|stage| *stage >= Stage::Closes).await);
        worker.reach(Stage::Closes);
        let shutdown = worker.shared.config.shutdown;
        let turns = worker.sessions();
        let pause = u32::try_from(turns.len()).ok();
        let pause = pause.and_then(|count| shutdown.spread.checked_div(count));
        for session in turns.iter().filter_map(Weak::upgrade) {
            session.close();
            drop(session);
            tokio::select! {
                () = sleep(pause.unwrap_or(Duration::ZERO)) => {}
                _moves = stages.wait_for(|stage| *stage >= Stage::Moves) => {}
            }
        }
        sleep(shutdown.drain).await;
    };
    tokio::select! {
        () = over => {}
        () = course => {}
    }
}

impl Shared {
    /// Whether plaintext is accepted on the keyring's subjects, during a migration.
    pub(super) fn accepts_plaintext(&self, policy: &Policy, keyring: KeyringId) -> bool {
        match policy.keyring(keyring).map(|rule| rule.plaintext) {
            Some(Plaintext::Accept { until }) => self.clock.wall() < until,
            Some(Plaintext::Reject) | None => false,
        }
    }

    /// For workers that are yet to be started; without TLS.
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
            clients: AtomicUsize::new(0),
            stage: stages::Sender::new(Stage::Serves),
            others: OnceLock::new(),
            unbelieved: Throttle::new(),
            unsigned: Throttle::new(),
            strange: Throttle::new(),
            shed: Throttle::new(),
        }
    }
}

impl Shared {
    /// The same, with TLS.
    #[must_use]
    pub fn with(self, tls: Tls) -> Self {
        let secure = Secure::new(tls);
        Self { secure, ..self }
    }
}

impl Worker {
    /// A worker for the calling thread.
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
        let memory = Memory::new(shared.config.memory_each());
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
            memory,
            withheld: RefCell::default(),
            sessions: RefCell::default(),
            stage: Cell::new(Stage::Serves),
        }
    }

    /// The state of a new session.
    #[must_use]
    pub fn link(&self, ends: Ends) -> Link {
        Link::new(ends, self.memory.open())
    }

    /// Adds meters for keyrings that a reload has added; costs nothing while there are none.
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
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        let stage = self.stage.get();
        if stage >= Stage::LameDuck {
            self.announce(session);
        }
        if stage >= Stage::Closes {
            session.close();
        }
    }

    pub(super) fn leave(&self, number: u64) {
        self.meters.connections.decrement(1.0);
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
        drop(self.sessions.borrow_mut().remove(&number));
    }

    /// After a change of keys: drops lanes of versions that are gone and draws new ones, without waiting for a message.
    fn renew(&self) {
        let snapshot = self.shared.keys.load();
        let now = self.shared.clock.instant();
        self.learn(&snapshot);
        let drawn = |keyring: KeyringId| {
            let meters = self.meters.keyring(Some(keyring.index()));
            meters.lanes_started.add(1);
        };
        self.lanes.borrow_mut().prepare(&snapshot, now, drawn);
        self.caches.refresh(&snapshot);
        self.meters.flush();
    }

    /// Enters a stage of stopping; later sessions learn of it in `register`.
    fn reach(&self, stage: Stage) {
        let before = self.stage.replace(stage.max(self.stage.get()));
        if before < Stage::LameDuck && stage >= Stage::LameDuck {
            for session in self.sessions().iter().filter_map(Weak::upgrade) {
                self.announce(&session);
            }
        }
    }

    fn announce(&self, session: &Session) {
        if let Some(others) = self.shared.others.get() {
            session.parting.announce(others);
        }
    }

    /// By number: the oldest first.
    fn sessions(&self) -> Vec<Weak<Session>> {
        let sessions = self.sessions.borrow();
        let mut sessions: Vec<_> = sessions.iter().map(|(n, s)| (*n, Weak::clone(s))).collect();
        sessions.sort_by_key(|(number, _session)| *number);
        sessions
            .into_iter()
            .map(|(_number, session)| session)
            .collect()
    }
}
