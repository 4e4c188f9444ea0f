//! Ownership of what only one process may have (keys, audit log, administration), and its hand-over to another process.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::handover::{Answer, Door, Label, Offer, Petition, Purpose};
use super::manager::Reporter;
use super::reload::reloaded_config;
use super::{Gateway, OpenError, Reloader, StartError, Started, ports, state};
use crate::admin::{self, Reload};
use crate::dataplane::{Handed, ListenAddr, PathOf, Succession};
use crate::disk::{self, Own};
use crate::rotation::{self, DrainLink, Rotation};

/// How long the process that takes over has to confirm before clients are accepted here again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a failed take-back is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Which process owns keys, audit log and administration.
pub(super) enum Seat {
    /// This process owns them.
    Held(Held),
    /// Handed over to another process, which may not have confirmed yet that it serves.
    Offered(Offered),
    /// That process has ended or failed, and this one has yet to take everything back.
    Vacant(Vacant),
    /// This process has lost them for good; only a restart helps.
    Lost,
}

/// What only the owner has.
pub(super) struct Held {
    pub(super) admin: Option<admin::Running>,
    /// `None` when the gateway relays only.
    pub(super) rotation: Option<(Rotation, rotation::Running)>,
    door: Option<Door>,
    /// `ports.json`, where others find the addresses.
    pub(super) ports: Option<Own>,
    reporter: JoinHandle<()>,
}

/// What this process keeps while it is not the owner.
pub(super) struct Vacant {
    /// Follows the key changes of the process that owns them.
    follower: Option<rotation::Running>,
    /// The listening socket of administration.
    admin: Option<TcpListener>,
    /// Links to processes that drain already, kept for a take-back.
    drainers: Vec<DrainLink>,
    /// Fires when the clients of this process must be moved at once.
    moved: Option<oneshot::Receiver<()>>,
}

/// [`Vacant`], with the connection to the process that takes over.
pub(super) struct Offered {
    offer: Offer,
    left: Vacant,
    /// Its deadline to confirm; `None` once the deadline has passed and was reported.
    until: Option<Instant>,
}

/// A step of a hand-over that [`Gateway::attend`] has to act on.
pub struct Due(What);

enum What {
    Petition(Petition),
    Answered(Answer),
    Silent,
    Retry,
}

/// Whether the gateway goes on after a step of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    /// The gateway goes on.
    Stays,
    /// Another process serves: stop this one.
    HandedOver,
}

impl Gateway {
    /// Waits for the next step of a hand-over. Cancel safe.
    pub async fn due(&mut self) -> Due {
        Due(match &mut self.seat {
            Seat::Held(Held {
                door: Some(door), ..
            }) => What::Petition(door.petition().await),
            Seat::Offered(offered) => {
                let until = offered.until;
                tokio::select! {
                    answer = offered.offer.answer() => What::Answered(answer),
                    () = silence(until) => What::Silent,
                }
            }
            Seat::Vacant(_) => {
                sleep(RETRY).await;
                What::Retry
            }
            Seat::Held(_) | Seat::Lost => std::future::pending().await,
        })
    }

    /// Acts on a step of a hand-over.
    pub async fn attend(&mut self, due: Due) -> Attended {
        let seat = std::mem::replace(&mut self.seat, Seat::Lost);
        self.seat = match (due.0, seat) {
            (What::Petition(petition), Seat::Held(held)) => {
                Box::pin(self.hand_over(held, petition)).await
            }
            (What::Answered(Answer::Serves), Seat::Offered(mut offered)) => {
                tracing::info!(
                    "another process has taken over; the connections of this one are drained"
                );
                self.dataplane.assign(None, PathOf::Other);
                self.succession = Succession::GoesOn;
                // The other process has the links now; a copy kept here would hide its end from those that drain.
                offered.left.drainers.clear();
                self.seat = Seat::Offered(offered);
                return Attended::HandedOver;
            }
            (What::Answered(Answer::Gone(why)), Seat::Offered(offered)) => {
                tracing::error!(%why, "the process that was to take over does not serve; taking everything back");
                Box::pin(self.take_back(offered.left)).await
            }
            (What::Silent, Seat::Offered(mut offered)) => {
                tracing::error!(
                    "the process that takes over is silent: clients are accepted here again, and keys are its own"
                );
                offered.until = None;
                self.dataplane.accept();
                Seat::Offered(offered)
            }
            (What::Retry, Seat::Vacant(left)) => Box::pin(self.take_back(left)).await,
            (_, seat) => seat,
        };
        Attended::Stays
    }

