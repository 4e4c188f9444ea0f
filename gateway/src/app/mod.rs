//! A gateway, from a checked configuration to a running process and back.
//!
//! [`Gateway::start`] names the stages in order; [`Gateway::stop`] is the same list from its end.

mod audit;
mod certificates;
mod examine;
mod handover;
pub mod manager;
mod offline;
mod ports;
pub mod process;
mod relay;
mod reload;
mod seat;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::admin::{self, Asker, Reload as _};
use crate::clock::Clock;
use crate::config::{Checked, settings};
use crate::control::Control;
use crate::custody::Custodian;
use crate::dataplane::{self, Dataplane, Inherited, ListenAddr, PathOf, Stopped, Succession};
use crate::disk;
use crate::envelope::{self, WrongAnswer};
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::keyring::{Keys, Snapshot};
use crate::metrics::{self, PrometheusHandle};
use crate::policy::Policy;
use crate::proxy::{Key, KeyError};
use crate::rotation::{self, DrainLink, Rotation, Stores, User};
use crate::tls;

use seat::{Held, Seat};

pub use audit::{
    AuditError, audit_directory, audit_verifier, audit_verifier_of_log, begin_audit_log,
    has_audit_log,
};
pub use examine::{Doubt, Wrong, examine};
pub use handover::{Claim, ClaimError, claim, is_served};
pub use offline::offline;
pub use reload::{Origin, Read, Reloader, warn_of};
pub use seat::{Attended, Due};
pub use state::{OpenError, Opened, open, open_audit, with_audit};

use certificates::Certificates;
use relay::Silent;

/// A running gateway.
pub struct Gateway {
    dataplane: Dataplane,
    premises: Box<Premises>,
    seat: Seat,
    succession: Succession,
    /// Whether the audit log says that this gateway relays only.
    testified: bool,
    upkeep: [JoinHandle<()>; 2],
}

/// What a gateway keeps whether or not it owns keys and audit log ([`Seat`]).
struct Premises {
    checked: Checked,
    clock: Clock,
    metrics: PrometheusHandle,
    health: admin::Health,
    reloader: Option<Arc<Reloader>>,
    keys: Arc<Keys>,
    /// `None` when the gateway relays only.
    custodian: Option<Arc<dyn Custodian>>,
}

/// What a gateway is started with beside its configuration.
pub struct Surroundings {
    /// The metrics page that administration serves.
    pub metrics: PrometheusHandle,
    /// Reads the configuration again; `None`: it cannot be reloaded.
    pub origin: Option<Origin>,
    /// Listening sockets for clients that the service manager has passed.
    pub inherited: Vec<Inherited>,
    /// What another gateway has handed over; it is told whether this one starts.
    pub claim: Option<Claim>,
    /// The custodian of an open KEK; `None`: it is yet to be opened.
    pub custodian: Option<Arc<dyn Custodian>>,
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
                who: Who::Us,
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

impl Surroundings {
    /// Metrics alone: nothing inherited, taken over or reloadable.
    #[must_use]
    pub const fn bare(metrics: PrometheusHandle) -> Self {
        Self {
            metrics,
            origin: None,
            inherited: Vec::new(),
            claim: None,
            custodian: None,
        }
    }
}

/// Checks ciphers, files, KEK and catalogue while another gateway runs on the same state directory. Yields the open KEK: a
/// passphrase on a descriptor can be read only once.
///
/// # Errors
/// [`StartError`]: a gateway with this configuration would not start.
pub fn rehearse(checked: &Checked) -> Result<Option<Arc<dyn Custodian>>, StartError> {
    envelope::self_test()?;
    let (wrong, _doubts) = examine(checked, &Clock::system());
    if let Some(first) = wrong.into_iter().next() {
        return Err(first.error);
    }
    if checked.dataplane.relay_only {
        return Ok(None);
    }
    Ok(state::rehearse(&checked.state, &checked.custody)?)
}

impl Gateway {
    /// Starts, in this order: self-test, certificates, state and keys, message path, administration. Call within a tokio runtime;
    /// waits for the disk.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        checked: &Checked,
        mut surroundings: Surroundings,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let mut claim = surroundings.claim.take();
        let relay_only = checked.dataplane.relay_only;
        let testimony = relay_only.then(|| relay::testify(checked, clock));
        match Self::prepare(checked, surroundings, claim.as_mut(), clock) {
            Ok(mut gateway) => {
                if let Some(claim) = claim {
                    gateway.confirm(claim);
                }
                // Not before: connections accepted from the kernel's queue are lost if this process does not serve after all.
                gateway.dataplane.accept();
                if let Some(testimony) = testimony {
                    gateway.relays(testimony.and_then(|testimony| testimony.in_force()));
                }
                let addrs = gateway.dataplane.addrs().iter();
                let listen: Vec<_> = addrs.map(ToString::to_string).collect();
                tracing::info!(?listen, relay_only, "ready");
                Ok(gateway)
            }
            Err(error) => {
                if let Some(claim) = claim {
                    claim.fail(&error.to_string());
                }
                Err(error)
            }
        }
    }

