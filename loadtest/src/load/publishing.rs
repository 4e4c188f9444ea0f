//! One thread that sends for all publishers, in turns of one write each.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::{Timespec, epoll::EventFlags};
use rustix::fd::OwnedFd;

use super::client::Client;
use super::flow::{Plan, STAMP, Track};
use super::pace::{Pace, Timetable, wake_on_time};
use super::times::nanos;
use crate::error::RunError;

/// Bytes of one write.
const WRITE: usize = 64 * 1024;

/// How often to check whether the window has opened.
const POLL_INTERVAL: Duration = Duration::from_micros(50);

/// Time-out when no socket is writable.
const DEADLINE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// One publisher.
struct Publisher<'p> {
    client: Client,
    track: &'p Track,
    /// Which messages of the schedule this one sends: `turn`, `turn + of`, `turn + 2 × of`, …
    turn: u64,
    of: u64,
    sent: u64,
    /// Encoded messages, of which the bytes `at..end` have still to be sent.
    chunk: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes of a message, and where in it the payload begins.
    frame: usize,
    line: usize,
}

/// Why a publisher stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its turn was over.
    Ready,
    /// Its socket is full.
    Blocked,
    /// Nothing is due before this time, in nanoseconds since the start; 0: the window is full.
    Waiting(u64),
    /// Everything is sent.
    Done,
}

/// Sends everything.
pub(super) fn publish(plan: &Plan, clients: Vec<(usize, Client)>) -> Result<(), RunError> {
    wake_on_time();
    let all = u64::try_from(clients.len()).unwrap_or(u64::MAX);
    let begin = |((track, client), turn)| -> Option<Publisher<'_>> {
        Some(Publisher::new(client, plan.tracks.get(track)?, turn, plan.size).of(all))
    };
    let mut publishers: Vec<_> = clients.into_iter().zip(0..).filter_map(begin).collect();
    let epoll = register_all(&publishers)?;
    let mut states = vec![State::Ready; publishers.len()];
    while states.iter().any(|state| *state != State::Done) {
        for (publisher, state) in publishers.iter_mut().zip(&mut states) {
            if !matches!(*state, State::Done | State::Blocked) {
                *state = publisher.go(plan)?;
            }
        }
        wait_writable(&epoll, plan, &mut states)?;
    }
    for publisher in &mut publishers {
        publisher.client.set_blocking()?;
        publisher.client.flush()?;
    }
    Ok(())
}

