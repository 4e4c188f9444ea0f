//! The publish direction, client to server: payloads are sealed.

mod batch;
mod decide;
mod forbid;
mod request;
mod streak;
#[cfg(test)]
mod tests;
mod waiting;

use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::wire::Buffer;

use super::pace::Standing;
use super::pending::Input;
use super::session::{Ended, Session};
use super::socket::{self, Patience};
use super::worker::Worker;
use waiting::Waiting;

pub use batch::{PublishBatch, PublishPath};

/// While draining: a client that has sent nothing for this long has nothing in flight.
const QUIET: Duration = Duration::from_millis(10);

/// While draining: how long a client that never pauses is read before its stream is ended.
const MOST_LAST: Duration = Duration::from_millis(100);

/// How long a client whose stream has been ended may be silent without closing.
const SILENT: Duration = Duration::from_secs(1);

/// Runs until the client closes, the server stops reading, the protocol is violated, or the session has drained.
pub(super) async fn run(worker: &Worker, session: &Session) -> Ended {
    let mut path = PublishPath::new(worker, &session.link);
    let mut input = Input::default();
    let ended = carry(worker, session, &mut path, &mut input).await;
    input.release(&worker.pool);
    ended.unwrap_or_else(|error| {
        // One side has gone: the other direction sees it too and ends the session.
        tracing::trace!(%error, "publishing ends");
        Ended::by_client(&error)
    })
}

async fn carry<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
) -> io::Result<Ended> {
    let mut silence = pin!(sleep(worker.shared.config.auth_timeout));
    let mut silent = true;
    let mut need = 0;
    loop {
        if session.parting.closes() {
            return Box::pin(last(worker, session, path, input)).await;
        }
        input.stands(standing(session));
        let filled = tokio::select! {
            biased;
            filled = socket::fill(&session.client, input, need, worker) => filled?,
            () = session.nudge.notified() => {
                flush_link(session).await?;
                continue;
            }
            () = &mut silence, if silent => return Ok(Ended::Unauthenticated),
        };
        if filled == 0 {
            return Ok(Ended::Client);
        }
        let held = input.buffer.len();
        if held < need {
            continue;
        }
        let mut output = worker.pool.take();
        let ended = drain(worker, session, path, (&mut input.buffer, &mut output)).await;
        worker.pool.give(output);
        match ended? {
            ControlFlow::Continue(more) => need = more,
            ControlFlow::Break(ended) => return Ok(ended),
        }
        silent &= input.buffer.len() == held;
    }
}

fn standing(session: &Session) -> Standing {
    if session.link.borrow().refusals.has_accepted() {
        Standing::Known
    } else {
        Standing::Stranger
    }
}

/// Drains when the gateway stops: forwards what has arrived from the client, then sends a `PING` to the server. Once its `PONG`
/// is back and the client's stream has been ended, what the client sent before it saw that is forwarded, too. Before CONNECT the
/// server does not answer a `PING`; it closes when it has read everything.
async fn last<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
) -> io::Result<Ended> {
    let until = Instant::now().checked_add(MOST_LAST);
    let arrived = Box::pin(remainder((worker, session), path, input, (QUIET, until))).await?;
    if let ControlFlow::Break(ended) = arrived {
        return Ok(ended);
    }
    if session.link.borrow().protocol.is_none() {
        return Ok(Ended::Client);
    }
    let mut output = Buffer::new();
    session.link.borrow_mut().refusals.ping_last(&mut output);
    socket::flush(&session.server, &mut output, Patience::Server).await?;
    until_told(session).await?;
    let ended = Box::pin(remainder((worker, session), path, input, (SILENT, None))).await?;
    Ok(ended.break_value().unwrap_or(Ended::Stopped))
}

/// Waits until the client's stream has been ended; meanwhile flushes what the deliver direction has for the server.
async fn until_told(session: &Session) -> io::Result<()> {
    loop {
        tokio::select! {
            () = session.parting.told.notified() => return Ok(()),
            () = session.nudge.notified() => flush_link(session).await?,
        }
    }
}

/// Forwards what the client sends, until it closes, has been silent for `silent`, or `until` is over.
async fn remainder<'w>(
    (worker, session): (&'w Worker, &Session),
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
    (silent, until): (Duration, Option<Instant>),
) -> io::Result<ControlFlow<Ended>> {
    let mut need = 0;
    let mut output = Buffer::new();
    while until.is_none_or(|until| Instant::now() < until) {
        let filled = socket::fill(&session.client, input, need, worker);
        let Ok(Ok(1..)) = timeout(silent, filled).await else {
            break;
        };
        if input.buffer.len() < need {
            continue;
        }
        match drain(worker, session, path, (&mut input.buffer, &mut output)).await? {
            ControlFlow::Continue(more) => need = more,
            ControlFlow::Break(ended) => return Ok(ControlFlow::Break(ended)),
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Runs batches until the input holds no whole operation, or publishing ends.
async fn drain(
    worker: &Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    (input, output): (&mut Buffer, &mut Buffer),
) -> io::Result<ControlFlow<Ended, usize>> {
    let mut waiting: Option<Waiting<'_>> = None;
    loop {
        let held = input.len();
        let batch = path.batch(input, output);
        socket::flush(&session.server, output, Patience::Server).await?;
        path.written();
        socket::take_turns(held).await;
        match batch {
            PublishBatch::More(need) => return Ok(ControlFlow::Continue(need)),
            PublishBatch::Full => waiting = None,
            PublishBatch::Waits(keyring) => match &mut waiting {
                Some(waiting) if waiting.keyring() == keyring => waiting.pause(session).await?,
                // Tried again at once: a version or a budget may have come since the batch began.
                _ => waiting = Some(Waiting::new(worker, keyring)),
            },
            PublishBatch::Unaccepted => accepted(session).await?,
            PublishBatch::Killed => return Ok(ControlFlow::Break(Ended::Client)),
            PublishBatch::TooLarge => return Ok(ControlFlow::Break(Ended::TooLarge)),
        }
    }
}

/// Waits until the server has accepted the client. If it does not, it closes the connection.
async fn accepted(session: &Session) -> io::Result<()> {
    let news = session.link.borrow().refusals.news();
    while !session.link.borrow().refusals.has_accepted() {
        tokio::select! {
            () = news.notified() => {}
            () = session.nudge.notified() => flush_link(session).await?,
        }
    }
    Ok(())
}

/// Flushes what the deliver direction has for the server. Called between two batches, so between two operations.
async fn flush_link(session: &Session) -> io::Result<()> {
    let mut output = std::mem::take(&mut session.link.borrow_mut().to_server);
    socket::flush(&session.server, &mut output, Patience::Server).await
}

#[cfg(test)]
impl PublishPath<'_> {
    pub(super) fn remembered(&self) -> Vec<super::remembered::Remembered> {
        use super::remembered::Remembered;
        use super::{route_cache, streak};

        let of = |what, bytes, bound| Remembered { what, bytes, bound };
        vec![
            of(
                "last subject published",
                self.routes.bytes(),
                2 * route_cache::LONGEST,
            ),
            of("lines published", self.streak.bytes(), 8 * streak::LONGEST),
        ]
    }
}
