//! What only one process may have: keys that change, the audit log, the doors of operators; and how it passes to another process.

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

/// How long the process that takes over may say nothing before clients are accepted here again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often taking back is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Who has it.
pub(super) enum Seat {
    /// This process.
    Held(Held),
    /// Another process has been given everything, and has yet to say that it serves.
    Offered(Offered),
    /// That process has ended, and this one has yet to get everything back.
    Vacant(Vacant),
    /// Nobody, and this process never again.
    Lost,
}

/// Everything.
pub(super) struct Held {
    pub(super) admin: Option<admin::Running>,
    /// `None` when the gateway relays only.
    pub(super) rotation: Option<(Rotation, rotation::Running)>,
    door: Option<Door>,
    /// Where others find the addresses.
    pub(super) ports: Option<Own>,
    reporter: JoinHandle<()>,
}

/// What is left while another process has it.
pub(super) struct Vacant {
    /// Follows what the other process does with keys.
    follower: Option<rotation::Running>,
    /// The socket of metrics and health.
    admin: Option<TcpListener>,
    /// The ways to processes that drain already, to be had back.
    drainers: Vec<DrainLink>,
    /// Ends when the clients of this process are to be moved at once.
    moved: Option<oneshot::Receiver<()>>,
}

/// The same, and the way to the other process.
pub(super) struct Offered {
    offer: Offer,
    left: Vacant,
    /// Until when it may be silent; `None` once that was said.
    until: Option<Instant>,
}

/// Something about the seat has happened.
pub struct Due(What);

enum What {
    Petition(Petition),
    Answered(Answer),
    Silent,
    Retry,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    /// The gateway goes on.
    Stays,
    /// Another process serves: this one is to be stopped.
    HandedOver,
}

impl Gateway {
    /// Waits until something happens between this process and one that takes over. May be dropped and called again.
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

    /// Acts on it.
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
                // They are its own now, and are to notice when it ends.
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

    /// Gives everything to another process.
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

    /// Lets go of everything: another process can have it then.
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

    /// Takes back what another process let go of by ending.
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
        // The follower alone takes the lock, and may have it.
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

    /// Rotation for the keys that the message path has.
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

    /// Opens the doors of operators, and that of whoever takes over.
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
    /// Ends when the clients of this process, which drains, are to be moved at once.
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

    /// Lets go for good, when the sessions have ended.
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

/// What waits for the disk, without keeping the thread that accepts clients and serves operators.
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

/// Every socket that is handed over, with its name.
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