/// An edge-triggered epoll for writability of all sockets.
fn register_all(publishers: &[Publisher<'_>]) -> Result<OwnedFd, RunError> {
    let failed = |error: rustix::io::Errno| RunError::io("watching sockets", error.into());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
    for (publisher, number) in publishers.iter().zip(0..) {
        publisher.client.set_nonblocking()?;
        let data = epoll::EventData::new_u64(number);
        let flags = EventFlags::OUT | EventFlags::ET;
        epoll::add(&epoll, &publisher.client, data, flags).map_err(failed)?;
    }
    Ok(epoll)
}

/// Waits until a publisher can send.
fn wait_writable(epoll: &OwnedFd, plan: &Plan, states: &mut [State]) -> Result<(), RunError> {
    let has = |wanted: State| states.contains(&wanted);
    let blocked = has(State::Blocked);
    let longest = if has(State::Ready) {
        Some(Duration::ZERO)
    } else {
        let waiting = states.iter().filter_map(|state| match state {
            State::Waiting(0) => Some(POLL_INTERVAL),
            State::Waiting(until) => Some(Duration::from_nanos(
                until.saturating_sub(nanos(plan.begun)).max(1),
            )),
            State::Ready | State::Blocked | State::Done => None,
        });
        waiting.min()
    };
    match longest {
        Some(pause) if !pause.is_zero() => std::thread::park_timeout(pause),
        _ => {}
    }
    if !blocked {
        return Ok(());
    }
    let timeout = longest.map_or(DEADLINE, |_| Timespec::default());
    let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
    let found = epoll::wait(epoll, spare_capacity(&mut events), Some(&timeout));
    match found {
        Ok(0) if longest.is_none() => {
            return Err(RunError::Limit("no socket takes anything".to_owned()));
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(RunError::io("watching sockets", error.into())),
    }
    for event in events {
        let number = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        if let Some(state @ State::Blocked) = states.get_mut(number) {
            *state = State::Ready;
        }
    }
    Ok(())
}

impl<'p> Publisher<'p> {
    fn new(client: Client, track: &'p Track, turn: u64, size: usize) -> Self {
        let line = format!("PUB {} {size}\r\n", track.subject);
        let frame = [line.as_bytes(), &payload(size), b"\r\n"].concat();
        Self {
            client,
            track,
            turn,
            of: 1,
            sent: 0,
            chunk: frame.repeat((WRITE / frame.len()).max(1)),
            at: 0,
            end: 0,
            frame: frame.len(),
            line: line.len(),
        }
    }

    const fn of(mut self, all: u64) -> Self {
        self.of = all;
        self
    }

    /// Sends what is due, one write at most.
    fn go(&mut self, plan: &Plan) -> Result<State, RunError> {
        if self.at == self.end
            && let Some(state) = self.load(plan)
        {
            return Ok(state);
        }
        let rest = self.chunk.get(self.at..self.end).unwrap_or_default();
        let taken = self.client.try_send(rest)?;
        self.at += taken;
        let blocked = taken == 0 && self.at < self.end;
        let held = self.at == self.end && !self.client.try_push()?;
        Ok(match (blocked || held, self.at == self.end) {
            (true, _) => State::Blocked,
            (false, true) if self.sent >= self.track.goal => State::Done,
            (false, _) => State::Ready,
        })
    }

    /// Encodes what is due now, as much as one write holds; `Some` where nothing is.
    fn load(&mut self, plan: &Plan) -> Option<State> {
        let left = self.track.goal.saturating_sub(self.sent);
        let may = match plan.pace {
            _ if left == 0 => return None,
            Pace::Window(_) => plan.room(self.track),
            Pace::Rate(rate) => self.due(Timetable::new(rate), nanos(plan.begun)),
        };
        if may == 0 {
            return Some(State::Waiting(self.next(plan.pace)));
        }
        let most = self.chunk.len() / self.frame;
        let count = usize::try_from(may.min(left)).unwrap_or(most).min(most);
        (self.at, self.end) = (0, count * self.frame);
        if plan.stamped() {
            self.stamp(plan.pace);
        }
        let count = u64::try_from(count).unwrap_or_default();
        self.sent += count;
        self.track.sent.fetch_add(count, Ordering::Relaxed);
        None
    }

    /// Writes into each message when it should be sent.
    fn stamp(&mut self, pace: Pace) {
        let Pace::Rate(rate) = pace else { return };
        let timetable = Timetable::new(rate);
        let ready = self.chunk.get_mut(..self.end).unwrap_or_default();
        for (frame, number) in ready.chunks_exact_mut(self.frame).zip(self.sent..) {
            let departure = timetable.departure(self.turn + number * self.of);
            let stamp = frame.get_mut(self.line..self.line + STAMP);
            stamp
                .unwrap_or_default()
                .copy_from_slice(&departure.to_be_bytes());
        }
    }

    /// How many of its messages are due.
    fn due(&self, timetable: Timetable, nanos: u64) -> u64 {
        let all = timetable.due(nanos);
        let own = all.saturating_sub(self.turn).div_ceil(self.of);
        own.saturating_sub(self.sent)
    }

    fn next(&self, pace: Pace) -> u64 {
        match pace {
            Pace::Window(_) => 0,
            Pace::Rate(rate) => Timetable::new(rate).departure(self.turn + self.sent * self.of),
        }
    }
}

/// The payload behind the time stamp.
pub(super) fn payload(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}
