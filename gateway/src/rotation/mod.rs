//! Key version lifecycle (the states of NIST SP 800-57 part 1): when a version is generated, active, decrypt-only, destroyed.
//!
//! [`engine`] decides, and is a pure function; the driver, on a thread of its own because it waits for disks, carries that out.
//! Operators reach it through [`Rotation`], the message path through [`Keys`].
//!
//! ```text
//!  admin ──▶ Rotation ──▶ driver ── event ──▶ engine::decide
//!                          │  ▲ └──◀ action ──────┘
//!      catalogue, audit ◀──┤  └─ low budget, miss ─┐
//!                          └── install, extend ──▶ keyring::Keys ──▶ sessions
//! ```

mod drain;
mod driver;
pub mod engine;
mod error;
pub mod external;
mod offline;
pub mod protection;
pub mod reason;
#[expect(
    clippy::large_stack_frames,
    reason = "schemas are derived once, for the OpenAPI document"
)]
pub mod report;
pub mod terms;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::{mpsc, oneshot};

use crate::audit::{self, Settings};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::disk::{self, Lock};
use crate::keyring::{Keys, Miss, Snapshot};
use crate::policy::Policy;
use crate::retention::JetStream;

pub use drain::DrainLink;
pub use error::{OrderError, StartError};
pub use offline::OfflineKeyring;
pub use reason::Reason;
pub use report::{
    Amount, Exposure, KeyringStatus, Overview, PublishStall, Rehearsal, RetentionReasons, Rotated,
    VersionStatus,
};
pub use terms::{DestroyApproval, Limit, OpenPolicy, Retain, Rotate, Terms};

use driver::{AuditedOrder, DrainChannel, Driver, Parts, Request};
use engine::Order;
use external::{Inspector, NoInspector, SingleMember};

/// How many requests of operators may wait; they are rare, and each waits for a disk.
const QUEUE: usize = 16;

/// Added to the nice value of the driver's thread: it gets about a third of a worker's share of a contended core.
const NICE_INCREMENT: i32 = 5;

/// Poll interval while lanes stop sealing, which their workers do between two batches.
const SETTLE_POLL: Duration = Duration::from_millis(1);

/// How many polls [`stop_sealing`] makes at most.
const SETTLE_POLLS: u32 = 2000;

/// The configuration of rotation, at start and at each reload.
pub struct RotationConfig {
    /// Which subjects each keyring serves.
    pub policy: Arc<Policy>,
    /// The terms of each keyring, in the order of [`Policy::keyrings`].
    pub terms: Vec<Terms>,
    /// How many workers will seal: each has a counter of its own. Does not change later.
    pub workers: usize,
    /// The settings that the audit log records.
    pub settings: Settings,
}

/// A configuration that was read again.
pub struct Reload {
    /// What changed, in words.
    pub what: String,
    /// The reason, for the audit log.
    pub reason: Reason,
}

/// The stores and connections that rotation owns.
pub struct Stores {
    /// The key versions.
    pub catalogue: Catalogue,
    /// The audit log.
    pub audit: audit::Log,
    /// The gateway's own connection to JetStream; `None`: it cannot be asked.
    pub control: Option<JetStream>,
    /// Links to processes that drain after a take-over.
    pub drainers: Vec<DrainLink>,
    /// Which kind of process this is.
    pub user: ProcessKind,
}

/// What the driver yields when another process takes the catalogue over.
pub struct HandedOver {
    /// Links to processes that drain already.
    pub drainers: Vec<DrainLink>,
    /// Completes when the clients of this process are to be disconnected at once.
    pub moved: oneshot::Receiver<()>,
}

/// The message path's end of rotation, which outlives a restart of the driver.
pub struct MessagePath {
    /// The keys that the message path loads.
    pub keys: Arc<Keys>,
    /// The kids that it misses.
    pub misses: mpsc::Receiver<Miss>,
}

/// Which kind of process uses the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessKind {
    /// A gateway: the audit log records its start and stop.
    Gateway,
    /// A command while no gateway runs.
    Command,
}

/// A handle to the driver. Clones share it.
#[derive(Clone)]
pub struct Rotation {
    requests: mpsc::Sender<Request>,
}

/// The driver's running thread.
pub struct Running {
    requests: mpsc::Sender<Request>,
    thread: JoinHandle<Option<mpsc::Receiver<Miss>>>,
}

/// Names a key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRef<'a> {
    /// The keyring.
    pub keyring: &'a str,
    /// Its number in the keyring.
    pub number: u32,
}

/// A request to destroy a key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own")]
pub struct DestroyRequest {
    /// Destroy even if stored messages may need the version: the caller has seen the evidence.
    pub forced: bool,
    /// Approves of a destruction that another person, or the gateway, has requested.
    pub approves: bool,
}

