//! Ownership of what only one process may have (keys, audit log, administration), and its hand-over to another process.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::handover::{Answer, HandoverListener, Label, Offer, Purpose, TakeOverRequest};
use super::manager::Reporter;
use super::reload::reloaded_config;
use super::{Gateway, OpenError, Reloader, StartError, StartedRotation, ports, state};
use crate::admin::{self, Reload};
use crate::dataplane::{HandoverSocket, ListenAddr, PathOwner, StopKind};
use crate::disk::{self, OwnedFile};
use crate::rotation::{self, DrainLink, Rotation};

/// How long the process that takes over has to confirm before clients are accepted here again.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a failed take-back is tried again.
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(1);

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
    handover_listener: Option<HandoverListener>,
    /// `ports.json`, where others find the addresses.
    pub(super) ports: Option<OwnedFile>,
    reporter: JoinHandle<()>,
}

/// What this process keeps while it is not the owner.
pub(super) struct Released {
    /// Follows the key changes of the process that owns them.
    follower: Option<rotation::Running>,
    /// The listening socket of administration.
    admin: Option<TcpListener>,
    /// Links to processes that drain already, kept for a take-back.
    drainers: Vec<DrainLink>,
    /// Fires when the clients of this process must be moved at once.
    moved: Option<oneshot::Receiver<()>>,
}

/// [`Released`], with the connection to the process that takes over.
pub(super) struct Offered {
    offer: Offer,
    left: Released,
    /// Its deadline to confirm; `None` once the deadline has passed and was reported.
    until: Option<Instant>,
}

/// A step of a hand-over that [`Gateway::attend`] has to act on.
pub struct HandoverEvent(Event);

enum Event {
    TakeOverRequest(TakeOverRequest),
    Answer(Answer),
    TimedOut,
    Retry,
}

/// Whether the gateway goes on after a step of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverOutcome {
    /// The gateway goes on.
    Continues,
    /// Another process serves: stop this one.
    HandedOver,
}

impl Gateway {
    /// Waits for the next step of a hand-over. Cancel safe.
    pub async fn handover_event(&mut self) -> HandoverEvent {
        HandoverEvent(match &mut self.ownership {
            Ownership::Owned(Owned {
                handover_listener: Some(handover_listener),
                ..
            }) => Event::TakeOverRequest(handover_listener.request().await),
            Ownership::Offered(offered) => {
                let until = offered.until;
                tokio::select! {
                    answer = offered.offer.answer() => Event::Answer(answer),
                    () = deadline(until) => Event::TimedOut,
                }
            }
            Ownership::Released(_) => {
                sleep(TAKE_BACK_INTERVAL).await;
                Event::Retry
            }
            Ownership::Owned(_) | Ownership::Lost => std::future::pending().await,
        })
    }

    /// Acts on a step of a hand-over.
    pub async fn handle_handover(&mut self, event: HandoverEvent) -> HandoverOutcome {
        let ownership = std::mem::replace(&mut self.ownership, Ownership::Lost);
        self.ownership = match (event.0, ownership) {
            (Event::TakeOverRequest(request), Ownership::Owned(held)) => {
                Box::pin(self.hand_over(held, request)).await
            }
            (Event::Answer(Answer::Serves), Ownership::Offered(mut offered)) => {
                tracing::info!(
                    "another process has taken over; the connections of this one are drained"
                );
                self.dataplane.set_path_owner(None, PathOwner::Other);
                self.succession = StopKind::Handover;
                // The other process has the links now; a copy kept here would hide its end from those that drain.
                offered.left.drainers.clear();
                self.ownership = Ownership::Offered(offered);
                return HandoverOutcome::HandedOver;
            }
            (Event::Answer(Answer::Gone(why)), Ownership::Offered(offered)) => {
                tracing::error!(%why, "the process that was to take over does not serve; taking everything back");
                Box::pin(self.take_back(offered.left)).await
            }
            (Event::TimedOut, Ownership::Offered(mut offered)) => {
                tracing::error!(
                    "the process that takes over is silent: clients are accepted here again, and keys are its own"
                );
                offered.until = None;
                self.dataplane.accept();
                Ownership::Offered(offered)
            }
            (Event::Retry, Ownership::Released(left)) => Box::pin(self.take_back(left)).await,
            (_, ownership) => ownership,
        };
        HandoverOutcome::Continues
    }

    /// Pauses, releases what only one process may have, and sends the sockets to the process that asked.
    async fn hand_over(&mut self, held: Owned, request: TakeOverRequest) -> Ownership {
        tracing::info!("another process wants to take over");
        self.dataplane.pause().await;
        let ends = self
            .dataplane
            .sockets()
            .and_then(|handed| Ok((handed, DrainLink::pair()?)));
        let (handed, link) = match ends {
            Ok(ends) => ends,
            Err(error) => {
                tracing::error!(%error, "nothing is handed over");
                request.refuse(&error.to_string()).await;
                self.dataplane.accept();
                return Ownership::Owned(held);
            }
        };
        let (ours, theirs) = link;
        let left = Box::pin(self.release(held, ours)).await;
        let sockets = label_sockets(handed, &left, &self.context.checked.admin);
        let sockets = sockets.map(|mut sockets| {
            if left.follower.is_some() {
                sockets.push((Label::drains(), theirs.into()));
            }
            sockets
        });
        let granted = match sockets {
            Ok(sockets) => request.grant(sockets).await,
            Err(error) => Err(error),
        };
        match granted {
            Ok(offer) => Ownership::Offered(Offered {
                offer,
                left,
                until: Instant::now().checked_add(CONFIRM_TIMEOUT),
            }),
            Err(error) => {
                tracing::error!(%error, "nothing could be handed over; taking everything back");
                Box::pin(self.take_back(left)).await
            }
        }
    }

