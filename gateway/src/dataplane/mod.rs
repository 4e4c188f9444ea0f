//! The message path: sockets, buffers, backpressure, and how connections end.
//!
//! [`session`] has the stages of a connection, [`publish`] and [`deliver`] those of a batch:
//!
//! ```text
//! accept (listener) → PROXY header (proxy_protocol) → TLS (tls_handshake) → dial → INFO (greeting) → TLS where it follows INFO
//!   publish:  fill from the client → parse → policy → seal → write → flush to the server
//!   deliver:  fill from the server → parse → policy → open → write → flush to the client
//! ```
//!
//! [`PublishPath`] and [`DeliverPath`] are those stages without the sockets: bytes in, bytes out. Benches and the allocation test
//! drive the very code that sessions run.
//!
//! One task runs both directions of a session, so that their shared state needs no lock. A direction reads again only after its
//! last batch was written: a slow peer stops its own traffic and nobody else's.
//!
//! A file uses lower ranks of this module only:
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `address` | addresses: to listen at, of both ends of a client's connection |
//! | 0 | `buffer_pool` | a worker's idle buffers, and the sizes of reads and batches |
//! | 0 | `connection_limits` | how many connections there may be, in all and from one address |
//! | 0 | `headers` | what headers of messages ask of the server |
//! | 0 | `lane_caches` | the opening lanes that sessions have used |
//! | 0 | `memory` | what a session may remember, in bytes |
//! | 0 | `receive` | one read from a non-blocking socket |
//! | 0 | `refusal_log` | log lines for refused messages, throttled |
//! | 0 | `route_cache` | the last subject of a direction and its policy lookup |
//! | 0 | `socket_error` | why a session gives up one of its sockets |
//! | 1 | `config` | what the message path is configured with |
//! | 1 | `drain` | the stages of stopping, and what a session learns of them |
//! | 1 | `end_reason` | why a session ended |
//! | 1 | `fast_path` | runs of messages with identical control lines |
//! | 1 | `inherited_sockets` | listening sockets that another process has bound |
//! | 1 | `injected_errors` | errors of the gateway's own, in the server's order |
//! | 1 | `replies` | what is known of reply subjects |
//! | 1 | `slow_peers` | peers that keep memory while others wait for it |
//! | 1 | `tls_state` | TLS configuration, its metrics and log throttles |
//! | 1 | `tls_stream` | a TCP connection under TLS |
//! | 1 | `withheld_timers` | since when stored messages have been withheld |
//! | 2 | `byte_semaphore` | bytes, lent in turn |
//! | 2 | `identity` | a client's verified names, and the keyrings that are denied to it |
//! | 3 | `backpressure` | a worker's memory for bytes in hand |
//! | 4 | `socket` | reading, writing and closing |
//! | 5 | `dial` | the servers, and which of them worked last |
//! | 5 | `listener` | accepting clients |
//! | 5 | `session_state` | what both directions of a session share |
//! | 6 | `context` | what all workers share, and what one has for its sessions |
//! | 7 | `proxy_protocol` | PROXY headers, and the signature of a trusted proxy |
//! | 7 | `tls_handshake` | TLS before or behind INFO, on both sides |
//! | 8 | `handshake` | INFO and CONNECT, and what the gateway changes in them |
//! | 9 | `deliver` | server to client: envelopes are opened |
//! | 9 | `publish` | client to server: payloads are sealed |
//! | 10 | `greeting` | what a server says first |
//! | 11 | `server_probe` | whether a server can be reached |
//! | 11 | `session` | one client, from accept to close |
//! | 12 | `worker` | a thread and its sessions, which drain in turn |
//! | 12 | `memory_bounds` | tests: what is remembered stays within its bounds |

