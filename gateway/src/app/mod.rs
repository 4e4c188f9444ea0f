//! A gateway, from a checked configuration to a running process and back.
//!
//! [`Gateway::start`] names the stages in order; [`Gateway::stop`] is the same list from its end.

mod audit;
mod certificates;
mod offline;
mod ports;
pub mod process;
mod reload;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::admin::{self, Asker, Reload};
use crate::clock::Clock;
use crate::config::Checked;
use crate::control::Control;
use crate::dataplane::{self, Dataplane, ListenAddr};
use crate::disk::{self, StateDir};
use crate::envelope::{self, WrongAnswer};
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::keyring::{Keys, Snapshot};
use crate::metrics::{self, PrometheusHandle};
use crate::policy::Policy;
use crate::rotation::{self, Rotation, Stores, User};
use crate::tls;

pub use audit::{AuditError, audit_directory, audit_verifier};
pub use certificates::check_certificates;
pub use offline::offline;
pub use reload::{Origin, Read, Reloader, warn_of};
pub use state::{OpenError, Opened, open, open_audit, with_audit};

use certificates::Certificates;

/// A running gateway.
pub struct Gateway {
    dataplane: Dataplane,
    admin: admin::Running,
    health: admin::Health,
    upkeep: [JoinHandle<()>; 2],
    rotation: Option<(Rotation, rotation::Running)>,
    reloader: Option<Arc<Reloader>>,
    /// Where `ports.json` lies.
    state: PathBuf,
}

/// Why a gateway did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The ciphers do not compute what they must; nothing may be sealed with them.
    #[error("the self-test failed: {0}; this build or this machine must not be used")]
    SelfTest(#[from] WrongAnswer),
    /// Memory was to be locked, and cannot be.
    #[error(transparent)]
    NotLocked(#[from] process::NotLocked),
    /// A certificate or key of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The state directory, the KEK or the catalogue cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// There is nothing to seal under.
    #[error(transparent)]
    Rotation(#[from] rotation::StartError),
    /// The message path could not be started.
    #[error(transparent)]
    Dataplane(#[from] dataplane::StartError),
    /// Operators could not be served.
    #[error(transparent)]
    Admin(#[from] admin::StartError),
    /// There is no state directory, or the addresses could not be written down in it for others to find.
    #[error(transparent)]
    Ports(#[from] disk::Error),
}

impl Faulty for StartError {
    fn fault(&self) -> Fault {
        match self {
            Self::SelfTest(_) => Fault {
                who: Who::Us,
                retry: Retry::Never,
            },
            Self::NotLocked(error) => error.fault(),
            Self::Tls(error) => error.fault(),
            Self::State(error) => error.fault(),
            Self::Rotation(error) => error.fault(),
            Self::Dataplane(error) => error.fault(),
            Self::Admin(error) => error.fault(),
            Self::Ports(error) => error.fault(),
        }
    }
}

impl Gateway {
    /// Self-test, certificates, state and keys, message path, administration, in this order. `metrics` are what administration shows, `origin`
    /// is where `checked` can be read again. Call within a tokio runtime; waits for the disk.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        checked: &Checked,
        (metrics, origin): (PrometheusHandle, Option<Origin>),
        clock: &Clock,
    ) -> Result<Self, StartError> {
        envelope::self_test()?;
        process::lock_memory(checked.lock_memory)?;
        let config = checked.dataplane.clone();
        let certificates = Arc::new(Certificates::load(&config, clock)?);
        let (keys, rotation) = keys(checked, clock)?;
        let config = process::fitted(config);
        let dataplane = Dataplane::start(config, keys, certificates.tls(), clock.clone())?;
        let recorder = metrics.clone();
        let health = admin::Health::serving(dataplane.reach());
        let handle = rotation
            .as_ref()
            .map(|(rotation, _running)| rotation.clone());
        let reloader = origin.map(|origin| {
            let parts = (handle.clone(), Arc::clone(&certificates));
            Reloader::new(origin, parts, checked)
        });
        let reloader = reloader.map(Arc::new);
        let sources = admin::Sources {
            rotation: handle,
            metrics,
            health: health.clone(),
            reload: reloader
                .clone()
                .map(|reloader| -> Box<dyn Reload> { Box::new(reloader) }),
            clock: clock.clone(),
        };
        StateDir::create(&checked.state)?;
        let admin = admin::serve(&checked.admin, sources)?;
        ports::write(&checked.state, dataplane.addrs(), admin.addr())?;
        let listen: Vec<_> = dataplane.addrs().iter().map(ToString::to_string).collect();
        tracing::info!(?listen, relay_only = checked.dataplane.relay_only, "ready");
        Ok(Self {
            upkeep: [
                tokio::spawn(metrics::upkeep(recorder)),
                tokio::spawn(certificates.watch()),
            ],
            dataplane,
            admin,
            health,
            rotation,
            reloader,
            state: checked.state.clone(),
        })
    }

    /// Where clients can connect.
    #[must_use]
    pub fn addrs(&self) -> &[ListenAddr] {
        self.dataplane.addrs()
    }

    /// Where metrics and health are served.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.addr()
    }

    /// The way to switch keys; `None` when the gateway relays only.
    #[must_use]
    pub fn rotation(&self) -> Option<Rotation> {
        self.rotation
            .as_ref()
            .map(|(rotation, _running)| rotation.clone())
    }

    /// Reads the configuration again, on behalf of `asker`, and puts in force what can change; says in the log what became of it.
    pub async fn reload(&self, asker: Asker) {
        if let Some(reloader) = &self.reloader
            && let Err(problem) = reloader.reload(asker).await
        {
            tracing::error!(
                error = problem.error,
                help = problem.help,
                "nothing is reloaded"
            );
        }
    }

    /// Stops accepting, lets sessions end, then ends rotation.
    pub async fn stop(self) {
        self.health.draining();
        ports::remove(&self.state);
        self.upkeep.iter().for_each(JoinHandle::abort);
        self.dataplane.stop().await;
        self.admin.stop().await;
        if let Some((_rotation, running)) = self.rotation {
            running.stop().await;
        }
        tracing::info!("stopped");
    }
}

type Started = (Arc<Keys>, Option<(Rotation, rotation::Running)>);

/// The keys to seal under. A gateway that relays only needs none, and touches neither KEK nor catalogue: it must start in the
/// emergency in which these are broken.
fn keys(checked: &Checked, clock: &Clock) -> Result<Started, StartError> {
    if checked.dataplane.relay_only {
        let (keys, _nobody_misses) = Keys::new(Snapshot::new(
            Arc::new(Policy::nothing()),
            Vec::new(),
            Vec::new(),
            0,
        ));
        return Ok((Arc::new(keys), None));
    }
    let Opened { catalogue, audit } = open(&checked.state, &checked.custody, clock)?;
    ports::remove(&checked.state);
    let stores = Stores {
        catalogue,
        audit,
        control: checked.control.clone().map(Control::new),
        user: User::Gateway,
    };
    let config = rotation_config(checked);
    let (rotation, keys, running) = rotation::start(config, stores, clock.clone())?;
    Ok((keys, Some((rotation, running))))
}

/// What rotation is told of the configuration, at start and after a reload.
#[must_use]
pub fn rotation_config(checked: &Checked) -> rotation::Config {
    let terms = checked.keyrings.iter().map(|keyring| keyring.terms.clone());
    rotation::Config {
        policy: Arc::new(checked.policy.clone()),
        terms: terms.collect(),
        workers: checked.dataplane.worker_count(),
    }
}