    /// Stops administration, and makes rotation a follower: another process can own keys and audit log then.
    async fn release(&self, held: Owned, link: DrainLink) -> Released {
        held.reporter.abort();
        drop(held.handover_listener);
        let admin = match held.admin {
            Some(admin) => admin.hand_over().await,
            None => None,
        };
        held.ports.iter().for_each(OwnedFile::remove);
        if let Some(reloader) = &self.context.reloader {
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

    /// Becomes the owner again after the process that took over has ended or failed.
    async fn take_back(&mut self, left: Released) -> Ownership {
        self.dataplane.accept();
        let opened = match Box::pin(self.reopen(&left)).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "the keys cannot be taken back yet: connections go on under those that they have; tried again");
                return Ownership::Released(left);
            }
        };
        let rotation = match (opened, left.follower) {
            (Some(opened), Some(follower)) => {
                let resumed = self.resume(opened, (follower, left.drainers));
                match Box::pin(resumed).await {
                    Some(rotation) => Some(rotation),
                    None => return Ownership::Lost,
                }
            }
            _ => None,
        };
        match self.take_ownership(rotation, left.admin) {
            Ok(held) => {
                tracing::info!("everything is taken back");
                Ownership::Owned(held)
            }
            Err(error) => {
                tracing::error!(%error, "operators cannot be served any more; restart the gateway");
                Ownership::Lost
            }
        }
    }

    async fn reopen(&self, left: &Released) -> Result<Option<Box<state::OpenState>>, OpenError> {
        let context = &self.context;
        let Some(custodian) = &context.custodian else {
            return Ok(None);
        };
        // The follower shares the lock of the state directory, so that only it can promote it.
        let lock = match &left.follower {
            Some(follower) => follower.lock().await.transpose()?,
            None => None,
        };
        let (state, custodian) = (context.checked.state.clone(), Arc::clone(custodian));
        let clock = context.clock.clone();
        let opened =
            blocking(move || state::reopen(&state, &custodian, (&clock, lock)).map(Box::new));
        opened.await.map(Some)
    }

    /// Restarts rotation with the keys that the message path uses. `None`: it failed, and nothing is sealed any more.
    async fn resume(
        &self,
        opened: Box<state::OpenState>,
        (follower, drainers): (rotation::Running, Vec<DrainLink>),
    ) -> Option<(Rotation, rotation::Running)> {
        let context = &self.context;
        let checked = match &context.reloader {
            Some(reloader) => reloader.current().await,
            None => context.checked.clone(),
        };
        let keys = Arc::clone(&context.keys);
        let Some(misses) = follower.stop().await else {
            blocking(move || {
                rotation::stop_sealing(&keys);
                drop(opened);
            })
            .await;
            return None;
        };
        let held = rotation::MessagePath { keys, misses };
        let stores = super::stores(&checked, *opened, drainers);
        let config = reloaded_config(&context.checked, &checked);
        let clock = context.clock.clone();
        blocking(move || rotation::resume(config, stores, clock, held))
            .await
            .inspect_err(|error| {
                tracing::error!(%error, "rotation does not start again: nothing is sealed any more, and publishes wait; restart the gateway");
            })
            .ok()
    }

    /// Starts administration and the hand-over socket.
    pub(super) fn take_ownership(
        &self,
        rotation: StartedRotation,
        admin: Option<TcpListener>,
    ) -> Result<Owned, StartError> {
        let context = &self.context;
        let handle = rotation.as_ref().map(|(rotation, _running)| rotation);
        if let Some(reloader) = &context.reloader {
            reloader.attach(handle.cloned());
        }
        let reload =
            |reloader: &Arc<Reloader>| -> Box<dyn Reload> { Box::new(Arc::clone(reloader)) };
        let sources = admin::Dependencies {
            rotation: handle.cloned(),
            metrics: context.metrics.clone(),
            health: context.health.clone(),
            reload: context.reloader.as_ref().map(reload),
        };
        let reporter = Reporter {
            liveness: self.dataplane.liveness(),
            health: context.health.clone(),
            rotation: handle.cloned(),
        };
        let checked = &context.checked;
        disk::StateDir::create(&checked.state)?;
        let admin = admin::serve(&checked.admin, sources, admin)?;
        let handover_listener = HandoverListener::open(&checked.state)
            .inspect_err(|error| tracing::warn!(%error, "no other process can take over: the hand-over socket cannot be made"))
            .ok();
        let ports = ports::write(&checked.state, self.dataplane.addrs(), admin.addr());
        let ports = ports
            .inspect_err(|error| tracing::error!(%error, "the addresses are not written down for others; clients are served all the same"))
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

async fn deadline(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Every socket that is handed over, with its label.
fn label_sockets(
    handed: Vec<HandoverSocket>,
    left: &Released,
    config: &admin::AdminConfig,
) -> std::io::Result<Vec<(Label, std::os::fd::OwnedFd)>> {
    let clients = handed.into_iter();
    let clients = clients.map(|handed| (Label::of(&handed.configured, handed.path), handed.socket));
    let mut sockets: Vec<_> = clients.collect();
    for link in &left.drainers {
        sockets.push((Label::drains(), link.try_clone()?.into()));
    }
    if let (Some(listener), Some(addr)) = (left.admin.as_ref(), config.listen) {
        let mut label = Label::of(&ListenAddr::Tcp(addr), PathOwner::Other);
        label.purpose = Purpose::Admin;
        sockets.push((label, listener.try_clone()?.into()));
    }
    Ok(sockets)
}
