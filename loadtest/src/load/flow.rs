//! Messages from publishers to subscribers: two threads, one for each side, however many connections there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::client::Client;
use super::pace::Pace;
use super::publishing::publish;
use super::receiving::receive;
use super::stream::Endpoint;
use super::{LoadResult, now};
use crate::error::RunError;

/// Bytes in flight at most: with more the server would count a subscriber as slow.
const WINDOW: u64 = 16 * 1024 * 1024;

/// Length of the time at which a message should have been sent, in nanoseconds since the start: the first bytes of the payload.
pub(super) const STAMP: usize = 8;

/// Numbers of publishers and subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shape {
    pub(crate) publishers: u64,
    pub(crate) subscribers: u64,
    /// Each publisher has a subscriber of its own; else every subscriber gets all.
    pub(crate) paired: bool,
}

/// A flow of messages.
pub(crate) struct Flow {
    pub(crate) shape: Shape,
    /// Payload in bytes; at least 8 where times are measured.
    pub(crate) size: usize,
    /// Approximate number of messages to deliver in all.
    pub(crate) count: u64,
    pub(crate) pace: Pace,
}

/// A subject with its publishers and subscribers.
pub(super) struct Track {
    pub(super) subject: String,
    /// Messages of each of its publishers.
    pub(super) goal: u64,
    pub(super) publishers: u64,
    pub(super) subscribers: u64,
    /// How many have been sent.
    pub(super) sent: AtomicU64,
    /// How many the slowest subscriber has received.
    pub(super) received: AtomicU64,
}

/// State shared by the publishing and the receiving thread.
pub(super) struct Plan {
    pub(super) tracks: Vec<Track>,
    pub(super) size: usize,
    pub(super) pace: Pace,
    /// Messages in flight at most on a track.
    pub(super) window: u64,
    pub(super) begun: Instant,
}

impl Shape {
    pub(crate) const ONE_TO_ONE: Self = Self {
        publishers: 1,
        subscribers: 1,
        paired: true,
    };
}

impl Flow {
    /// Sends everything by way of this target, and waits until it has arrived.
    ///
    /// # Errors
    /// Also when no message arrives for half a minute.
    pub(crate) fn run(&self, endpoint: &Endpoint) -> Result<LoadResult, RunError> {
        let mut plan = self.plan();
        let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
        for (number, track) in plan.tracks.iter().enumerate() {
            for _ in 0..track.subscribers {
                let mut client = Client::connect(endpoint)?;
                client.subscribe(&track.subject)?;
                subscribers.push((number, client));
            }
            for _ in 0..track.publishers {
                publishers.push((number, Client::connect(endpoint)?));
            }
        }
        plan.begun = now();
        let plan = &plan;
        std::thread::scope(|scope| {
            let publishing = scope.spawn(move || publish(plan, publishers));
            let received = receive(plan, subscribers);
            let took = now().duration_since(plan.begun);
            if received.is_err() {
                plan.give_up();
            }
            let published = publishing
                .join()
                .unwrap_or_else(|_panic| Err(RunError::Limit("the publisher panicked".to_owned())));
            let times = received?;
            published?;
            Ok(LoadResult {
                count: plan.deliveries(),
                took,
                times,
            })
        })
    }

    fn plan(&self) -> Plan {
        let Shape {
            publishers,
            subscribers,
            paired,
        } = self.shape;
        let (tracks, each) = if paired {
            (publishers, (1, 1))
        } else {
            (1, (publishers, subscribers))
        };
        let copies = publishers * each.1;
        let track = |number| Track {
            subject: format!("load.flow.{number}"),
            goal: (self.count / copies).max(1),
            publishers: each.0,
            subscribers: each.1,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        };
        let size = u64::try_from(self.size).unwrap_or(u64::MAX);
        let window = match self.pace {
            Pace::Window(messages) => messages,
            Pace::Rate(_) => u64::MAX,
        };
        let most = WINDOW / (tracks * each.1) / size.saturating_add(32);
        Plan {
            tracks: (0..tracks).map(track).collect(),
            size: self.size,
            pace: self.pace,
            window: window.min(most.max(64)),
            begun: now(),
        }
    }
}

impl Plan {
    /// Messages that arrive in all.
    fn deliveries(&self) -> u64 {
        let of = |track: &Track| track.goal * track.publishers * track.subscribers;
        self.tracks.iter().map(of).sum()
    }

    /// Makes publishers that wait for subscribers stop.
    fn give_up(&self) {
        for track in &self.tracks {
            track.received.store(u64::MAX / 2, Ordering::Relaxed);
        }
    }

    /// How many more messages the window of a track allows now.
    pub(super) fn room(&self, track: &Track) -> u64 {
        let received = track.received.load(Ordering::Relaxed);
        let sent = track.sent.load(Ordering::Relaxed);
        (received + self.window).saturating_sub(sent)
    }

    /// Whether each message carries its time.
    pub(super) const fn stamped(&self) -> bool {
        matches!(self.pace, Pace::Rate(_)) && self.size >= STAMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries(shape: Shape) -> (usize, u64) {
        let flow = Flow {
            shape,
            size: 128,
            count: 64_000,
            pace: Pace::Window(u64::MAX),
        };
        let plan = flow.plan();
        (plan.tracks.len(), plan.deliveries())
    }

    #[test]
    fn every_shape_delivers_the_count() {
        let shape = |publishers, subscribers| Shape {
            publishers,
            subscribers,
            paired: false,
        };
        let pairs = Shape {
            paired: true,
            ..shape(64, 64)
        };
        assert_eq!(deliveries(Shape::ONE_TO_ONE), (1, 64_000));
        assert_eq!(deliveries(shape(16, 1)), (1, 64_000));
        assert_eq!(deliveries(shape(1, 16)), (1, 64_000));
        assert_eq!(deliveries(shape(8, 8)), (1, 64_000));
        assert_eq!(deliveries(pairs), (64, 64_000));
    }
}
