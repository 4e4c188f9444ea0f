//! The publish direction, client to server: payloads are sealed.
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `path` | what the direction keeps from batch to batch, and how it writes and reports |
//! | 0 | `request` | requests to JetStream's API: their answers, and the sizes that they name |
//! | 0 | `seal_wait` | the wait for a key version, or for budget |
//! | 1 | `decision` | what is done with a publish |
//! | 2 | `expected_answers` | what may answer it |
//! | 2 | `fast_path` | runs of `PUB` |
//! | 2 | `forbid` | which publishes are refused for their keyring, their client or their size |
//! | 2 | `refuse` | what the client gets in place of what is refused |
//! | 3 | `batch` | parse, decide, seal, write |

mod batch;
mod decision;
mod expected_answers;
mod fast_path;
mod forbid;
mod path;
mod refuse;
mod request;
mod seal_wait;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::wire::Buffer;

use super::backpressure::Input;
use super::context::Worker;
use super::end_reason::EndReason;
use super::session_state::Session;
use super::slow_peers::PeerStatus;
use super::socket::{self, WriteTimeout};
use super::socket_error::SocketError;
use seal_wait::SealWait;

pub use batch::PublishBatch;
pub use path::PublishPath;

/// While draining: a client that has sent nothing for this long has nothing in flight.
const DRAIN_QUIET: Duration = Duration::from_millis(10);

/// While draining: how long a client that never pauses is read before its stream is ended.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// How long a client whose stream has been ended may be silent without closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until the client closes, the server stops reading, the protocol is violated, or the session has drained.
pub(super) async fn run(worker: &Worker, session: &Session) -> EndReason {
    let mut path = PublishPath::new(worker, &session.state);
    let mut input = Input::default();
    let ended = run_loop(worker, session, &mut path, &mut input).await;
    input.release(&worker.pending);
    ended.unwrap_or_else(|error| {
        // One side has gone: the other direction sees it too and ends the session.
        tracing::trace!(%error, "publishing ends");
        EndReason::by_client(&error)
    })
}

async fn run_loop<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
) -> Result<EndReason, SocketError> {
    let mut silence = pin!(sleep(worker.shared.config.auth_timeout));
    let mut silent = true;
    let mut need = 0;
    loop {
        if session.drain.closes() {
            return Box::pin(drain(worker, session, path, input)).await;
        }
        input.set_status(peer_status(session));
        let filled = tokio::select! {
            biased;
            filled = socket::fill(&session.client, input, need, &worker.pending) => filled?,
            () = session.wake_publish.notified() => {
                session.flush_to_server().await?;
                continue;
            }
            () = &mut silence, if silent => return Ok(EndReason::Unauthenticated),
        };
        if filled == 0 {
            return Ok(EndReason::Client);
        }
        let held = input.buffer.len();
        if held < need {
            continue;
        }
        let mut output = worker.pending.pool.take();
        let ended = process_input(worker, session, path, (&mut input.buffer, &mut output)).await;
        worker.pending.pool.give(output);
        match ended? {
            ControlFlow::Continue(more) => need = more,
            ControlFlow::Break(ended) => return Ok(ended),
        }
        silent &= input.buffer.len() == held;
    }
}

fn peer_status(session: &Session) -> PeerStatus {
    if session.state.borrow().injected_errors.has_accepted() {
        PeerStatus::Accepted
    } else {
        PeerStatus::Unaccepted
    }
}

/// Drains when the gateway stops: forwards what has arrived from the client, then sends a `PING` to the server. Once its `PONG`
/// is back and the client's stream has been ended, what the client sent before it saw that is forwarded, too. Before CONNECT the
/// server does not answer a `PING`; it closes when it has read everything.
async fn drain<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
) -> Result<EndReason, SocketError> {
    let until = Instant::now().checked_add(DRAIN_LIMIT);
    let arrived = Box::pin(forward_remaining(
        (worker, session),
        path,
        input,
        (DRAIN_QUIET, until),
    ))
    .await?;
    if let ControlFlow::Break(ended) = arrived {
        return Ok(ended);
    }
    if session.state.borrow().protocol.is_none() {
        return Ok(EndReason::Client);
    }
    let mut output = Buffer::new();
    session
        .state
        .borrow_mut()
        .injected_errors
        .ping_last(&mut output);
    socket::flush(&session.server, &mut output, WriteTimeout::Server).await?;
    until_client_told(session).await?;
    let ended = Box::pin(forward_remaining(
        (worker, session),
        path,
        input,
        (CLOSE_TIMEOUT, None),
    ))
    .await?;
    Ok(ended.break_value().unwrap_or(EndReason::Stopped))
}

