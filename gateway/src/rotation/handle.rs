//! Rotation as the rest of the gateway reaches it: its start, its handle, and its end.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::audit;
use crate::clock::Clock;
use crate::disk::{self, Lock};
use crate::keyring::{Keys, Miss};
use crate::priority;

use super::config::{Reload, RotationConfig, Stores};
use super::drain::DrainLink;
use super::driver::{AuditedOrder, DrainChannel, Driver, HandOver, Parts, Request, Waiting, reply};
use super::engine::{DestroyRequest, Order};
use super::error::{OrderError, StartError};
use super::message_path::MessagePath;
use super::reason::Reason;
use super::report::{
    self, Exposure, KeyringStatus, Overview, Rehearsal, RetentionReasons, Rotated,
};

/// How many requests of operators may wait for the driver to take them, which it does at once but for a line of the audit log.
const QUEUE: usize = 16;

/// What the driver yields when another process takes the catalogue over.
pub struct HandedOver {
    /// Links to processes that drain already.
    pub drainers: Vec<DrainLink>,
    /// Completes when the clients of this process are to be disconnected at once.
    pub moved: oneshot::Receiver<()>,
}

/// A handle to the driver. Clones share it.
#[derive(Clone)]
pub struct Rotation {
    requests: mpsc::Sender<Request>,
}

/// The driver's running thread.
pub struct Running {
    requests: mpsc::Sender<Request>,
    thread: JoinHandle<Option<mpsc::Receiver<Miss>>>,
}

/// Names a key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRef<'a> {
    /// The keyring.
    pub keyring: &'a str,
    /// Its number in the keyring.
    pub number: u32,
}

/// Gives every keyring an active version, loads what opens, and starts the driver. The keys are ready when this returns. Waits
/// for the disk.
///
/// # Errors
/// [`StartError`]; the next start goes on from what was written.
pub fn start(
    config: RotationConfig,
    stores: Stores,
    clock: Clock,
) -> Result<(Rotation, Arc<Keys>, Running), StartError> {
    launch(
        config,
        Parts {
            stores,
            clock,
            held: None,
        },
    )
}

/// [`start`] for a message path that has its keys already and keeps running.
///
/// # Errors
/// [`StartError`]; the message path then still opens, seals nothing any more, and gets no keys that it misses.
pub fn resume(
    config: RotationConfig,
    stores: Stores,
    clock: Clock,
    held: MessagePath,
) -> Result<(Rotation, Running), StartError> {
    let (rotation, _keys, running) = launch(
        config,
        Parts {
            stores,
            clock,
            held: Some(held),
        },
    )?;
    Ok((rotation, running))
}

fn launch(
    config: RotationConfig,
    parts: Parts,
) -> Result<(Rotation, Arc<Keys>, Running), StartError> {
    let (requests, asked) = mpsc::channel(QUEUE);
    let (begins, begun) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let thread = Builder::new()
        .name("rotation".to_owned())
        .spawn(move || {
            priority::lower();
            runtime.block_on(Box::pin(run(config, parts, asked, begins)))
        })
        .map_err(StartError::Thread)?;
    let ended = |_dropped| StartError::Thread(io::ErrorKind::BrokenPipe.into());
    let keys = begun.recv().map_err(ended)??;
    let running = Running {
        requests: requests.clone(),
        thread,
    };
    Ok((Rotation { requests }, keys, running))
}

/// Starts the driver, says how that went, and runs it.
async fn run(
    config: RotationConfig,
    parts: Parts,
    asked: mpsc::Receiver<Request>,
    begins: std::sync::mpsc::Sender<Result<Arc<Keys>, StartError>>,
) -> Option<mpsc::Receiver<Miss>> {
    match Box::pin(Driver::start(config, parts)).await {
        Ok((driver, misses)) => {
            // Where nobody waits any more, the queue of requests is closed, and the driver ends.
            drop(begins.send(Ok(driver.keys())));
            Some(Box::pin(driver.run(asked, misses)).await)
        }
        Err(error) => {
            drop(begins.send(Err(error)));
            None
        }
    }
}

impl Rotation {
    /// Switches the keyring to a new version now.
    ///
    /// # Errors
    /// [`OrderError`]; the active version goes on sealing.
    pub async fn rotate(&self, keyring: &str, reason: Reason) -> Result<Rotated, OrderError> {
        let keyring = keyring.to_owned();
        self.ask_later(move |driver, answer| driver.rotate(&keyring, reason, answer))
            .await?
    }

