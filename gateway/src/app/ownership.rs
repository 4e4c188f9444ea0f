//! Ownership of what only one process may have: keys, audit log, administration.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::StartError;
use super::handover::{HandoverListener, Offer};
use super::key_setup::{StartedRotation, stores};
use super::manager::Reporter;
use super::ports;
use super::reload::{Reloader, reloaded_config};
use super::state::{self, OpenError};
use crate::admin::{self, Reload};
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::custodian::Custodian;
use crate::dataplane::Dataplane;
use crate::disk::{self, OwnedFile};
use crate::fault::Faulty;
use crate::keyring::Keys;
use crate::metrics::PrometheusHandle;
use crate::rotation::{self, DrainLink, ProcessKind, Rotation};

/// Which process owns keys, audit log and administration.
pub(super) enum Ownership {
    /// This process owns them.
    Owned(Owned),
    /// Handed over to another process, which may not have confirmed yet that it serves.
    Offered(Offered),
    /// That process has ended or failed, and this one has yet to take everything back.
    Released(Released),
    /// This process has lost them for good; only a restart helps.
    Lost,
}

/// What only the owner has.
pub(super) struct Owned {
    pub(super) admin: Option<admin::AdminServer>,
    /// `None` when the gateway relays only.
    pub(super) rotation: Option<(Rotation, rotation::Running)>,
    pub(super) handover_listener: Option<HandoverListener>,
    /// `ports.json`, where others find the addresses.
    pub(super) ports: Option<OwnedFile>,
    reporter: JoinHandle<()>,
}

/// What this process keeps while it is not the owner.
pub(super) struct Released {
    /// Follows the key changes of the process that owns them.
    pub(super) follower: Option<rotation::Running>,
    /// The listening socket of administration.
    pub(super) admin: Option<TcpListener>,
    /// Links to processes that drain already, kept for a take-back.
    pub(super) drainers: Vec<DrainLink>,
    /// Fires when the clients of this process must be moved at once.
    moved: Option<oneshot::Receiver<()>>,
}

/// [`Released`], with the connection to the process that takes over.
pub(super) struct Offered {
    pub(super) offer: Offer,
    pub(super) left: Released,
    /// Its deadline to confirm; `None` once the deadline has passed and was reported.
    pub(super) until: Option<Instant>,
}

/// What a gateway keeps whether or not it owns keys and audit log ([`Ownership`]).
pub(super) struct GatewayContext {
    pub(super) checked: GatewayConfig,
    pub(super) clock: Clock,
    pub(super) metrics: PrometheusHandle,
    pub(super) health: admin::Health,
    pub(super) reloader: Option<Arc<Reloader>>,
    pub(super) keys: Arc<Keys>,
    /// `None` when the gateway relays only.
    pub(super) custodian: Option<Arc<dyn Custodian>>,
}

impl GatewayContext {
    /// Stops administration, and makes rotation a follower: another process can own keys and audit log then.
    pub(super) async fn release(&self, held: Owned, link: DrainLink) -> Released {
        held.reporter.abort();
        drop(held.handover_listener);
        let admin = match held.admin {
            Some(admin) => admin.hand_over().await,
            None => None,
        };
        held.ports.iter().for_each(OwnedFile::remove);
        if let Some(reloader) = &self.reloader {
            reloader.attach(None);
        }
        let follower = held.rotation.map(|(_rotation, running)| running);
        let handed = match &follower {
            Some(running) => Some(running.hand_over(link).await),
            None => None,
        };
        let (drainers, moved) = handed.map(|handed| (handed.drainers, handed.moved)).unzip();
        Released {
            follower,
            admin,
            drainers: drainers.unwrap_or_default(),
            moved,
        }
    }

    pub(super) async fn reopen(
        &self,
        left: &Released,
    ) -> Result<Option<Box<state::OpenState>>, OpenError> {
        let Some(custodian) = &self.custodian else {
            return Ok(None);
        };
        // The follower shares the lock of the state directory, so that only it can promote it.
        let lock = match &left.follower {
            Some(follower) => follower.lock().await.transpose()?,
            None => None,
        };
        let (state, custodian) = (self.checked.state.clone(), Arc::clone(custodian));
        let clock = self.clock.clone();
        let opened =
            blocking(move || state::reopen(&state, &custodian, (&clock, lock)).map(Box::new));
        opened.await.map(Some)
    }

