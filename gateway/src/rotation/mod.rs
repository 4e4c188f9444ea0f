//! A decision on when a key version is born, active, decrypt-only, gone.
//!
//! This version makes the switch on request: a new version is drawn, made durable, made ready, and activated while its
//! predecessor turns decrypt-only in the same compare-and-set. The engine that decides by time, usage and events, and that ends
//! the overlap, builds on the same [`Rotation`] handle.
//!
//! ```text
//!  admin ──▶ Rotation ──▶ driver (its own thread: it waits for disks) ──▶ catalogue
//!                            ▲        └── install ──▶ keyring::Keys ──▶ sessions
//!                            └──────────── a miss ◀────────┘
//! ```

mod driver;
mod loaded;
mod status;

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::catalogue::{Catalogue, KeyError, RotateError as CatalogueError};
use crate::clock::Clock;
use crate::envelope::{Kid, Suite};
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::keyring::Keys;
use crate::policy::{KeyringName, Policy};

pub use status::{KeyringStatus, VersionStatus};

use driver::{Driver, Request};

/// How many requests of operators may wait; they are rare, and each waits for a disk.
const QUEUE: usize = 16;

/// What rotation is told at start.
pub struct Config {
    /// Which subjects each keyring serves.
    pub policy: Arc<Policy>,
    /// The suite of new versions, in the order of [`Policy::keyrings`].
    pub suites: Vec<Suite>,
    /// How many workers will seal: each has a counter of its own.
    pub workers: usize,
}

/// The way to the driver. Clones lead to the same one.
#[derive(Clone)]
pub struct Rotation {
    requests: mpsc::Sender<Request>,
}

/// The driver's thread.
pub struct Running {
    requests: mpsc::Sender<Request>,
    thread: JoinHandle<()>,
}

/// A switch was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The keyring.
    pub keyring: KeyringName,
    /// The label of the version that sealed until now.
    pub from: Option<String>,
    /// The label of the version that seals from now on.
    pub to: String,
    /// Its kid.
    pub kid: Kid,
}

/// Rotation could not be started: there would be nothing to seal under.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A keyring has no active version and none could be made.
    #[error("keyring `{keyring}` has no active key version and none can be made: {source}")]
    NoActiveVersion {
        /// The keyring.
        keyring: KeyringName,
        /// Why not.
        #[source]
        source: CatalogueError,
    },
    /// A version that has to open could not be unwrapped.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The driver's thread could not be started.
    #[error("cannot start the rotation thread: {0}")]
    Thread(io::Error),
}

/// A switch was not made; the active version goes on sealing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// There is no such keyring in the configuration.
    #[error("there is no keyring `{asked}`; the configuration has {known}")]
    UnknownKeyring {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// The catalogue did not take the new version.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The new version is active in the catalogue, but could not be loaded.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The driver has ended: the gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Faulty for StartError {
    fn fault(&self) -> Fault {
        match self {
            Self::NoActiveVersion { source, .. } => source.fault(),
            Self::Key(error) => error.fault(),
            Self::Thread(_) => Fault {
                who: Who::Operator,
                retry: Retry::Later,
            },
        }
    }
}

impl Faulty for RotateError {
    fn fault(&self) -> Fault {
        match self {
            Self::UnknownKeyring { .. } => Fault {
                who: Who::Operator,
                retry: Retry::Never,
            },
            Self::Catalogue(error) => error.fault(),
            Self::Key(error) => error.fault(),
            Self::Stopping => Fault {
                who: Who::Operator,
                retry: Retry::Later,
            },
        }
    }
}

/// Gives every keyring an active version, loads what opens, and starts the driver. The keys are ready when this returns. Waits
/// for the disk.
///
/// # Errors
/// [`StartError`]; what was written is taken up by the next start.
pub fn start(
    config: Config,
    catalogue: Catalogue,
    clock: Clock,
) -> Result<(Rotation, Arc<Keys>, Running), StartError> {
    let mut driver = Driver::new(config, catalogue, clock)?;
    let (keys, misses) = Keys::new(driver.snapshot());
    let keys = Arc::new(keys);
    let (requests, asked) = mpsc::channel(QUEUE);
    let installed = Arc::clone(&keys);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(StartError::Thread)?;
    let thread = Builder::new()
        .name("rotation".to_owned())
        .spawn(move || runtime.block_on(driver.run(&installed, asked, misses)))
        .map_err(StartError::Thread)?;
    let running = Running {
        requests: requests.clone(),
        thread,
    };
    Ok((Rotation { requests }, keys, running))
}

impl Rotation {
    /// Switches the keyring to a new version now. `why` is logged.
    ///
    /// # Errors
    /// [`RotateError`]; the active version goes on sealing.
    pub async fn rotate(&self, keyring: &str, why: &str) -> Result<Rotated, RotateError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Rotate {
            keyring: keyring.to_owned(),
            why: why.to_owned(),
            answer,
        };
        self.requests
            .send(request)
            .await
            .map_err(|_ended| RotateError::Stopping)?;
        answered.await.unwrap_or(Err(RotateError::Stopping))
    }

    /// Every keyring and its versions; empty when the gateway is stopping.
    pub async fn status(&self) -> Vec<KeyringStatus> {
        let (answer, answered) = oneshot::channel();
        if self
            .requests
            .send(Request::Status { answer })
            .await
            .is_err()
        {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }
}

impl Running {
    /// Ends the driver: an operation that has begun is finished, later ones are told that the gateway is stopping.
    pub async fn stop(self) {
        if self.requests.send(Request::Stop).await.is_err() {
            tracing::debug!("rotation has ended already");
        }
        let joined = tokio::task::spawn_blocking(move || self.thread.join().is_ok()).await;
        if !joined.unwrap_or(false) {
            tracing::error!("the rotation thread ended by a panic");
        }
    }
}