    /// Pauses, releases what only one process may have, and sends the sockets to the process that asked.
    async fn hand_over(&mut self, held: Held, petition: Petition) -> Seat {
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
                petition.refuse(&error.to_string()).await;
                self.dataplane.accept();
                return Seat::Held(held);
            }
        };
        let (ours, theirs) = link;
        let left = Box::pin(self.vacate(held, ours)).await;
        let sockets = labelled(handed, &left, &self.premises.checked.admin);
        let sockets = sockets.map(|mut sockets| {
            if left.follower.is_some() {
                sockets.push((Label::drains(), theirs.into()));
            }
            sockets
        });
        let granted = match sockets {
            Ok(sockets) => petition.grant(sockets).await,
            Err(error) => Err(error),
        };
        match granted {
            Ok(offer) => Seat::Offered(Offered {
                offer,
                left,
                until: Instant::now().checked_add(PATIENCE),
            }),
            Err(error) => {
                tracing::error!(%error, "nothing could be handed over; taking everything back");
                Box::pin(self.take_back(left)).await
            }
        }
    }

    /// Stops administration, and makes rotation a follower: another process can own keys and audit log then.
    async fn vacate(&self, held: Held, link: DrainLink) -> Vacant {
        held.reporter.abort();
        drop(held.door);
        let admin = match held.admin {
            Some(admin) => admin.hand_over().await,
            None => None,
        };
        held.ports.iter().for_each(Own::remove);
        if let Some(reloader) = &self.premises.reloader {
            reloader.attach(None);
        }
        let follower = held.rotation.map(|(_rotation, running)| running);
        let handed = match &follower {
            Some(running) => Some(running.hand_over(link).await),
            None => None,
        };
        let (drainers, moved) = handed.map(|handed| (handed.drainers, handed.moved)).unzip();
        Vacant {
            follower,
            admin,
            drainers: drainers.unwrap_or_default(),
            moved,
        }
    }

    /// Becomes the owner again after the process that took over has ended or failed.
    async fn take_back(&mut self, left: Vacant) -> Seat {
        self.dataplane.accept();
        let opened = match Box::pin(self.reopen(&left)).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "the keys cannot be taken back yet: connections go on under those that they have; tried again");
                return Seat::Vacant(left);
            }
        };
        let rotation = match (opened, left.follower) {
            (Some(opened), Some(follower)) => {
                let resumed = self.resume(opened, (follower, left.drainers));
                match Box::pin(resumed).await {
                    Some(rotation) => Some(rotation),
                    None => return Seat::Lost,
                }
            }
            _ => None,
        };
        match self.sit(rotation, left.admin) {
            Ok(held) => {
                tracing::info!("everything is taken back");
                Seat::Held(held)
            }
            Err(error) => {
                tracing::error!(%error, "operators cannot be served any more; restart the gateway");
                Seat::Lost
            }
        }
    }

    async fn reopen(&self, left: &Vacant) -> Result<Option<Box<state::Opened>>, OpenError> {
        let premises = &self.premises;
        let Some(custodian) = &premises.custodian else {
            return Ok(None);
        };
        // The follower shares the lock of the state directory, so that only it can promote it.
        let lock = match &left.follower {
            Some(follower) => follower.lock().await.transpose()?,
            None => None,
        };
        let (state, custodian) = (premises.checked.state.clone(), Arc::clone(custodian));
        let clock = premises.clock.clone();
        let opened =
            blocking(move || state::reopen(&state, &custodian, (&clock, lock)).map(Box::new));
        opened.await.map(Some)
    }

    /// Restarts rotation with the keys that the message path uses. `None`: it failed, and nothing is sealed any more.
    async fn resume(
        &self,
        opened: Box<state::Opened>,
        (follower, drainers): (rotation::Running, Vec<DrainLink>),
    ) -> Option<(Rotation, rotation::Running)> {
        let premises = &self.premises;
        let checked = match &premises.reloader {
            Some(reloader) => reloader.current().await,
            None => premises.checked.clone(),
        };
        let keys = Arc::clone(&premises.keys);
        let Some(misses) = follower.stop().await else {
            blocking(move || {
                rotation::stop_sealing(&keys);
                drop(opened);
            })
            .await;
            return None;
        };
        let held = rotation::Held { keys, misses };
        let stores = super::stores(&checked, *opened, drainers);
        let config = reloaded_config(&premises.checked, &checked);
        let clock = premises.clock.clone();
        blocking(move || rotation::resume(config, stores, clock, held))
            .await
            .inspect_err(|error| {
                tracing::error!(%error, "rotation does not start again: nothing is sealed any more, and publishes wait; restart the gateway");
            })
            .ok()
    }

    /// Starts administration and the hand-over socket.
    pub(super) fn sit(
        &self,
        rotation: Started,
        admin: Option<TcpListener>,
    ) -> Result<Held, StartError> {
        let premises = &self.premises;
        let handle = rotation.as_ref().map(|(rotation, _running)| rotation);
        if let Some(reloader) = &premises.reloader {
            reloader.attach(handle.cloned());
        }
        let reload =
            |reloader: &Arc<Reloader>| -> Box<dyn Reload> { Box::new(Arc::clone(reloader)) };
        let sources = admin::Sources {
            rotation: handle.cloned(),
            metrics: premises.metrics.clone(),
            health: premises.health.clone(),
            reload: premises.reloader.as_ref().map(reload),
            clock: premises.clock.clone(),
        };
        let reporter = Reporter {
            pulse: self.dataplane.pulse(),
            health: premises.health.clone(),
            rotation: handle.cloned(),
        };
        let checked = &premises.checked;
        disk::StateDir::create(&checked.state)?;
        let admin = admin::serve(&checked.admin, sources, admin)?;
        let door = Door::open(&checked.state)
            .inspect_err(|error| tracing::warn!(%error, "no other process can take over: the hand-over socket cannot be made"))
            .ok();
        let ports = ports::write(&checked.state, self.dataplane.addrs(), admin.addr());
        let ports = ports
            .inspect_err(|error| tracing::error!(%error, "the addresses are not written down for others; clients are served all the same"))
            .ok();
        Ok(Held {
            admin: Some(admin),
            rotation,
            door,
            ports,
            reporter: tokio::spawn(reporter.run()),
        })
    }
}

