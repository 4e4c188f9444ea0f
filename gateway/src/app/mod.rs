//! A gateway, from a checked configuration to a running process and back.
//!
//! [`Gateway::start`] names the stages in order; [`Gateway::stop`] is the same list from its end.

mod audit;
mod certificates;
mod check_files;
mod handover;
pub mod manager;
mod offline;
mod ownership;
mod ports;
pub mod process;
mod relay;
mod reload;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::admin::{self, Reload as _};
use crate::clock::Clock;
use crate::config::{GatewayConfig, settings};
use crate::custody::Custodian;
use crate::dataplane::{self, Dataplane, Inherited, ListenAddr, PathOwner, StopKind, Stopped};
use crate::disk;
use crate::envelope::{self, SelfTestFailed};
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::keyring::{Keys, Snapshot};
use crate::metrics::{self, PrometheusHandle};
use crate::operations::Caller;
use crate::policy::Policy;
use crate::proxy::{Key, KeyError};
use crate::retention::JetStream;
use crate::rotation::{self, DrainLink, ProcessKind, Rotation, Stores};
use crate::tls;

use ownership::{Owned, Ownership};

pub use audit::{
    AuditError, audit_directory, audit_verifier, audit_verifier_of_log, begin_audit_log,
    has_audit_log,
};
pub use check_files::{FileError, FileWarning, check_files};
pub use handover::{TakeOver, TakeOverError, is_gateway_running, take_over};
pub use offline::offline;
pub use ownership::{HandoverEvent, HandoverOutcome};
pub use reload::{ConfigSource, ReadResult, Reloader, warn_of};
pub use state::{OpenError, OpenState, open, open_audit, with_audit};

use certificates::Certificates;
use relay::RelayAuditError;

/// A running gateway.
pub struct Gateway {
    dataplane: Dataplane,
    context: Box<GatewayContext>,
    ownership: Ownership,
    succession: StopKind,
    /// Whether the audit log says that this gateway relays only.
    relay_logged: bool,
    background_tasks: [JoinHandle<()>; 2],
}

/// What a gateway keeps whether or not it owns keys and audit log ([`Ownership`]).
struct GatewayContext {
    checked: GatewayConfig,
    clock: Clock,
    metrics: PrometheusHandle,
    health: admin::Health,
    reloader: Option<Arc<Reloader>>,
    keys: Arc<Keys>,
    /// `None` when the gateway relays only.
    custodian: Option<Arc<dyn Custodian>>,
}

/// What a gateway is started with beside its configuration.
pub struct StartOptions {
    /// The metrics page that administration serves.
    pub metrics: PrometheusHandle,
    /// Reads the configuration again; `None`: it cannot be reloaded.
    pub config_source: Option<ConfigSource>,
    /// Listening sockets for clients that the service manager has passed.
    pub inherited: Vec<Inherited>,
    /// What another gateway has handed over; it is told whether this one starts.
    pub take_over: Option<TakeOver>,
    /// The custodian of an open KEK; `None`: it is yet to be opened.
    pub custodian: Option<Arc<dyn Custodian>>,
}

