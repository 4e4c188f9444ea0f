//! The hand-over to another process, step by step.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::gateway::Gateway;
use super::handover::{Answer, Label, Purpose, TakeOverRequest};
use super::ownership::{Offered, Owned, Ownership, Released};
use crate::admin;
use crate::dataplane::{HandoverSocket, ListenAddr, PathOwner, StopKind};
use crate::fault::Faulty;
use crate::rotation::DrainLink;

/// How long the process that takes over has to confirm before clients are accepted here again.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a failed take-back is tried again.
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// A step of a hand-over that [`Gateway::handle_handover`] has to act on.
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
        let left = Box::pin(self.context.release(held, ours)).await;
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

    /// Becomes the owner again after the process that took over has ended or failed.
    async fn take_back(&mut self, left: Released) -> Ownership {
        self.dataplane.accept();
        let opened = match Box::pin(self.context.reopen(&left)).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(error = %error.with_help(), "the keys cannot be taken back yet: connections go on under those that they have; tried again");
                return Ownership::Released(left);
            }
        };
        let rotation = match (opened, left.follower) {
            (Some(opened), Some(follower)) => {
                let resumed = self.context.resume(opened, (follower, left.drainers));
                match Box::pin(resumed).await {
                    Some(rotation) => Some(rotation),
                    None => return Ownership::Lost,
                }
            }
            _ => None,
        };
        match self
            .context
            .take_ownership(&self.dataplane, rotation, left.admin)
        {
            Ok(held) => {
                tracing::info!("everything is taken back");
                Ownership::Owned(held)
            }
            Err(error) => {
                tracing::error!(error = %error.with_help(), "operators cannot be served any more; restart the gateway");
                Ownership::Lost
            }
        }
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
