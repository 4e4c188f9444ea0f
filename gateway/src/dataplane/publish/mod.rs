//! Client to server: what agents say, sealed.

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

use tokio::time::{sleep, timeout};

use crate::wire::Buffer;

use super::pace::Standing;
use super::pending::Input;
use super::session::{Ended, Session};
use super::socket::{self, Patience};
use super::worker::Worker;
use waiting::Waiting;

pub use batch::{PublishBatch, PublishPath};

/// When a client that is closed has sent nothing for so long, all that it had sent has arrived.
const QUIET: Duration = Duration::from_millis(10);

/// The most that is still read of a client that is closed.
const MOST_LAST: usize = 4 * 1024 * 1024;

/// Runs until the client closes, the server does not take more, the protocol is broken, or the session is to end: then with
/// [`Ended::Stopped`], and the server owes the `PONG` that says that it has seen everything.
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

/// The gateway stops: what has arrived of the client's goes out, and behind it a `PING`. A client that has not introduced itself
/// gets no answer to a `PING`; the server closes when it has read all.
async fn last<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    input: &mut Input<'w>,
) -> io::Result<Ended> {
    let mut read: usize = 0;
    let mut output = Buffer::new();
    while read < MOST_LAST {
        let filled = socket::fill(&session.client, input, 0, worker);
        let Ok(Ok(count @ 1..)) = timeout(QUIET, filled).await else {
            break;
        };
        read = read.saturating_add(count);
        let more = drain(worker, session, path, (&mut input.buffer, &mut output)).await?;
        if let ControlFlow::Break(ended) = more {
            return Ok(ended);
        }
    }
    if session.link.borrow().protocol.is_none() {
        return Ok(Ended::Client);
    }
    session.link.borrow_mut().refusals.ping_last(&mut output);
    socket::flush(&session.server, &mut output, Patience::Server).await?;
    Ok(Ended::Stopped)
}

/// Carries what the deliver direction has for the server once publishing has ended; for ever.
pub(super) async fn serve_link(session: &Session) {
    loop {
        session.nudge.notified().await;
        if let Err(error) = flush_link(session).await {
            tracing::trace!(%error, "the server takes nothing more");
        }
    }
}

/// Batch after batch until the input holds no whole operation; or publishing is to end.
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
                // What was installed or reserved since the batch began is found by the next, which comes at once.
                _ => waiting = Some(Waiting::new(worker, keyring)),
            },
            PublishBatch::Unaccepted => accepted(session).await?,
            PublishBatch::Killed => return Ok(ControlFlow::Break(Ended::Client)),
            PublishBatch::TooLarge => return Ok(ControlFlow::Break(Ended::TooLarge)),
        }
    }
}

/// Until the server has accepted the client. If it does not, it ends the connection.
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

/// What the deliver direction has for the server. Between two batches, so between two operations.
async fn flush_link(session: &Session) -> io::Result<()> {
    let mut output = std::mem::take(&mut session.link.borrow_mut().to_server);
    socket::flush(&session.server, &mut output, Patience::Server).await
}

#[cfg(test)]
impl PublishPath<'_> {
    /// What it holds, in bytes.
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