/// Gives every keyring an active version, loads what opens, and starts the driver. The keys are ready when this returns. Waits
/// for the disk.
///
/// # Errors
/// [`StartError`]; the next start goes on from what was written.
pub fn start(
    config: RotationConfig,
    stores: Stores,
    clock: Clock,
) -> Result<(Rotation, Arc<Keys>, Running), StartError> {
    launch(config, parts(stores, clock, None))
}

/// [`start`] for a message path that has its keys already and keeps running.
///
/// # Errors
/// [`StartError`]; the message path then still opens, seals nothing any more, and gets no keys that it misses.
pub fn resume(
    config: RotationConfig,
    stores: Stores,
    clock: Clock,
    held: MessagePath,
) -> Result<(Rotation, Running), StartError> {
    let (rotation, _keys, running) = launch(config, parts(stores, clock, Some(held)))?;
    Ok((rotation, running))
}

/// Stops all sealing, before the state directory's lock is given up. Waits for the current batches, two seconds at most.
pub fn stop_sealing(keys: &Keys) {
    let before = keys.load_full();
    keys.install(before.sealing_nothing());
    for _look in 0..SETTLE_POLLS {
        if before.sealing().all(|version| version.is_settled()) {
            return;
        }
        std::thread::park_timeout(SETTLE_POLL);
    }
    tracing::error!("a worker does not end its batch: it may seal while another process writes");
}

fn launch(
    config: RotationConfig,
    parts: Parts,
) -> Result<(Rotation, Arc<Keys>, Running), StartError> {
    let (requests, asked) = mpsc::channel(QUEUE);
    // First what needs no keys: a driver that has started runs.
    let (gives, given) = std::sync::mpsc::channel::<Box<(Driver, mpsc::Receiver<Miss>)>>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let thread = Builder::new()
        .name("rotation".to_owned())
        .spawn(move || {
            lower_priority();
            let started = given.recv().ok()?;
            Some(runtime.block_on(run(started, asked)))
        })
        .map_err(StartError::Thread)?;
    let started = Box::new(Driver::start(config, parts)?);
    let keys = started.0.keys();
    let ended = |_returned| StartError::Thread(io::ErrorKind::BrokenPipe.into());
    gives.send(started).map_err(ended)?;
    let running = Running {
        requests: requests.clone(),
        thread,
    };
    Ok((Rotation { requests }, keys, running))
}

/// Boxed, because a driver is large.
fn run(
    started: Box<(Driver, mpsc::Receiver<Miss>)>,
    asked: mpsc::Receiver<Request>,
) -> Pin<Box<impl Future<Output = mpsc::Receiver<Miss>>>> {
    let (driver, misses) = *started;
    Box::pin(driver.run(asked, misses))
}

/// Lowers the priority of the calling thread, and of those that it starts to ask JetStream, below that of the workers. On Linux a
/// nice value is a thread's own.
fn lower_priority() {
    let stepped = getpriority_process(None)
        .and_then(|nice| setpriority_process(None, nice.saturating_add(NICE_INCREMENT)));
    if let Err(error) = stepped {
        tracing::trace!(%error, "the rotation thread has the priority of a worker");
    }
}

fn parts(stores: Stores, clock: Clock, held: Option<MessagePath>) -> Parts {
    let inspector: Box<dyn Inspector> = match stores.control {
        Some(control) => Box::new(control),
        None => Box::new(NoInspector),
    };
    Parts {
        catalogue: stores.catalogue,
        audit: stores.audit,
        inspector,
        fleet: Box::new(SingleMember),
        drainers: stores.drainers,
        user: stores.user,
        clock,
        held,
    }
}

impl MessagePath {
    /// An empty snapshot.
    fn new(policy: &Arc<Policy>) -> Self {
        let empty = Snapshot::new(Arc::clone(policy), Vec::new(), Vec::new(), 0);
        let (keys, misses) = Keys::new(empty);
        let keys = Arc::new(keys);
        Self { keys, misses }
    }
}

impl Rotation {
    /// Switches the keyring to a new version now.
    ///
    /// # Errors
    /// [`OrderError`]; the active version goes on sealing.
    pub async fn rotate(&self, keyring: &str, reason: Reason) -> Result<Rotated, OrderError> {
        let keyring = keyring.to_owned();
        self.ask(|answer| Request::Rotate {
            keyring,
            reason,
            answer,
        })
        .await?
    }

