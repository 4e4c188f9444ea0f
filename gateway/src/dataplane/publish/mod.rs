//! Client to server: what agents say, sealed.

mod batch;
mod decide;
mod request;
#[cfg(test)]
mod tests;
mod waiting;

use std::io;

use crate::wire::Buffer;

use super::session::Session;
use super::socket;
use super::worker::Worker;
use waiting::Waiting;

pub use batch::{PublishBatch, PublishPath};

/// Runs until the client closes, the server does not take more, or the protocol is broken.
pub(super) async fn run(worker: &Worker, session: &Session) {
    let mut path = PublishPath::new(worker, &session.link);
    let mut input = Buffer::new();
    if let Err(error) = carry(worker, session, &mut path, &mut input).await {
        // One side has gone: the other direction sees it too and ends the session.
        tracing::trace!(%error, "publishing ends");
    }
    socket::release(&mut input, &worker.pool);
}

async fn carry(
    worker: &Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    input: &mut Buffer,
) -> io::Result<()> {
    let mut need = 0;
    loop {
        let filled = tokio::select! {
            biased;
            filled = socket::fill(&session.client, input, need, &worker.pool) => filled?,
            () = session.nudge.notified() => {
                flush_link(session).await?;
                continue;
            }
        };
        if filled == 0 {
            break;
        }
        if input.len() < need {
            continue;
        }
        let mut output = worker.pool.take();
        let ended = drain(worker, session, path, (input, &mut output)).await;
        worker.pool.give(output);
        match ended? {
            Some(more) => need = more,
            None => break,
        }
    }
    Ok(())
}

/// Batch after batch until the input holds no whole operation; `None` when publishing is to end.
async fn drain(
    worker: &Worker,
    session: &Session,
    path: &mut PublishPath<'_>,
    (input, output): (&mut Buffer, &mut Buffer),
) -> io::Result<Option<usize>> {
    let mut waiting: Option<Waiting<'_>> = None;
    loop {
        let held = input.len();
        let batch = path.batch(input, output);
        socket::flush(&session.server, output, socket::SERVER_STALLED).await?;
        path.written();
        socket::take_turns(held).await;
        match batch {
            PublishBatch::More(need) => return Ok(Some(need)),
            PublishBatch::Full => waiting = None,
            PublishBatch::Waits(keyring) => match &mut waiting {
                Some(waiting) if waiting.keyring() == keyring => waiting.pause(session).await?,
                // What was installed or reserved since the batch began is found by the next, which comes at once.
                _ => waiting = Some(Waiting::new(worker, keyring)),
            },
            PublishBatch::Killed => return Ok(None),
        }
    }
}

/// What the deliver direction has for the server. Between two batches, so between two operations.
async fn flush_link(session: &Session) -> io::Result<()> {
    let mut output = std::mem::take(&mut session.link.borrow_mut().to_server);
    socket::flush(&session.server, &mut output, socket::SERVER_STALLED).await
}
