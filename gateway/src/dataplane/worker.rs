//! A worker thread: one runtime with its sessions, which drain in turn when the gateway stops.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::{Builder, JoinHandle as Thread};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::sleep;

use crate::keyring::WorkerId;

use super::context::{Shared, Worker};
use super::drain::DrainStage;
use super::listener::Accepted;
use super::session_state::Session;
use super::{server_probe, session};

/// A running worker. It ends once this is dropped and its last session has ended.
pub(super) struct WorkerHandle {
    pub(super) accepted: mpsc::UnboundedSender<Accepted>,
    /// Answered by a worker that does not hang.
    pub(super) probes: mpsc::UnboundedSender<oneshot::Sender<()>>,
    pub(super) thread: Thread<()>,
}

/// Starts the thread, which drops `prepares` once its lanes are drawn.
pub(super) fn start(
    id: usize,
    shared: Arc<Shared>,
    prepares: Sender<Infallible>,
) -> io::Result<WorkerHandle> {
    let (accepted, queue) = mpsc::unbounded_channel();
    let (probes, probed) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = Builder::new().name(format!("worker-{id}")).spawn(move || {
        let worker = Worker::new(WorkerId(id), shared);
        // Spawned like a session: the future that a LocalSet runs is polled whenever any task is.
        let serve = async move { spawn_local(serve(worker, prepares, queue, probed)).await };
        let served = LocalSet::new().block_on(&runtime, serve);
        if let Err(Ok(panic)) = served.map_err(JoinError::try_into_panic) {
            std::panic::resume_unwind(panic);
        }
    })?;
    Ok(WorkerHandle {
        accepted,
        probes,
        thread,
    })
}

async fn serve(
    worker: Worker,
    prepares: Sender<Infallible>,
    mut queue: mpsc::UnboundedReceiver<Accepted>,
    mut probes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
) {
    let worker = Rc::new(worker);
    let mut sessions = JoinSet::new();
    let open = Rc::new(Sessions {
        worker: Rc::clone(&worker),
        by_number: RefCell::default(),
        stage: Cell::new(DrainStage::Serves),
    });
    let mut changes = worker.shared.keys.changes();
    worker.refresh_keys();
    drop(prepares);
    // On one of the workers, because the probe connects like a session.
    let watching =
        (worker.id == WorkerId(0)).then(|| spawn_local(server_probe::run(Rc::clone(&worker))));
    let mut stages = worker.shared.stage.subscribe();
    let mut closing = std::pin::pin!(open.close_in_turn());
    let mut accepts = true;
    while accepts || !sessions.is_empty() {
        tokio::select! {
            accepted = queue.recv(), if accepts => match accepted {
                Some(accepted) => drop(sessions.spawn_local(Rc::clone(&open).run(accepted))),
                None => accepts = false,
            },
            Some(_ended) = sessions.join_next() => {}
            () = changes.next() => worker.refresh_keys(),
            Some(probe) = probes.recv() => drop(probe.send(())),
            Ok(()) = stages.changed() => open.set_drain_stage(*stages.borrow_and_update()),
            () = &mut closing => break,
        }
    }
    watching.iter().for_each(JoinHandle::abort);
    if !sessions.is_empty() {
        tracing::warn!(
            sessions = sessions.len(),
            "closing sessions that have not ended"
        );
    }
}

/// The open sessions of a worker.
struct Sessions {
    worker: Rc<Worker>,
    by_number: RefCell<HashMap<u64, Weak<Session>>>,
    /// How far stopping has come.
    stage: Cell<DrainStage>,
}

impl Sessions {
    /// Runs one session from accept to close.
    async fn run(self: Rc<Self>, accepted: Accepted) {
        let worker = &self.worker;
        let Accepted {
            socket,
            mut ends,
            mut ticket,
            number,
        } = accepted;
        worker.meters.accepted.increment(1);
        match Box::pin(session::establish(worker, socket, &mut ends, &mut ticket)).await {
            Ok((session, greeting)) => {
                self.register(number, &session);
                let ended = session::run_to_end(worker, &session, greeting).await;
                self.unregister(number);
                let state = session.state.borrow();
                session::log_end(worker, (number, ends), ended, Some(&state));
            }
            Err(ended) => session::log_end(worker, (number, ends), ended, None),
        }
    }

    /// Waits until connections are to be closed, closes them one after the other, and returns when the rest is to be dropped.
    async fn close_in_turn(&self) {
        let mut stages = self.worker.shared.stage.subscribe();
        let over = {
            let mut stages = self.worker.shared.stage.subscribe();
            async move { drop(stages.wait_for(|stage| *stage == DrainStage::Over).await) }
        };
        let course = async {
            drop(stages.wait_for(|stage| *stage >= DrainStage::Closes).await);
            self.set_drain_stage(DrainStage::Closes);
            let shutdown = self.worker.shared.config.shutdown;
            let turns = self.oldest_first();
            let pause = u32::try_from(turns.len()).ok();
            let pause = pause.and_then(|count| shutdown.spread.checked_div(count));
            for session in turns.iter().filter_map(Weak::upgrade) {
                session.close();
                drop(session);
                tokio::select! {
                    () = sleep(pause.unwrap_or(Duration::ZERO)) => {}
                    _moves = stages.wait_for(|stage| *stage >= DrainStage::Moves) => {}
                }
            }
            sleep(shutdown.drain).await;
        };
        tokio::select! {
            () = over => {}
            () = course => {}
        }
    }

    fn register(&self, number: u64, session: &Rc<Session>) {
        self.worker.meters.connections.increment(1.0);
        let mut sessions = self.by_number.borrow_mut();
        drop(sessions.insert(number, Rc::downgrade(session)));
        self.worker.shared.clients.fetch_add(1, Ordering::Relaxed);
        let stage = self.stage.get();
        if stage >= DrainStage::LameDuck {
            self.announce(session);
        }
        if stage >= DrainStage::Closes {
            session.close();
        }
    }

    fn unregister(&self, number: u64) {
        self.worker.meters.connections.decrement(1.0);
        self.worker.shared.clients.fetch_sub(1, Ordering::Relaxed);
        drop(self.by_number.borrow_mut().remove(&number));
    }

    /// Enters a stage of stopping; later sessions learn of it in `register`.
    fn set_drain_stage(&self, stage: DrainStage) {
        let before = self.stage.replace(stage.max(self.stage.get()));
        if before < DrainStage::LameDuck && stage >= DrainStage::LameDuck {
            for session in self.oldest_first().iter().filter_map(Weak::upgrade) {
                self.announce(&session);
            }
        }
    }

    fn announce(&self, session: &Session) {
        if let Some(others) = self.worker.shared.others.get() {
            session.drain.announce(others);
        }
    }

    fn oldest_first(&self) -> Vec<Weak<Session>> {
        let sessions = self.by_number.borrow();
        let mut sessions: Vec<_> = sessions.iter().map(|(n, s)| (*n, Weak::clone(s))).collect();
        sessions.sort_by_key(|(number, _session)| *number);
        sessions
            .into_iter()
            .map(|(_number, session)| session)
            .collect()
    }
}