    /// [`Gateway::start`] up to, and without, accepting clients.
    fn prepare(
        checked: &Checked,
        surroundings: Surroundings,
        mut claim: Option<&mut Claim>,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let (config, certificates) = judge(checked, clock)?;
        let drainers = claim.as_mut().map(|claim| claim.take_drainers());
        let drainers = drainers.unwrap_or_default();
        let Begun {
            keys,
            rotation,
            custodian,
        } = begin(checked, (surroundings.custodian, drainers), clock)?;
        let mut inherited = surroundings.inherited;
        let admin = claim.and_then(|claim| {
            inherited.extend(claim.take_sockets());
            claim.take_admin()
        });
        let dataplane = Dataplane::start(
            process::fitted(*config),
            inherited,
            (Arc::clone(&keys), certificates.tls()),
            clock.clone(),
        )?;
        let reloader = surroundings.origin;
        let reloader =
            reloader.map(|origin| Reloader::new(origin, Arc::clone(&certificates), checked));
        let reloader = reloader.map(Arc::new);
        let premises = Box::new(Premises {
            checked: checked.clone(),
            clock: clock.clone(),
            metrics: surroundings.metrics.clone(),
            health: admin::Health::serving(dataplane.reach()),
            reloader,
            keys,
            custodian,
        });
        let mut gateway = Self {
            upkeep: [
                tokio::spawn(metrics::upkeep(surroundings.metrics)),
                tokio::spawn(certificates.watch()),
            ],
            dataplane,
            premises,
            seat: Seat::Lost,
            succession: Succession::Ends,
            testified: false,
        };
        gateway.seat = Seat::Held(gateway.sit(rotation, admin)?);
        Ok(gateway)
    }

    /// Reports relay-only mode (payloads pass unsealed) in health and log, and whether the audit log says so.
    fn relays(&mut self, testified: Result<(), Silent>) {
        self.testified = testified.is_ok();
        let mut what = "it relays only: no payload is sealed or opened".to_owned();
        if let Err(error) = testified {
            tracing::error!(%error, "relays only, and nothing vouches for when and for how long: the audit log cannot say so");
            what = format!("{what}, and the audit log does not say so: {error}");
        }
        self.premises.health.relaying(what);
    }