mod address;
mod backpressure;
mod buffer_pool;
mod byte_semaphore;
mod config;
mod connection_limits;
mod context;
mod deliver;
mod dial;
mod drain;
mod end_reason;
mod fast_path;
mod greeting;
mod handshake;
mod headers;
mod identity;
mod inherited_sockets;
mod injected_errors;
mod lane_caches;
mod listener;
mod memory;
#[cfg(test)]
mod memory_bounds;
mod proxy_protocol;
mod publish;
mod receive;
mod refusal_log;
mod replies;
mod route_cache;
mod server_probe;
mod session;
mod session_state;
mod slow_peers;
mod socket;
mod socket_error;
mod tls_handshake;
mod tls_state;
mod tls_stream;
mod withheld_timers;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as threads;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::fault::{Fault, faults};
use crate::keyring::Keys;

pub use address::{Endpoints, ListenAddr};
pub use config::{Config, Credential, ProxySettings, ServerAddr, Shutdown};
pub use connection_limits::ConnectionLimits;
pub use context::{Shared, Worker};
pub use deliver::{DeliverBatch, DeliverPath};
pub use dial::Reachability;
#[cfg(any(test, fuzzing))]
pub use identity::check;
pub use inherited_sockets::{BoundBy, HandoverSocket, Inherited, ListenSocket, PathOwner};
pub use listener::bind;
pub use publish::{PublishBatch, PublishPath};
pub use session_state::SessionState;
pub use tls_state::Tls;

use connection_limits::Admission;
use drain::DrainStage;
use listener::{AcceptState, Listener};
use worker::WorkerHandle;

/// The running message path.
pub struct Dataplane {
    addrs: Vec<ListenAddr>,
    reach: Reachability,
    shared: Arc<Shared>,
    listeners: Vec<BoundListener>,
    accepting: JoinSet<()>,
    workers: Vec<WorkerHandle>,
    accept_state: Arc<AcceptState>,
}

/// A listener, and its address as configured.
struct BoundListener {
    configured: ListenAddr,
    listener: Arc<Listener>,
}

/// Whether the workers make progress, and how many clients they have.
pub struct Liveness {
    probes: Vec<mpsc::UnboundedSender<oneshot::Sender<()>>>,
    shared: Arc<Shared>,
}

/// Why a gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// It shuts down: clients are sent to the other advertised gateways.
    Shutdown,
    /// Another process has taken over its listening sockets.
    Handover,
}

/// How the sessions ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// One after the other, each drained.
    Drained,
    /// At once, on a second signal.
    Aborted,
}

/// The message path could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listen address could not be bound.
    #[error("cannot listen on {addr}: {source}")]
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

faults! { StartError {
    Self::Listen { .. } => Fault::operator("choose another `listen` address, or stop what holds this one"),
    Self::Worker(_) => Fault::no_thread(),
} }