    /// Carries out any other order; yields the status of the keyring afterwards.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn order(
        &self,
        keyring: &str,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let keyring = keyring.to_owned();
        self.ask(|answer| Request::Order {
            keyring,
            order,
            reason,
            answer,
        })
        .await?
    }

    /// Destroys a version; where that takes a second person, records the request or the approval.
    ///
    /// # Errors
    /// [`OrderError::Held`] with the evidence while something stored may need it.
    pub async fn destroy(
        &self,
        which: VersionRef<'_>,
        request: DestroyRequest,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let keyring = which.keyring.to_owned();
        self.ask(|answer| Request::Destroy {
            keyring,
            number: which.number,
            request,
            reason,
            answer,
        })
        .await?
    }

    /// Every keyring and its versions; empty when the gateway is stopping.
    pub async fn status(&self) -> Vec<KeyringStatus> {
        self.overview().await.keyrings
    }

    /// The same, with the faults of catalogue and audit log.
    pub async fn overview(&self) -> Overview {
        let overview = self.ask(|answer| Request::Overview { answer }).await;
        overview.unwrap_or_default()
    }

    /// The number of a version that a person names by number or label; the active one's without a name.
    ///
    /// # Errors
    /// [`OrderError`] when there is no such keyring or version.
    pub async fn number(&self, keyring: &str, named: Option<&str>) -> Result<u32, OrderError> {
        let overview = self.ask(|answer| Request::Overview { answer }).await?;
        report::number(&overview.keyrings, keyring, named)
    }

    /// Why a version is not destroyed.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn why(&self, which: VersionRef<'_>) -> Result<RetentionReasons, OrderError> {
        let keyring = which.keyring.to_owned();
        self.ask(|answer| Request::Why {
            keyring,
            number: which.number,
            answer,
        })
        .await?
    }

    /// What a leaked version exposes.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn exposure(&self, which: VersionRef<'_>) -> Result<Exposure, OrderError> {
        let keyring = which.keyring.to_owned();
        self.ask(|answer| Request::Exposure {
            keyring,
            number: which.number,
            answer,
        })
        .await?
    }

    /// Rehearses a revocation: tries everything that one needs, without revoking.
    ///
    /// # Errors
    /// [`OrderError::Stopping`].
    pub async fn drill(&self, reason: Reason) -> Result<Vec<Rehearsal>, OrderError> {
        self.ask(|answer| Request::Drill { reason, answer }).await
    }

    /// The last lines of the audit log.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn tail(&self, count: usize) -> Result<Vec<String>, OrderError> {
        self.ask(|answer| Request::Tail { count, answer }).await?
    }

    /// Writes into the audit log that an order was refused. `keyring` is as the caller named it; `None` concerns all.
    pub async fn refused(
        &self,
        (keyring, what): (Option<&str>, audit::Action),
        reason: Reason,
        why: String,
    ) {
        let wanted = AuditedOrder {
            keyring: keyring.map(str::to_owned),
            what,
            number: None,
            reason,
        };
        let asked = self.ask(|answer| Request::Refused {
            wanted,
            why,
            answer,
        });
        if asked.await.is_err() {
            tracing::debug!("what is refused while the gateway stops is not written down");
        }
    }

    /// Puts other terms and subjects in force. What weakens protection is written to the audit log before, or is refused.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then.
    pub async fn reload(&self, config: RotationConfig, reload: Reload) -> Result<(), OrderError> {
        self.ask(|answer| Request::Reload {
            config,
            reload,
            answer,
        })
        .await?
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, OrderError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_ended| OrderError::Stopping)?;
        answered.await.map_err(|_dropped| OrderError::Stopping)
    }
}

impl Running {
    /// Has the driver close the catalogue and the audit log: on return another process can open them, with the other end of
    /// `link`. Connections go on under what that process says; operators are told that the gateway is stopping.
    pub async fn hand_over(&self, link: DrainLink) -> HandedOver {
        let (moves, moved) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let channel = DrainChannel { link, moved: moves };
        let asked = self
            .requests
            .send(Request::HandOver { channel, answer })
            .await;
        let drainers = match asked {
            Ok(()) => answered.await.ok(),
            Err(_ended) => None,
        };
        if drainers.is_none() {
            tracing::debug!("rotation has ended already");
        }
        HandedOver {
            drainers: drainers.unwrap_or_default(),
            moved,
        }
    }

    /// The lock of the state directory, to take back what was handed over: while the other process was gone nobody else could
    /// write. Only the driver's thread takes it, which may hold it already. `None`: that thread has ended.
    ///
    /// # Errors
    /// [`disk::Error`]: another process has it; try again.
    pub async fn lock(&self) -> Option<Result<Lock, disk::Error>> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Lock { answer }).await.ok()?;
        answered.await.ok()
    }

    /// Ends the driver: an operation that has begun is finished, later ones are told that the gateway is stopping. Yields the
    /// queue of misses; `None` when it is lost.
    pub async fn stop(self) -> Option<mpsc::Receiver<Miss>> {
        if self.requests.send(Request::Stop).await.is_err() {
            tracing::debug!("rotation has ended already");
        }
        let joined = tokio::task::spawn_blocking(move || self.thread.join().ok()).await;
        let misses = joined.ok().flatten().flatten();
        if misses.is_none() {
            tracing::error!("the rotation thread ended by a panic");
        }
        misses
    }
}
