//! One thread that reads for all subscribers.

use std::sync::atomic::Ordering;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;

use super::client::{Client, Continue};
use super::flow::{Plan, STAMP, Track};
use super::publishing::payload;
use super::times::{Times, nanos};
use crate::error::RunError;

/// Time-out when nothing arrives.
const DEADLINE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// One subscriber.
struct Subscriber<'p> {
    client: Client,
    /// The number of its track.
    number: usize,
    /// Messages that it has received, and will receive.
    seen: u64,
    goal: u64,
    /// The bytes before every payload.
    head: String,
    track: &'p Track,
}

/// Reads until every subscriber has all its messages; returns the latencies, where messages carry time stamps.
pub(super) fn receive(
    plan: &Plan,
    clients: Vec<(usize, Client)>,
) -> Result<Option<Times>, RunError> {
    let begin = |(number, client)| Subscriber::new(client, number, plan);
    let mut subscribers: Vec<_> = clients.into_iter().filter_map(begin).collect();
    let epoll = register_all(&subscribers)?;
    let payload = payload(plan.size);
    let mut times = plan.stamped().then(Times::new).transpose()?;
    let mut missing = subscribers.len();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
    while missing > 0 {
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&DEADLINE)) {
            Ok(0) => return Err(lost(&subscribers)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(RunError::io("watching sockets", error.into())),
        }
        for event in events.drain(..) {
            let number = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(subscriber) = subscribers.get_mut(number) else {
                continue;
            };
            let before = subscriber.seen;
            subscriber.client.try_read()?;
            match &mut times {
                Some(times) => subscriber.time(plan, times)?,
                None => subscriber.count(&payload)?,
            }
            if before < subscriber.goal && subscriber.seen >= subscriber.goal {
                missing -= 1;
            }
            report_slowest(&subscribers, number);
        }
    }
    Ok(times)
}

fn register_all(subscribers: &[Subscriber<'_>]) -> Result<OwnedFd, RunError> {
    let failed = |error: rustix::io::Errno| RunError::io("watching sockets", error.into());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
    for (subscriber, number) in subscribers.iter().zip(0..) {
        subscriber.client.set_nonblocking()?;
        let data = epoll::EventData::new_u64(number);
        epoll::add(&epoll, &subscriber.client, data, EventFlags::IN).map_err(failed)?;
    }
    Ok(epoll)
}

/// Publishes the progress of the slowest subscriber on this one's track.
fn report_slowest(subscribers: &[Subscriber<'_>], number: usize) {
    let Some(reader) = subscribers.get(number) else {
        return;
    };
    let slowest = if reader.track.subscribers == 1 {
        reader.seen
    } else {
        let same = |other: &&Subscriber<'_>| other.number == reader.number;
        let seen = subscribers.iter().filter(same).map(|other| other.seen);
        seen.min().unwrap_or_default()
    };
    reader.track.received.store(slowest, Ordering::Relaxed);
}

fn lost(subscribers: &[Subscriber<'_>]) -> RunError {
    let seen: u64 = subscribers.iter().map(|one| one.seen).sum();
    let goal: u64 = subscribers.iter().map(|one| one.goal).sum();
    RunError::Limit(format!(
        "{seen} of {goal} messages arrived, and no more for half a minute"
    ))
}

impl<'p> Subscriber<'p> {
    fn new(client: Client, number: usize, plan: &'p Plan) -> Option<Self> {
        let track = plan.tracks.get(number)?;
        Some(Self {
            client,
            number,
            seen: 0,
            goal: track.goal * track.publishers,
            head: format!("MSG {} 1 {}\r\n", track.subject, plan.size),
            track,
        })
    }

    /// Counts what has been read. The first payload of each read is compared.
    fn count(&mut self, payload: &[u8]) -> Result<(), RunError> {
        let (mut seen, mut right) = (0, true);
        let head = self.head.as_bytes();
        self.client.payloads(head, payload.len(), |found| {
            if seen == 0 {
                right = found == payload;
            }
            seen += 1;
            Continue::More
        })?;
        self.seen += seen;
        if right {
            Ok(())
        } else {
            Err(RunError::Limit(
                "a payload was changed on the way".to_owned(),
            ))
        }
    }

    /// Counts what has been read, and records latencies: from when a message should have been sent to now.
    fn time(&mut self, plan: &Plan, times: &mut Times) -> Result<(), RunError> {
        let (now, mut seen) = (nanos(plan.begun), 0);
        let head = self.head.as_bytes();
        self.client.payloads(head, plan.size, |found| {
            if let Some(stamp) = found.first_chunk::<STAMP>() {
                times.record_nanos(now.saturating_sub(u64::from_be_bytes(*stamp)));
            }
            seen += 1;
            Continue::More
        })?;
        self.seen += seen;
        Ok(())
    }
}