impl Dataplane {
    /// Binds the listeners that `inherited` lacks and starts the workers; no client is accepted before [`Dataplane::accept`]. On
    /// return every worker has drawn its lanes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: Config,
        inherited: Vec<Inherited>,
        (keys, tls): (Arc<Keys>, Tls),
        clock: Clock,
    ) -> Result<Self, StartError> {
        let listeners = bind_all(&config.listen, inherited)?;
        let addrs = listeners
            .iter()
            .map(BoundListener::addr)
            .collect::<Result<_, _>>()?;
        let count = config.worker_count();
        let shared = Arc::new(Shared::new(config, keys, clock).with_tls(tls));
        let (prepares, prepared) = threads::channel();
        let workers = (0..count)
            .map(|id| worker::start(id, Arc::clone(&shared), prepares.clone()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(StartError::Worker)?;
        drop(prepares);
        // Ends when the last worker has dropped its end.
        let Err(threads::RecvError) = prepared.recv();
        let accept_state = AcceptState {
            counter: AtomicU64::new(1),
            admission: Arc::new(Admission::new(shared.config.connection_limits)),
            clock: shared.clock.clone(),
        };
        Ok(Self {
            addrs,
            reach: shared.servers.reach(),
            shared,
            listeners,
            accepting: JoinSet::new(),
            workers,
            accept_state: Arc::new(accept_state),
        })
    }

    /// The addresses that clients can connect to.
    #[must_use]
    pub fn addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// Whether a server was reached last time; tried every second while none is.
    #[must_use]
    pub fn reach(&self) -> Reachability {
        self.reach.clone()
    }

    /// Probes of the workers, for a watchdog.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        Liveness {
            probes: self.workers.iter().map(|w| w.probes.clone()).collect(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Accepts clients from now on. Call within a tokio runtime.
    pub fn accept(&mut self) {
        if !self.accepting.is_empty() {
            return;
        }
        for bound in &self.listeners {
            let workers = self.workers.iter().map(|worker| worker.accepted.clone());
            let listener = Arc::clone(&bound.listener);
            let accept_state = Arc::clone(&self.accept_state);
            self.accepting
                .spawn(listener::accept(listener, workers.collect(), accept_state));
        }
    }

    /// Accepts no more clients; new ones wait in the kernel's backlog.
    pub async fn pause(&mut self) {
        self.accepting.shutdown().await;
    }

    /// The listening sockets, for another process.
    ///
    /// # Errors
    /// When no file descriptor is left.
    pub fn sockets(&self) -> io::Result<Vec<HandoverSocket>> {
        let hand = |bound: &BoundListener| {
            Ok(HandoverSocket {
                socket: bound.listener.duplicate()?,
                configured: bound.configured.clone(),
                path: bound.listener.path_owner(),
            })
        };
        self.listeners.iter().map(hand).collect()
    }

    /// Sets who removes the paths of unix sockets: of these listeners, or of all.
    pub fn set_path_owner(&self, of: Option<&[ListenAddr]>, to: PathOwner) {
        let meant = |bound: &&BoundListener| of.is_none_or(|of| of.contains(&bound.configured));
        for bound in self.listeners.iter().filter(meant) {
            bound.listener.set_path_owner(to);
        }
    }

    /// Stops accepting, announces lame duck mode, and after `shutdown.grace` closes session after session; all at once as soon as
    /// `moved` ends. Returns when no session is left; when `hurry` ends, what is left is dropped.
    pub async fn stop(
        mut self,
        kind: StopKind,
        (moved, hurry): (impl Future<Output = ()>, impl Future<Output = ()>),
    ) -> Stopped {
        self.pause().await;
        self.listeners.clear();
        let threads: Vec<_> = self.workers.drain(..).map(|worker| worker.thread).collect();
        let mut ended = std::pin::pin!(join(threads));
        tokio::select! {
            () = &mut ended => Stopped::Drained,
            () = self.drain(kind, moved) => Stopped::Drained,
            () = hurry => {
                self.shared.stage.send_replace(DrainStage::Over);
                ended.await;
                Stopped::Aborted
            }
        }
    }

    /// Steps through the stages of stopping; never returns.
    async fn drain(&self, kind: StopKind, moved: impl Future<Output = ()>) {
        let config = &self.shared.config;
        let others = match kind {
            StopKind::Shutdown => drain::resolve(&config.advertise).await,
            StopKind::Handover => drain::all(&config.advertise),
        };
        self.shared.others.get_or_init(|| others);
        self.shared.stage.send_replace(DrainStage::LameDuck);
        let grace = async {
            tokio::time::sleep(config.shutdown.grace).await;
            self.shared.stage.send_replace(DrainStage::Closes);
            std::future::pending().await
        };
        tokio::select! {
            () = grace => {}
            () = moved => {}
        }
        self.shared.stage.send_replace(DrainStage::Moves);
        std::future::pending().await
    }
}

impl Liveness {
    /// Returns when every worker has answered; never, if one hangs.
    pub async fn probe_workers(&self) {
        for worker in &self.probes {
            let (probe, answered) = oneshot::channel();
            // A worker that has ended does not hang.
            if worker.send(probe).is_ok() {
                drop(answered.await);
            }
        }
    }

    /// Client connections open now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.clients.load(Ordering::Relaxed)
    }
}

impl Drop for Dataplane {
    /// However the gateway ends, no session outlives it.
    fn drop(&mut self) {
        self.shared.stage.send_replace(DrainStage::Over);
    }
}

impl BoundListener {
    fn addr(&self) -> Result<ListenAddr, StartError> {
        let addr = self.listener.addr();
        addr.map_err(|source| cannot_listen(&self.configured, source))
    }
}

/// Waits for the threads to end.
async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        let ended = threads.into_iter().map(JoinHandle::join);
        ended.filter(Result::is_err).count()
    });
    let panicked = joined.await.unwrap_or(0);
    if panicked != 0 {
        tracing::error!(panicked, "worker threads ended by a panic");
    }
}

