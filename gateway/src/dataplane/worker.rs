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
use crate::metrics::{Throttle, WorkerMetrics as Meters};
use crate::policy::{KeyringId, Plaintext, Policy};

use super::Config;
use super::address::Endpoints;
use super::backpressure::PendingMemory;
use super::buffer_pool::BufferPool;
use super::connection_limits::Ticket;
use super::deliver::AccountTimers;
use super::dial::Servers;
use super::drain::{AdvertisedGateways, DrainStage};
use super::lane_caches::Caches;
use super::memory::MemoryPool;
use super::refusal_log::RefusalLog;
use super::server_probe;
use super::session::{self, Session};
use super::session_state::SessionState;
use super::tls_handshake::{Tls, TlsState};

/// What all workers share.
pub struct Shared {
    pub(super) config: Config,
    pub(super) keys: Arc<Keys>,
    pub(super) clock: Clock,
    pub(super) servers: Servers,
    pub(super) tls: TlsState,
    pub(super) refusal_log: RefusalLog,
    pub(super) unreachable: Throttle,
    pub(super) unsealed: Throttle,
    /// Client connections open now.
    pub(super) clients: AtomicUsize,
    /// The stage of stopping.
    pub(super) stage: stages::Sender<DrainStage>,
    /// Gateways that clients can reconnect to when this one stops.
    pub(super) others: OnceLock<AdvertisedGateways>,
    /// For refused PROXY headers.
    pub(super) refused_headers: Throttle,
    /// For servers that do not verify `proxy_sig`.
    pub(super) unsigned: Throttle,
    /// For peers that are no NATS servers.
    pub(super) not_nats: Throttle,
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
    pub(super) pool: BufferPool,
    pub(super) pending: PendingMemory,
    /// For the state of its sessions.
    pub(super) memory: Rc<MemoryPool>,
    /// Since when stored messages have been withheld.
    pub(super) withheld: RefCell<AccountTimers>,
    sessions: RefCell<HashMap<u64, Weak<Session>>>,
    stage: Cell<DrainStage>,
}

/// A client that was accepted.
pub(super) struct Accepted {
    pub(super) socket: AcceptedSocket,
    pub(super) ends: Endpoints,
    /// The session's number, for logs.
    pub(super) number: u64,
    pub(super) ticket: Ticket,
}

/// Its socket, not yet registered with a worker's runtime.
pub(super) enum AcceptedSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AcceptedSocket {
    /// Sends why the connection is refused, if the socket takes it at once.
    pub(super) fn reject(&self, why: &[u8]) {
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
pub(super) struct WorkerHandle {
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
) -> io::Result<WorkerHandle> {
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
    Ok(WorkerHandle {
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
    worker.refresh_keys();
    drop(prepares);
    // On one of the workers, because the probe connects like a session.
    let watching =
        (worker.id == WorkerId(0)).then(|| spawn_local(server_probe::run(Rc::clone(&worker))));
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
            () = changes.next() => worker.refresh_keys(),
            Some(probe) = probes.recv() => drop(probe.send(())),
            Ok(()) = stages.changed() => worker.set_drain_stage(*stages.borrow_and_update()),
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
        async move { drop(stages.wait_for(|stage| *stage == DrainStage::Over).await) }
    };
    let course = async {
        drop(stages.wait_for(|stage| *stage >= DrainStage::Closes).await);
        worker.set_drain_stage(DrainStage::Closes);
        let shutdown = worker.shared.config.shutdown;
        let turns = worker.sessions();
        let pause = u32::try_from(turns.len()).ok();
        let pause = pause.and_then(|count| shutdown.spread.checked_div(count));
        for session in turns.iter().filter_map(Weak::upgrade) {
            session.close();
            drop(session);
            tokio::select! {
                () = sleep(pause.unwrap_or(Duration::ZERO)) => {}
                _moves = stages.wait_for(|stage| *stage >= DrainStage::Moves) => {}
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
            tls: TlsState::new(Tls::default()),
            refusal_log: RefusalLog::default(),
            unreachable: Throttle::new(),
            unsealed: Throttle::new(),
            clients: AtomicUsize::new(0),
            stage: stages::Sender::new(DrainStage::Serves),
            others: OnceLock::new(),
            refused_headers: Throttle::new(),
            unsigned: Throttle::new(),
            not_nats: Throttle::new(),
            shed: Throttle::new(),
        }
    }
}

impl Shared {
    /// The same, with TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        let tls = TlsState::new(tls);
        Self { tls, ..self }
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
        let pending = PendingMemory::new(shared.config.pending_each());
        let memory = MemoryPool::new(shared.config.memory_each());
        let lanes = RefCell::new(Lanes::new(id, shared.clock.instant()));
        drop(snapshot);
        Self {
            id,
            shared,
            lanes,
            caches: Caches::default(),
            meters,
            pool: BufferPool::default(),
            pending,
            memory,
            withheld: RefCell::default(),
            sessions: RefCell::default(),
            stage: Cell::new(DrainStage::Serves),
        }
    }

    /// The state of a new session.
    #[must_use]
    pub fn session_state(&self, ends: Endpoints) -> SessionState {
        SessionState::new(ends, self.memory.open())
    }

    /// Adds meters for keyrings that a reload has added; costs nothing while there are none.
    pub(super) fn add_keyring_meters(&self, snapshot: &Snapshot) {
        let rules = snapshot.policy().keyrings().iter();
        self.meters.grow(rules.map(|rule| rule.name.as_str()));
    }

    pub(super) fn register(&self, number: u64, session: &Rc<Session>) {
        self.meters.connections.increment(1.0);
        drop(
            self.sessions
                .borrow_mut()
                .insert(number, Rc::downgrade(session)),
        );
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        let stage = self.stage.get();
        if stage >= DrainStage::LameDuck {
            self.announce(session);
        }
        if stage >= DrainStage::Closes {
            session.close();
        }
    }

    pub(super) fn unregister(&self, number: u64) {
        self.meters.connections.decrement(1.0);
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
        drop(self.sessions.borrow_mut().remove(&number));
    }

    /// After a change of keys: drops lanes of versions that are gone and draws new ones, without waiting for a message.
    fn refresh_keys(&self) {
        let snapshot = self.shared.keys.load();
        let now = self.shared.clock.instant();
        self.add_keyring_meters(&snapshot);
        let drawn = |keyring: KeyringId| {
            let meters = self.meters.keyring(Some(keyring.index()));
            meters.lanes_started.add(1);
        };
        self.lanes.borrow_mut().prepare(&snapshot, now, drawn);
        self.caches.refresh(&snapshot);
        self.meters.flush();
    }

    /// Enters a stage of stopping; later sessions learn of it in `register`.
    fn set_drain_stage(&self, stage: DrainStage) {
        let before = self.stage.replace(stage.max(self.stage.get()));
        if before < DrainStage::LameDuck && stage >= DrainStage::LameDuck {
            for session in self.sessions().iter().filter_map(Weak::upgrade) {
                self.announce(&session);
            }
        }
    }

    fn announce(&self, session: &Session) {
        if let Some(others) = self.shared.others.get() {
            session.drain.announce(others);
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