    /// Tells the gateway that handed over that this one serves; the paths of its unix sockets are this one's to remove now.
    fn confirm(&self, claim: Claim) {
        self.dataplane.assign(Some(claim.paths()), PathOf::Gateway);
        if let Err(error) = claim.confirm() {
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
        match &self.seat {
            Seat::Held(Held {
                admin: Some(admin), ..
            }) => admin.addr(),
            Seat::Held(_) | Seat::Offered(_) | Seat::Vacant(_) | Seat::Lost => None,
        }
    }

    /// The handle to rotation; `None` when the gateway relays only, or another process owns the keys.
    #[must_use]
    pub fn rotation(&self) -> Option<Rotation> {
        match &self.seat {
            Seat::Held(held) => held.rotation.as_ref().map(|(rotation, _)| rotation.clone()),
            Seat::Offered(_) | Seat::Vacant(_) | Seat::Lost => None,
        }
    }

    /// Reads the configuration again for `asker`, applies what can change without a restart, and logs the outcome.
    pub async fn reload(&self, asker: Asker) {
        if !matches!(self.seat, Seat::Held(_)) {
            tracing::error!("nothing is reloaded: another process is taking over");
            return;
        }
        if let Some(reloader) = &self.premises.reloader
            && let Err(problem) = reloader.reload(asker).await
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
        self.premises.health.draining();
        if let Seat::Held(held) = &self.seat {
            held.ports.iter().for_each(disk::Own::remove);
        }
        self.upkeep.iter().for_each(JoinHandle::abort);
        let mut seat = self.seat;
        let stopped = self.dataplane.stop(self.succession, (seat.moved(), hurry));
        let stopped = stopped.await;
        seat.leave().await;
        if self.testified
            && let Err(error) = relay::stopped(&self.premises.checked, &self.premises.clock)
        {
            tracing::warn!(%error, "the audit log does not say that the gateway stopped");
        }
        tracing::info!("stopped");
        stopped
    }
}

/// The checks that need no state directory: self-test, memory lock, certificates, administration.
fn judge(
    checked: &Checked,
    clock: &Clock,
) -> Result<(Box<dataplane::Config>, Arc<Certificates>), StartError> {
    envelope::self_test()?;
    process::lock_memory(checked.lock_memory)?;
    let config = Box::new(message_path(checked)?);
    let certificates = Arc::new(Certificates::load(&config, clock)?);
    match examine::administration(checked).next() {
        Some((_key, error)) => Err(error.into()),
        None => Ok((config, certificates)),
    }
}

/// The configuration of the message path, with the proxy's nkey, which is read here.
fn message_path(checked: &Checked) -> Result<dataplane::Config, KeyError> {
    let mut config = checked.dataplane.clone();
    if let Some(file) = &checked.proxy_seed {
        let key = Key::read(file)?;
        tracing::info!(key = key.public(), "a proxy that servers may trust");
        config.proxy.key = Some(Arc::new(key));
    }
    Ok(config)
}

/// The handle to rotation and its thread; `None` when the gateway relays only.
type Started = Option<(Rotation, rotation::Running)>;

/// Keys, rotation and custodian of a gateway that has opened its state directory.
struct Begun {
    keys: Arc<Keys>,
    rotation: Started,
    custodian: Option<Arc<dyn Custodian>>,
}

/// Opens the keys and starts rotation. A relay-only gateway touches neither KEK nor catalogue: it must start with these broken.
fn begin(
    checked: &Checked,
    (custodian, drainers): (Option<Arc<dyn Custodian>>, Vec<DrainLink>),
    clock: &Clock,
) -> Result<Begun, StartError> {
    if checked.dataplane.relay_only {
        let nothing = Arc::new(Policy::nothing());
        let (keys, _nobody_misses) = Keys::new(Snapshot::new(nothing, Vec::new(), Vec::new(), 0));
        return Ok(Begun {
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
    Ok(Begun {
        keys,
        rotation: Some((rotation, running)),
        custodian: Some(custodian),
    })
}

fn stores(checked: &Checked, opened: Opened, drainers: Vec<DrainLink>) -> Stores {
    Stores {
        catalogue: opened.catalogue,
        audit: opened.audit,
        control: checked.control.clone().map(Control::new),
        drainers,
        user: User::Gateway,
    }
}

/// Rotation's part of the configuration.
#[must_use]
pub fn rotation_config(checked: &Checked) -> rotation::Config {
    let terms = checked.keyrings.iter().map(|keyring| keyring.terms.clone());
    rotation::Config {
        policy: Arc::new(checked.policy.clone()),
        terms: terms.collect(),
        workers: checked.dataplane.worker_count(),
        settings: settings(checked),
    }
}