    /// Restarts rotation with the keys that the message path uses. `None`: it failed, and nothing is sealed any more.
    pub(super) async fn resume(
        &self,
        opened: Box<state::OpenState>,
        (follower, drainers): (rotation::Running, Vec<DrainLink>),
    ) -> Option<(Rotation, rotation::Running)> {
        let checked = match &self.reloader {
            Some(reloader) => reloader.current().await,
            None => self.checked.clone(),
        };
        let keys = Arc::clone(&self.keys);
        let Some(misses) = follower.stop().await else {
            blocking(move || {
                rotation::stop_sealing(&keys);
                drop(opened);
            })
            .await;
            return None;
        };
        let held = rotation::MessagePath { keys, misses };
        let stores = stores(&checked, *opened, (ProcessKind::Gateway, drainers));
        let config = reloaded_config(&self.checked, &checked);
        let clock = self.clock.clone();
        let resume = move || match stores {
            Ok(stores) => rotation::resume(config, stores, clock, held),
            Err(error) => {
                rotation::stop_sealing(&held.keys);
                Err(error)
            }
        };
        blocking(resume)
            .await
            .inspect_err(|error| {
                tracing::error!(error = %error.with_help(), "rotation does not start again: nothing is sealed any more, and publishes wait; restart the gateway");
            })
            .ok()
    }

    /// Starts administration and the hand-over socket.
    pub(super) fn take_ownership(
        &self,
        dataplane: &Dataplane,
        rotation: StartedRotation,
        admin: Option<TcpListener>,
    ) -> Result<Owned, StartError> {
        let handle = rotation.as_ref().map(|(rotation, _running)| rotation);
        if let Some(reloader) = &self.reloader {
            reloader.attach(handle.cloned());
        }
        let reload =
            |reloader: &Arc<Reloader>| -> Box<dyn Reload> { Box::new(Arc::clone(reloader)) };
        let sources = admin::Dependencies {
            rotation: handle.cloned(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            reload: self.reloader.as_ref().map(reload),
        };
        let reporter = Reporter {
            liveness: dataplane.liveness(),
            health: self.health.clone(),
            rotation: handle.cloned(),
        };
        let checked = &self.checked;
        disk::StateDir::create(&checked.state)?;
        let admin = admin::serve(&checked.admin, sources, admin)?;
        let handover_listener = HandoverListener::open(&checked.state)
            .inspect_err(|error| tracing::warn!(%error, "no other process can take over: the hand-over socket cannot be made"))
            .ok();
        let ports = ports::write(&checked.state, dataplane.addrs(), admin.addr());
        let ports = ports
            .inspect_err(|error| tracing::error!(error = %error.with_help(), "the addresses are not written down for others; clients are served all the same"))
            .ok();
        Ok(Owned {
            admin: Some(admin),
            rotation,
            handover_listener,
            ports,
            reporter: tokio::spawn(reporter.run()),
        })
    }
}

impl Ownership {
    /// Ends when the process that took over wants the clients of this one moved at once; else never.
    pub(super) fn moved(&mut self) -> impl Future<Output = ()> + use<> {
        let moved = match self {
            Self::Offered(offered) => offered.left.moved.take(),
            Self::Owned(_) | Self::Released(_) | Self::Lost => None,
        };
        async move {
            let told = match moved {
                Some(moved) => moved.await.ok(),
                None => None,
            };
            if told.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops administration and rotation for good, after the sessions have ended.
    pub(super) async fn shut_down(self) {
        let follower = match self {
            Self::Owned(held) => {
                held.reporter.abort();
                if let Some(admin) = held.admin {
                    admin.stop().await;
                }
                held.rotation.map(|(_rotation, running)| running)
            }
            Self::Offered(Offered { left, .. }) | Self::Released(left) => left.follower,
            Self::Lost => None,
        };
        if let Some(running) = follower {
            running.stop().await;
        }
    }
}

/// Runs blocking work off the control thread, which accepts clients and serves administration.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