/// Waits until the client's stream has been ended; meanwhile flushes what the deliver direction has for the server.
async fn until_client_told(session: &Session) -> Result<(), SocketError> {
    loop {
        tokio::select! {
            () = session.drain.wake_publish.notified() => return Ok(()),
            () = session.wake_publish.notified() => session.flush_to_server().await?,
        }
    }
}

/// Forwards what the client sends, until it closes, has been silent for `silent`, or `until` is over.
async fn forward_remaining<'w>(
    (worker, session): (&'w Worker, &Session),
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
    (silent, until): (Duration, Option<Instant>),
) -> Result<ControlFlow<EndReason>, SocketError> {
    let mut need = 0;
    let mut output = Buffer::new();
    while until.is_none_or(|until| Instant::now() < until) {
        let filled = socket::fill(&session.client, input, need, &worker.pending);
        let Ok(Ok(1..)) = timeout(silent, filled).await else {
            break;
        };
        if input.buffer.len() < need {
            continue;
        }
        match process_input(worker, session, path, (&mut input.buffer, &mut output)).await? {
            ControlFlow::Continue(more) => need = more,
            ControlFlow::Break(ended) => return Ok(ControlFlow::Break(ended)),
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Runs batches until the input holds no whole operation, or publishing ends.
async fn process_input(
    worker: &Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    (input, output): (&mut Buffer, &mut Buffer),
) -> Result<ControlFlow<EndReason, usize>, SocketError> {
    let mut waiting: Option<SealWait<'_>> = None;
    loop {
        let held = input.len();
        let batch = path.batch(input, output);
        socket::flush(&session.server, output, WriteTimeout::Server).await?;
        path.written();
        socket::yield_after_batch(held).await;
        match batch {
            PublishBatch::More(need) => return Ok(ControlFlow::Continue(need)),
            PublishBatch::Full => waiting = None,
            PublishBatch::CannotSeal(keyring) => match &mut waiting {
                Some(waiting) if waiting.keyring() == keyring => waiting.pause(session).await?,
                // Tried again at once: a version or a budget may have come since the batch began.
                _ => waiting = Some(SealWait::new(worker, keyring)),
            },
            PublishBatch::Unaccepted => until_accepted(session).await?,
            PublishBatch::Killed => return Ok(ControlFlow::Break(EndReason::Client)),
            PublishBatch::TooLarge => return Ok(ControlFlow::Break(EndReason::TooLarge)),
        }
    }
}

/// Waits until the server has accepted the client. If it does not, it closes the connection.
async fn until_accepted(session: &Session) -> Result<(), SocketError> {
    let news = session.state.borrow().injected_errors.on_acceptance();
    while !session.state.borrow().injected_errors.has_accepted() {
        tokio::select! {
            () = news.notified() => {}
            () = session.wake_publish.notified() => session.flush_to_server().await?,
        }
    }
    Ok(())
}

#[cfg(test)]
impl PublishPath<'_> {
    pub(super) fn memory_use(&self) -> Vec<super::memory_bounds::MemoryUse> {
        use super::memory_bounds::MemoryUse;
        use super::{fast_path, route_cache};

        let of = |what, bytes, bound| MemoryUse { what, bytes, bound };
        vec![
            of(
                "last subject published",
                self.routes.bytes(),
                2 * route_cache::LONGEST,
            ),
            of(
                "lines published",
                self.fast_path.bytes(),
                8 * fast_path::LONGEST,
            ),
        ]
    }
}