/// Why a gateway did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The ciphers do not compute what they must; nothing may be sealed with them.
    #[error("the self-test failed: {0}; this build or this machine must not be used")]
    SelfTest(#[from] SelfTestFailed),
    /// Memory was to be locked, and cannot be.
    #[error(transparent)]
    NotLocked(#[from] process::NotLocked),
    /// A certificate or key of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The state directory, the KEK or the catalogue cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// Rotation could not be started: there is no key to seal under.
    #[error(transparent)]
    Rotation(#[from] rotation::StartError),
    /// The message path could not be started.
    #[error(transparent)]
    Dataplane(#[from] dataplane::StartError),
    /// The nkey seed that makes the gateway a trusted proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] KeyError),
    /// The HTTP server of administration could not be started.
    #[error(transparent)]
    Admin(#[from] admin::StartError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Ports(#[from] disk::Error),
}

impl Faulty for StartError {
    fn fault(&self) -> Fault {
        match self {
            Self::SelfTest(_) => Fault {
                who: Who::Internal,
                retry: Retry::Never,
            },
            Self::NotLocked(error) => error.fault(),
            Self::Tls(error) => error.fault(),
            Self::State(error) => error.fault(),
            Self::Rotation(error) => error.fault(),
            Self::Dataplane(error) => error.fault(),
            Self::Proxy(error) => error.fault(),
            Self::Admin(error) => error.fault(),
            Self::Ports(error) => error.fault(),
        }
    }
}

impl StartOptions {
    /// Metrics alone: nothing inherited, taken over or reloadable.
    #[must_use]
    pub const fn new(metrics: PrometheusHandle) -> Self {
        Self {
            metrics,
            config_source: None,
            inherited: Vec::new(),
            take_over: None,
            custodian: None,
        }
    }
}

/// Checks ciphers, files, KEK and catalogue while another gateway runs on the same state directory. Yields the open KEK: a
/// passphrase on a descriptor can be read only once.
///
/// # Errors
/// [`StartError`]: a gateway with this configuration would not start.
pub fn check_without_lock(
    checked: &GatewayConfig,
) -> Result<Option<Arc<dyn Custodian>>, StartError> {
    envelope::self_test()?;
    let (wrong, _doubts) = check_files(checked, &Clock::system());
    if let Some(first) = wrong.into_iter().next() {
        return Err(first.error);
    }
    if checked.dataplane.relay_only {
        return Ok(None);
    }
    Ok(state::check_without_lock(&checked.state, &checked.custody)?)
}

impl Gateway {
    /// Starts, in this order: self-test, certificates, state and keys, message path, administration. Call within a tokio runtime;
    /// waits for the disk.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        checked: &GatewayConfig,
        mut options: StartOptions,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let mut take_over = options.take_over.take();
        let relay_only = checked.dataplane.relay_only;
        let relay_audit = relay_only.then(|| relay::log_relay_start(checked, clock));
        match Self::prepare(checked, options, take_over.as_mut(), clock) {
            Ok(mut gateway) => {
                if let Some(take_over) = take_over {
                    gateway.confirm(take_over);
                }
                // Not before: connections accepted from the kernel's queue are lost if this process does not serve after all.
                gateway.dataplane.accept();
                if let Some(relay_audit) = relay_audit {
                    gateway
                        .set_relaying(relay_audit.and_then(|relay_audit| relay_audit.in_force()));
                }
                let addrs = gateway.dataplane.addrs().iter();
                let listen: Vec<_> = addrs.map(ToString::to_string).collect();
                tracing::info!(?listen, relay_only, "ready");
                Ok(gateway)
            }
            Err(error) => {
                if let Some(take_over) = take_over {
                    take_over.fail(&error.to_string());
                }
                Err(error)
            }
        }
    }

    /// [`Gateway::start`] up to, and without, accepting clients.
    fn prepare(
        checked: &GatewayConfig,
        options: StartOptions,
        mut take_over: Option<&mut TakeOver>,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let (config, certificates) = preflight(checked, clock)?;
        let drainers = take_over
            .as_mut()
            .map(|take_over| take_over.take_drainers());
        let drainers = drainers.unwrap_or_default();
        let KeySetup {
            keys,
            rotation,
            custodian,
        } = open_keys(checked, (options.custodian, drainers), clock)?;
        let mut inherited = options.inherited;
        let admin = take_over.and_then(|take_over| {
            inherited.extend(take_over.take_sockets());
            take_over.take_admin()
        });
        let dataplane = Dataplane::start(
            process::limit_connections(*config),
            inherited,
            (Arc::clone(&keys), certificates.tls()),
            clock.clone(),
        )?;
        let reloader = options.config_source;
        let reloader = reloader
            .map(|config_source| Reloader::new(config_source, Arc::clone(&certificates), checked));
        let reloader = reloader.map(Arc::new);
        let context = Box::new(GatewayContext {
            checked: checked.clone(),
            clock: clock.clone(),
            metrics: options.metrics.clone(),
            health: admin::Health::serving(dataplane.reach()),
            reloader,
            keys,
            custodian,
        });
        let mut gateway = Self {
            background_tasks: [
                tokio::spawn(metrics::upkeep(options.metrics)),
                tokio::spawn(certificates.watch()),
            ],
            dataplane,
            context,
            ownership: Ownership::Lost,
            succession: StopKind::Shutdown,
            relay_logged: false,
        };
        gateway.ownership = Ownership::Owned(gateway.take_ownership(rotation, admin)?);
        Ok(gateway)
    }

    /// Reports relay-only mode (payloads pass unsealed) in health and log, and whether the audit log says so.
    fn set_relaying(&mut self, relay_logged: Result<(), RelayAuditError>) {
        self.relay_logged = relay_logged.is_ok();
        let mut what = "it relays only: no payload is sealed or opened".to_owned();
        if let Err(error) = relay_logged {
            tracing::error!(%error, "relays only, and nothing vouches for when and for how long: the audit log cannot say so");
            what = format!("{what}, and the audit log does not say so: {error}");
        }
        self.context.health.set_relay_only(what);
    }

    /// Tells the gateway that handed over that this one serves; the paths of its unix sockets are this one's to remove now.
    fn confirm(&self, take_over: TakeOver) {
        self.dataplane
            .set_path_owner(Some(take_over.paths()), PathOwner::Gateway);
        if let Err(error) = take_over.confirm() {
            tracing::warn!(%error, "the gateway that handed over has ended by itself");
        }
    }

    /// The addresses that clients connect to.
    #[must_use]
    pub fn addrs(&self) -> &[ListenAddr] {
        self.dataplane.addrs()
    }

    /// The TCP address of administration: metrics and health.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        match &self.ownership {
            Ownership::Owned(Owned {
                admin: Some(admin), ..
            }) => admin.addr(),
            Ownership::Owned(_)
            | Ownership::Offered(_)
            | Ownership::Released(_)
            | Ownership::Lost => None,
        }
    }

    /// The handle to rotation; `None` when the gateway relays only, or another process owns the keys.
    #[must_use]
    pub fn rotation(&self) -> Option<Rotation> {
        match &self.ownership {
            Ownership::Owned(held) => held.rotation.as_ref().map(|(rotation, _)| rotation.clone()),
            Ownership::Offered(_) | Ownership::Released(_) | Ownership::Lost => None,
        }
    }

    /// Reads the configuration again for `caller`, applies what can change without a restart, and logs the outcome.
    pub async fn reload(&self, caller: Caller) {
        if !matches!(self.ownership, Ownership::Owned(_)) {
            tracing::error!("nothing is reloaded: another process is taking over");
            return;
        }
        if let Some(reloader) = &self.context.reloader
            && let Err(problem) = reloader.reload(caller).await
        {
            tracing::error!(
                error = problem.error,
                help = problem.help,
                "nothing is reloaded"
            );
        }
    }

    /// Stops accepting, drains the sessions (cut off as soon as `hurry` ends), then stops rotation.
    pub async fn stop(self, hurry: impl Future<Output = ()>) -> Stopped {
        self.context.health.set_draining();
        if let Ownership::Owned(held) = &self.ownership {
            held.ports.iter().for_each(disk::OwnedFile::remove);
        }
        self.background_tasks.iter().for_each(JoinHandle::abort);
        let mut ownership = self.ownership;
        let stopped = self
            .dataplane
            .stop(self.succession, (ownership.moved(), hurry));
        let stopped = stopped.await;
        ownership.shut_down().await;
        if self.relay_logged
            && let Err(error) = relay::log_relay_stop(&self.context.checked, &self.context.clock)
        {
            tracing::warn!(%error, "the audit log does not say that the gateway stopped");
        }
        tracing::info!("stopped");
        stopped
    }
}

/// The checks that need no state directory: self-test, memory lock, certificates, administration.
fn preflight(
    checked: &GatewayConfig,
    clock: &Clock,
) -> Result<(Box<dataplane::Config>, Arc<Certificates>), StartError> {
    envelope::self_test()?;
    process::lock_memory(checked.lock_memory)?;
    let config = Box::new(message_path(checked)?);
    let certificates = Arc::new(Certificates::load(&config, clock)?);
    match check_files::administration(checked).next() {
        Some((_key, error)) => Err(error.into()),
        None => Ok((config, certificates)),
    }
}

/// The configuration of the message path, with the proxy's nkey, which is read here.
fn message_path(checked: &GatewayConfig) -> Result<dataplane::Config, KeyError> {
    let mut config = checked.dataplane.clone();
    if let Some(file) = &checked.proxy_seed {
        let key = Key::read(file)?;
        tracing::info!(key = key.public(), "a proxy that servers may trust");
        config.proxy.key = Some(Arc::new(key));
    }
    Ok(config)
}

/// The handle to rotation and its thread; `None` when the gateway relays only.
type StartedRotation = Option<(Rotation, rotation::Running)>;

/// Keys, rotation and custodian of a gateway that has opened its state directory.
struct KeySetup {
    keys: Arc<Keys>,
    rotation: StartedRotation,
    custodian: Option<Arc<dyn Custodian>>,
}

/// Opens the keys and starts rotation. A relay-only gateway touches neither KEK nor catalogue: it must start with these broken.
fn open_keys(
    checked: &GatewayConfig,
    (custodian, drainers): (Option<Arc<dyn Custodian>>, Vec<DrainLink>),
    clock: &Clock,
) -> Result<KeySetup, StartError> {
    if checked.dataplane.relay_only {
        let nothing = Arc::new(Policy::nothing());
        let (keys, _nobody_misses) = Keys::new(Snapshot::new(nothing, Vec::new(), Vec::new(), 0));
        return Ok(KeySetup {
            keys: Arc::new(keys),
            rotation: None,
            custodian: None,
        });
    }
    let opened = match custodian {
        Some(custodian) => state::reopen(&checked.state, &custodian, (clock, None))?,
        None => open(&checked.state, &checked.custody, clock)?,
    };
    ports::remove(&checked.state);
    let custodian = opened.catalogue.custodian();
    let (rotation, keys, running) = rotation::start(
        rotation_config(checked),
        stores(checked, opened, drainers),
        clock.clone(),
    )?;
    Ok(KeySetup {
        keys,
        rotation: Some((rotation, running)),
        custodian: Some(custodian),
    })
}

fn stores(checked: &GatewayConfig, opened: OpenState, drainers: Vec<DrainLink>) -> Stores {
    Stores {
        catalogue: opened.catalogue,
        audit: opened.audit,
        control: checked.control.clone().map(JetStream::new),
        drainers,
        user: ProcessKind::Gateway,
    }
}

/// Rotation's part of the configuration.
#[must_use]
pub fn rotation_config(checked: &GatewayConfig) -> rotation::RotationConfig {
    let terms = checked.keyrings.iter().map(|keyring| keyring.terms.clone());
    rotation::RotationConfig {
        policy: Arc::new(checked.policy.clone()),
        terms: terms.collect(),
        workers: checked.dataplane.worker_count(),
        settings: settings(checked),
    }
}
