//! The deliver direction, server to client: envelopes are opened.

mod admitted;
mod answers;
mod batch;
mod candidates;
mod fate;
mod misses;
mod requests;
mod revealed;
mod stalled;
mod stored;
mod streak;
pub(super) mod timers;
mod withheld;
mod withhold;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::envelope::Kid;
use crate::keyring::Verdict;
use crate::metrics::MissOutcome;
use crate::wire::Buffer;

use super::pending::Input;
use super::session::{Ended, Session};
use super::socket::Patience;
use super::worker::Worker;
use super::{greet, parting, socket};

pub use batch::{DeliverBatch, DeliverPath};
pub(super) use timers::{Named, Timers, Withheld};
#[cfg(test)]
pub(super) use withheld::MOST_TO_SERVER;

/// While draining: a server that has been silent for this long behind its last `PONG` has no more answers for the client.
const ANSWERED: Duration = Duration::from_millis(100);

/// While draining: how long answers are awaited behind it. A stream acknowledges what it has stored, which takes longer than a
/// `PONG`.
const MOST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs until the server closes or the client stops reading. `rest` is what has been read from the server already.
pub(super) async fn run(worker: &Worker, session: &Session, rest: Buffer) -> Ended {
    let mut path = DeliverPath::new(worker, &session.link);
    let mut input = Input::holding(rest);
    let ended = carry(worker, session, &mut path, &mut input).await;
    input.release(&worker.pool);
    ended
}

async fn carry<'w>(
    worker: &'w Worker,
    session: &Session,
    path: &mut DeliverPath<'_>,
    input: &mut Input<'w>,
) -> Ended {
    let mut need = 0;
    let mut until = None;
    loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ended::Stopped;
        }
        if session.parting.is_owed()
            && let Err(ended) = announce(worker, session).await
        {
            return ended;
        }
        let awaits = input.buffer.is_empty() || need != 0;
        if awaits {
            let filled = tokio::select! {
                biased;
                filled = socket::fill(&session.server, input, need, worker) => filled,
                () = session.parting.news.notified() => continue,
                () = lull(until) => return Ended::Stopped,
            };
            match filled {
                Ok(0) => return Ended::Server,
                Err(error) => return Ended::by_server(&error),
                Ok(_) if input.buffer.len() < need => continue,
                Ok(_) => {}
            }
        }
        let mut output = worker.pool.take();
        let drained = drain(worker, session, path, (input, &mut output)).await;
        worker.pool.give(output);
        match drained {
            Ok(more) => need = more,
            Err(Ended::Stopped) if session.link.borrow().replies.awaits_answers() => {
                need = 0;
                until = Instant::now().checked_add(MOST_ANSWERS);
            }
            Err(ended) => return ended,
        }
    }
}

/// Ends when the server has been silent for long enough behind its last `PONG`.
async fn lull(until: Option<Instant>) {
    match until {
        Some(_) => sleep(ANSWERED).await,
        None => std::future::pending().await,
    }
}

/// Batch after batch until the input holds no whole operation.
async fn drain(
    worker: &Worker,
    session: &Session,
    path: &mut DeliverPath<'_>,
    (input, output): (&mut Input<'_>, &mut Buffer),
) -> Result<usize, Ended> {
    loop {
        let held = input.buffer.len();
        let batch = path.batch(&mut input.buffer, output);
        let patience = Patience::Holder(input.passes_on(&worker.pending));
        socket::flush(&session.client, output, patience)
            .await
            .map_err(|error| Ended::by_client(&error))?;
        path.written();
        if !session.link.borrow().to_server.is_empty() {
            session.nudge.notify_one();
        }
        socket::take_turns(held).await;
        match batch {
            DeliverBatch::More(need) => return Ok(need),
            DeliverBatch::Full => {}
            DeliverBatch::Miss(kid) => miss(worker, path, kid).await,
            DeliverBatch::Malformed => return Err(Ended::ServerMalformed),
            DeliverBatch::Last => return Err(Ended::Stopped),
        }
    }
}

/// Sends the client an INFO with `ldm` (lame duck mode), if it accepts an INFO by now. Called between two batches, so between two
/// operations.
async fn announce(worker: &Worker, session: &Session) -> Result<(), Ended> {
    if !session.link.borrow().hears_info() {
        return Ok(());
    }
    let Some(others) = session.parting.take() else {
        return Ok(());
    };
    let mut output = Buffer::new();
    let told = {
        let link = session.link.borrow();
        let urls = parting::urls(&others, link.ends);
        let snapshot = worker.shared.keys.load();
        greet::lame_duck(&urls, &snapshot, worker, &link, &mut output)
    };
    if told.is_err() {
        return Err(Ended::ServerMalformed);
    }
    let patience = Patience::Client;
    socket::flush(&session.client, &mut output, patience)
        .await
        .map_err(|error| Ended::by_client(&error))
}

/// Waits while `rotation` looks for a key version; no other connection waits.
async fn miss(worker: &Worker, path: &mut DeliverPath<'_>, kid: Kid) {
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
    pub(super) fn remembered(&self) -> Vec<super::remembered::Remembered> {
        use super::remembered::Remembered;
        use super::{route_cache, streak};

        let of = |what, bytes, bound| Remembered { what, bytes, bound };
        let (misses, most) = self.misses.bytes();
        vec![
            of("absent kids", misses, most),
            of(
                "last subject delivered",
                self.routes.bytes(),
                2 * route_cache::LONGEST,
            ),
            of("lines delivered", self.streak.bytes(), 8 * streak::LONGEST),
        ]
    }
}
