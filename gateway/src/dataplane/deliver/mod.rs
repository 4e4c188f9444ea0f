//! The deliver direction, server to client: envelopes are opened.
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `flow_control` | statuses that look like flow control |
//! | 0 | `leak_check` | stored messages that a client may not receive, in plaintext answers |
//! | 0 | `misses` | key versions that are not in the snapshot, and which of them to wait for |
//! | 0 | `other_subjects` | the subjects, besides its own, for which an envelope may have been sealed |
//! | 1 | `decision` | what is done with a message |
//! | 1 | `path` | what the direction keeps from batch to batch |
//! | 2 | `allowed_answers` | what may answer a request of the client |
//! | 2 | `fast_path` | runs of `MSG` |
//! | 2 | `msg_get` | answers to `STREAM.MSG.GET` |
//! | 2 | `requests` | requests that are delivered to the client |
//! | 2 | `undecryptable` | what a stream or the client gets in place of what is withheld |
//! | 3 | `jetstream_answers` | answers of JetStream, whose sizes become those of plaintext |
//! | 3 | `withhold` | withholding a message: counted, logged, told |
//! | 4 | `batch` | parse, decide, open, write |

mod allowed_answers;
mod batch;
mod decision;
mod fast_path;
mod flow_control;
mod jetstream_answers;
mod leak_check;
mod misses;
mod msg_get;
mod other_subjects;
mod path;
mod requests;
mod undecryptable;
mod withhold;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::envelope::Kid;
use crate::keyring::Verdict;
use crate::metrics::MissOutcome;
use crate::wire::Buffer;

use super::backpressure::Input;
use super::context::Worker;
use super::end_reason::EndReason;
use super::session_state::Session;
use super::socket::WriteTimeout;
use super::{drain, handshake, socket};

pub use batch::DeliverBatch;
pub use path::DeliverPath;
#[cfg(test)]
pub(super) use undecryptable::MOST_TO_SERVER;

/// While draining: a server that has been silent for this long behind its last `PONG` has no more answers for the client.
const ANSWERS_QUIET: Duration = Duration::from_millis(100);

/// While draining: how long answers are awaited behind it. A stream acknowledges what it has stored, which takes longer than a
/// `PONG`.
const ANSWERS_LIMIT: Duration = Duration::from_secs(1);

/// Runs until the server closes or the client stops reading. `rest` is what has been read from the server already.
pub(super) async fn run(worker: &Worker, session: &Session, rest: Buffer) -> EndReason {
    let mut path = DeliverPath::new(worker, &session.state);
    let mut input = Input::holding(rest);
    let ended = run_loop(worker, session, &mut path, &mut input).await;
    input.release(&worker.pending);
    ended
}

async fn run_loop<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut DeliverPath<'_>,
    input: &mut Input<'w>,
) -> EndReason {
    let mut need = 0;
    let mut until = None;
    loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            return EndReason::Stopped;
        }
        if session.drain.has_announcement()
            && let Err(ended) = announce_lame_duck(worker, session).await
        {
            return ended;
        }
        let awaits = input.buffer.is_empty() || need != 0;
        if awaits {
            let filled = tokio::select! {
                biased;
                filled = socket::fill(&session.server, input, need, &worker.pending) => filled,
                () = session.drain.wake_deliver.notified() => continue,
                () = until_quiet(until) => return EndReason::Stopped,
            };
            match filled {
                Ok(0) => return EndReason::Server,
                Err(error) => return EndReason::by_server(&error),
                Ok(_) if input.buffer.len() < need => continue,
                Ok(_) => {}
            }
        }
        let mut output = worker.pending.pool.take();
        let processed = process_input(worker, session, path, (input, &mut output)).await;
        worker.pending.pool.give(output);
        match processed {
            Ok(more) => need = more,
            Err(EndReason::Stopped) if session.state.borrow().replies.awaits_answers() => {
                need = 0;
                until = Instant::now().checked_add(ANSWERS_LIMIT);
            }
            Err(ended) => return ended,
        }
    }
}