/// A listener for every address, inherited or bound.
fn bind_all(
    listen: &[ListenAddr],
    mut inherited: Vec<Inherited>,
) -> Result<Vec<BoundListener>, StartError> {
    let mut listeners = Vec::new();
    let wide = |addr: &&ListenAddr| addr.tcp().is_some_and(|addr| addr.ip().is_unspecified());
    // Wildcard addresses first: they cover others.
    for asked in listen.iter().filter(wide) {
        bind_one(asked, &mut inherited, &mut listeners)?;
    }
    for asked in listen.iter().filter(|asked| !wide(asked)) {
        bind_one(asked, &mut inherited, &mut listeners)?;
    }
    for socket in inherited {
        let addr = socket.addr.clone();
        if socket.from == BoundBy::Manager {
            tracing::info!(%addr, "listening on a socket of the service manager that `listen` does not name");
            listeners.push(bound_listener(&addr, Listener::adopt(socket))?);
        } else {
            tracing::warn!(%addr, "`listen` does not name this address any more: it is closed");
        }
    }
    Ok(listeners)
}

/// Binds the addresses of `asked` that are not bound yet. Those of a name that this host does not have are left out.
fn bind_one(
    asked: &ListenAddr,
    inherited: &mut Vec<Inherited>,
    listeners: &mut Vec<BoundListener>,
) -> Result<(), StartError> {
    let addrs = asked.resolve();
    let addrs = addrs.map_err(|source| cannot_listen(asked, source))?;
    let (mut open, mut missing) = (false, None);
    for addr in addrs {
        let listener = match Inherited::take(inherited, &addr) {
            Some(socket) => Listener::adopt(socket),
            None if is_covered(listeners, &addr) => {
                tracing::info!(%addr, "another address of `listen` covers this one");
                open = true;
                continue;
            }
            None => Listener::bind(&addr),
        };
        match listener {
            Err(error) if *asked != addr && listener::is_missing(&error) => {
                tracing::warn!(%asked, %addr, %error, "not listening at one of the name's addresses");
                missing = Some(error);
            }
            listener => {
                listeners.push(bound_listener(&addr, listener)?);
                open = true;
            }
        }
    }
    let none = || io::ErrorKind::AddrNotAvailable.into();
    if open {
        return Ok(());
    }
    Err(cannot_listen(asked, missing.unwrap_or_else(none)))
}

fn is_covered(listeners: &[BoundListener], addr: &ListenAddr) -> bool {
    let mut open = listeners.iter();
    addr.tcp()
        .is_some_and(|addr| open.any(|bound| bound.listener.covers(addr)))
}

fn cannot_listen(addr: &ListenAddr, source: io::Error) -> StartError {
    StartError::Listen {
        addr: addr.clone(),
        source,
    }
}

fn bound_listener(
    configured: &ListenAddr,
    listener: io::Result<Listener>,
) -> Result<BoundListener, StartError> {
    let listener = listener.map_err(|source| cannot_listen(configured, source))?;
    Ok(BoundListener {
        configured: configured.clone(),
        listener: Arc::new(listener),
    })
}