    /// Carries out any other order; yields the status of the keyring afterwards.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn order(
        &self,
        keyring: &str,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let keyring = keyring.to_owned();
        self.ask_later(move |driver, answer| driver.order(&keyring, order, reason, answer))
            .await?
    }

    /// Destroys a version; where that takes a second person, records the request or the approval.
    ///
    /// # Errors
    /// [`OrderError::Held`] with the evidence while something stored may need it.
    pub async fn destroy(
        &self,
        which: VersionRef<'_>,
        request: DestroyRequest,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        let (keyring, number) = (which.keyring.to_owned(), which.number);
        self.ask_later(move |driver, answer| {
            driver.destroy((&keyring, number), request, reason, answer);
        })
        .await?
    }

    /// Every keyring and its versions; empty when the gateway is stopping.
    pub async fn status(&self) -> Vec<KeyringStatus> {
        self.overview().await.keyrings
    }

    /// The same, with the faults of catalogue and audit log.
    pub async fn overview(&self) -> Overview {
        let overview = self.ask(|driver| driver.overview()).await;
        overview.unwrap_or_default()
    }

    /// The number of a version that a person names by number or label; the active one's without a name.
    ///
    /// # Errors
    /// [`OrderError`] when there is no such keyring or version.
    pub async fn number(&self, keyring: &str, named: Option<&str>) -> Result<u32, OrderError> {
        let overview = self.ask(|driver| driver.overview()).await?;
        report::number(&overview.keyrings, keyring, named)
    }

    /// Why a version is not destroyed.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn why(&self, which: VersionRef<'_>) -> Result<RetentionReasons, OrderError> {
        let (keyring, number) = (which.keyring.to_owned(), which.number);
        self.ask_later(move |driver, answer| driver.why((&keyring, number), answer))
            .await?
    }

    /// What a leaked version exposes.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn exposure(&self, which: VersionRef<'_>) -> Result<Exposure, OrderError> {
        let (keyring, number) = (which.keyring.to_owned(), which.number);
        self.ask(move |driver| driver.exposure((&keyring, number)))
            .await?
    }

    /// Rehearses a revocation: tries everything that one needs, without revoking.
    ///
    /// # Errors
    /// [`OrderError::Stopping`].
    pub async fn drill(&self, reason: Reason) -> Result<Vec<Rehearsal>, OrderError> {
        self.ask_later(move |driver, answer| driver.drill(reason, answer))
            .await
    }

    /// The last lines of the audit log.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn tail(&self, count: usize) -> Result<Vec<String>, OrderError> {
        self.ask(move |driver| driver.tail(count)).await?
    }

    /// Writes into the audit log that an order was refused. `keyring` is as the caller named it; `None` concerns all.
    pub async fn refused(
        &self,
        (keyring, what): (Option<&str>, audit::Action),
        reason: Reason,
        why: String,
    ) {
        let wanted = AuditedOrder {
            keyring: keyring.map(str::to_owned),
            what,
            number: None,
            reason,
        };
        let asked = self.ask(move |driver| driver.refused(wanted, why));
        if asked.await.is_err() {
            tracing::debug!("what is refused while the gateway stops is not written down");
        }
    }

    /// Puts other terms and subjects in force. What weakens protection is written to the audit log before, or is refused.
    ///
    /// # Errors
    /// [`OrderError`]; nothing has changed then.
    pub async fn reload(&self, config: RotationConfig, reload: Reload) -> Result<(), OrderError> {
        let (answer, answered) = oneshot::channel();
        let config = Box::new(config);
        let waits = Waiting::Reload {
            config,
            reload,
            answer,
        };
        let sent = self.requests.send(Request::Wait(Box::new(waits))).await;
        sent.map_err(|_ended| OrderError::Stopping)?;
        answered.await.map_err(|_dropped| OrderError::Stopping)?
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, OrderError> {
        self.ask_later(|driver, answer| reply(answer, work(driver)))
            .await
    }

    /// The same where the driver may answer later.
    async fn ask_later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver, oneshot::Sender<T>) + Send + 'static,
    ) -> Result<T, OrderError> {
        let (answer, answered) = oneshot::channel();
        let work = Request::Ask(Box::new(move |driver: &mut Driver| work(driver, answer)));
        let sent = self.requests.send(work).await;
        sent.map_err(|_ended| OrderError::Stopping)?;
        answered.await.map_err(|_dropped| OrderError::Stopping)
    }
}

impl Running {
    /// Has the driver close the catalogue and the audit log: on return another process can open them, with the other end of
    /// `link`. Connections go on under what that process says; operators are told that the gateway is stopping.
    pub async fn hand_over(&self, link: DrainLink) -> HandedOver {
        let (moves, moved) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let channel = DrainChannel { link, moved: moves };
        let asked = self
            .requests
            .send(Request::Wait(Box::new(Waiting::HandOver(HandOver {
                channel,
                answer,
            }))))
            .await;
        let drainers = match asked {
            Ok(()) => answered.await.ok(),
            Err(_ended) => None,
        };
        if drainers.is_none() {
            tracing::debug!("rotation has ended already");
        }
        HandedOver {
            drainers: drainers.unwrap_or_default(),
            moved,
        }
    }

    /// The lock of the state directory, to take back what was handed over: while the other process was gone nobody else could
    /// write. Only the driver's thread takes it, which may hold it already. `None`: that thread has ended.
    ///
    /// # Errors
    /// [`disk::Error`]: another process has it; try again.
    pub async fn lock(&self) -> Option<Result<Lock, disk::Error>> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Lock { answer }).await.ok()?;
        answered.await.ok()
    }

    /// Ends the driver: an operation that has begun is finished, later ones are told that the gateway is stopping. Yields the
    /// queue of misses; `None` when it is lost.
    pub async fn stop(self) -> Option<mpsc::Receiver<Miss>> {
        if self.requests.send(Request::Stop).await.is_err() {
            tracing::debug!("rotation has ended already");
        }
        let joined = tokio::task::spawn_blocking(move || self.thread.join().ok()).await;
        let misses = joined.ok().flatten().flatten();
        if misses.is_none() {
            tracing::error!("the rotation thread ended by a panic");
        }
        misses
    }
}