impl Seat {
    /// Ends when the process that took over wants the clients of this one moved at once; else never.
    pub(super) fn moved(&mut self) -> impl Future<Output = ()> + use<> {
        let moved = match self {
            Self::Offered(offered) => offered.left.moved.take(),
            Self::Held(_) | Self::Vacant(_) | Self::Lost => None,
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
    pub(super) async fn leave(self) {
        let follower = match self {
            Self::Held(held) => {
                held.reporter.abort();
                if let Some(admin) = held.admin {
                    admin.stop().await;
                }
                held.rotation.map(|(_rotation, running)| running)
            }
            Self::Offered(Offered { left, .. }) | Self::Vacant(left) => left.follower,
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

async fn silence(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Every socket that is handed over, with its label.
fn labelled(
    handed: Vec<Handed>,
    left: &Vacant,
    config: &admin::Config,
) -> std::io::Result<Vec<(Label, std::os::fd::OwnedFd)>> {
    let clients = handed.into_iter();
    let clients = clients.map(|door| (Label::of(&door.configured, door.path), door.socket));
    let mut sockets: Vec<_> = clients.collect();
    for link in &left.drainers {
        sockets.push((Label::drains(), link.again()?.into()));
    }
    if let (Some(listener), Some(addr)) = (left.admin.as_ref(), config.listen) {
        let mut label = Label::of(&ListenAddr::Tcp(addr), PathOf::Other);
        label.purpose = Purpose::Admin;
        sockets.push((label, listener.try_clone()?.into()));
    }
    Ok(sockets)
}
