//! A running gateway: started, reloaded, stopped.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::certificates::Certificates;
use super::check_files;
use super::error::StartError;
use super::handover::TakeOver;
use super::key_setup::{KeySetup, open_keys};
use super::ownership::{GatewayContext, Ownership};
use super::process;
use super::relay::{self, RelayAuditError};
use super::reload::{ConfigSource, Reloader};
use crate::admin::{self, Reload as _};
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::custodian::Custodian;
use crate::dataplane::{self, Dataplane, Inherited, ListenAddr, PathOwner, StopKind, Stopped};
use crate::disk;
use crate::envelope;
use crate::fault::Faulty;
use crate::metrics::{self, PrometheusHandle};
use crate::operations::Caller;
use crate::proxy::{Key, KeyError};
use crate::rotation::Rotation;

/// A running gateway.
pub struct Gateway {
    pub(super) dataplane: Dataplane,
    pub(super) context: Box<GatewayContext>,
    pub(super) ownership: Ownership,
    pub(super) succession: StopKind,
    /// Whether the audit log says that this gateway relays only.
    relay_logged: bool,
    background_tasks: [JoinHandle<()>; 2],
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
                    take_over.fail(&error.with_help());
                }
                Err(error)
            }
        }
    }

    /// [`Gateway::start`] up to, and without, accepting clients.
    fn prepare(
        checked: &GatewayConfig,
        options: StartOptions,
        take_over: Option<&mut TakeOver>,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let (config, certificates) = preflight(checked, clock)?;
        let (mut inherited, mut drainers, mut admin) = (options.inherited, Vec::new(), None);
        if let Some(take_over) = take_over {
            drainers = std::mem::take(&mut take_over.drainers);
            inherited.append(&mut take_over.sockets);
            admin = take_over.admin.take();
        }
        let KeySetup {
            keys,
            rotation,
            custodian,
        } = open_keys(checked, (options.custodian, drainers), clock)?;
        let dataplane = Dataplane::start(
            process::limit_connections(*config),
            inherited,
            (Arc::clone(&keys), certificates.tls()),
            clock.clone(),
        )?;
        let reloader = |source| Reloader::new(source, Arc::clone(&certificates), checked);
        let context = Box::new(GatewayContext {
            checked: checked.clone(),
            clock: clock.clone(),
            metrics: options.metrics.clone(),
            health: admin::Health::serving(dataplane.reach()),
            reloader: options.config_source.map(reloader).map(Arc::new),
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
        let owned = gateway
            .context
            .take_ownership(&gateway.dataplane, rotation, admin)?;
        gateway.ownership = Ownership::Owned(owned);
        Ok(gateway)
    }

    /// Reports relay-only mode (payloads pass unsealed) in health and log, and whether the audit log says so.
    fn set_relaying(&mut self, relay_logged: Result<(), RelayAuditError>) {
        self.relay_logged = relay_logged.is_ok();
        let mut what = "it relays only: no payload is sealed or opened".to_owned();
        if let Err(error) = relay_logged {
            let error = error.with_help();
            tracing::error!(%error, "relays only, and nothing vouches for when and for how long: the audit log cannot say so");
            what = format!("{what}, and the audit log does not say so: {error}");
        }
        self.context.health.set_relay_only(what);
    }

    /// Tells the gateway that handed over that this one serves; the paths of its unix sockets are this one's to remove now.
    fn confirm(&self, take_over: TakeOver) {
        self.dataplane
            .set_path_owner(Some(&take_over.paths), PathOwner::Gateway);
        if let Err(error) = take_over.confirm() {
            tracing::warn!(%error, "the gateway that handed over has ended by itself");
        }
    }

    /// The addresses that clients connect to.
    #[must_use]
    pub fn addrs(&self) -> &[ListenAddr] {
        self.dataplane.addrs()
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
            tracing::warn!(error = %error.with_help(), "the audit log does not say that the gateway stopped");
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