/// Ends when the server has been silent for long enough behind its last `PONG`.
async fn until_quiet(until: Option<Instant>) {
    match until {
        Some(_) => sleep(ANSWERS_QUIET).await,
        None => std::future::pending().await,
    }
}

/// Batch after batch until the input holds no whole operation.
async fn process_input(
    worker: &Worker,
    session: &Session,
    path: &mut DeliverPath<'_>,
    (input, output): (&mut Input<'_>, &mut Buffer),
) -> Result<usize, EndReason> {
    loop {
        let held = input.buffer.len();
        let batch = path.batch(&mut input.buffer, output);
        let patience = WriteTimeout::Holder(input.write_wait(&worker.pending));
        socket::flush(&session.client, output, patience)
            .await
            .map_err(|error| EndReason::by_client(&error))?;
        path.written();
        if !session.state.borrow().to_server.is_empty() {
            session.wake_publish.notify_one();
        }
        socket::yield_after_batch(held).await;
        match batch {
            DeliverBatch::More(need) => return Ok(need),
            DeliverBatch::Full => {}
            DeliverBatch::Miss(kid) => await_version(worker, path, kid).await,
            DeliverBatch::Malformed => return Err(EndReason::ServerMalformed),
            DeliverBatch::Drained => return Err(EndReason::Stopped),
        }
    }
}

/// Sends the client an INFO with `ldm` (lame duck mode), if it accepts an INFO by now. Called between two batches, so between two
/// operations.
async fn announce_lame_duck(worker: &Worker, session: &Session) -> Result<(), EndReason> {
    if !session.state.borrow().accepts_async_info() {
        return Ok(());
    }
    let Some(others) = session.drain.take_announcement() else {
        return Ok(());
    };
    let mut output = Buffer::new();
    let told = {
        let state = session.state.borrow();
        let urls = drain::urls(&others, state.ends);
        let snapshot = worker.shared.keys.load();
        handshake::lame_duck(&urls, &snapshot, worker, &state, &mut output)
    };
    if told.is_err() {
        return Err(EndReason::ServerMalformed);
    }
    let patience = WriteTimeout::Client;
    socket::flush(&session.client, &mut output, patience)
        .await
        .map_err(|error| EndReason::by_client(&error))
}

/// Waits while `rotation` looks for a key version; no other connection waits.
async fn await_version(worker: &Worker, path: &mut DeliverPath<'_>, kid: Kid) {
    let shared = &worker.shared;
    let asking = path.misses.ask(shared.clock.instant());
    let asked = timeout(shared.config.miss_wait, shared.keys.miss(kid, asking));
    let verdict = asked.await.ok();
    let outcome = match verdict {
        Some(Verdict::Loaded) => MissOutcome::Loaded,
        Some(Verdict::Absent | Verdict::Closed(_) | Verdict::Unloadable) => MissOutcome::Absent,
        Some(Verdict::Refused) => MissOutcome::Refused,
        None => MissOutcome::TimedOut,
    };
    worker.meters.miss(outcome);
    if outcome != MissOutcome::Loaded {
        path.give_up(kid, verdict.and_then(misses::cause_of));
    }
}

#[cfg(test)]
impl DeliverPath<'_> {
    pub(super) fn memory_use(&self) -> Vec<super::memory_bounds::MemoryUse> {
        use super::memory_bounds::MemoryUse;
        use super::{fast_path, route_cache};

        let of = |what, bytes, bound| MemoryUse { what, bytes, bound };
        let (misses, most) = self.misses.bytes();
        vec![
            of("absent kids", misses, most),
            of(
                "last subject delivered",
                self.routes.bytes(),
                2 * route_cache::LONGEST,
            ),
            of(
                "lines delivered",
                self.fast_path.bytes(),
                8 * fast_path::LONGEST,
            ),
        ]
    }
}
