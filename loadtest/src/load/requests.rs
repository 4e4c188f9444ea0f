//! Requests on one connection, whose answers come in the same order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use keyway::wire::Message;

use super::LoadResult;
use super::client::Client;
use super::pace::{Pace, Timetable, wake_on_time};
use super::times::{Times, nanos, now};
use crate::error::RunError;

/// How often to check for the last answers.
const LAST: Duration = Duration::from_millis(100);

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Requests, how many, and at which pace.
pub(crate) struct RequestPlan<Q> {
    pub(crate) pace: Pace,
    pub(crate) count: u64,
    /// Appends the request of this number.
    pub(crate) question: Q,
}

/// Requests without an answer yet.
struct InFlight {
    /// When each was sent, or should have been.
    since: VecDeque<Instant>,
    asked: u64,
    answered: u64,
    times: Times,
}

/// Sends all requests, and passes every answer to `check`.
///
/// # Errors
/// Also when an answer is wrong, or does not come.
pub(crate) fn ask<Q>(
    client: &mut Client,
    mut plan: RequestPlan<Q>,
    check: impl Fn(&Message<'_>) -> Result<(), RunError>,
) -> Result<LoadResult, RunError>
where
    Q: FnMut(&mut Vec<u8>, u64),
{
    wake_on_time();
    let begun = now();
    let mut in_flight = InFlight::new()?;
    let mut bytes = Vec::new();
    while in_flight.answered < plan.count {
        bytes.clear();
        in_flight.send(&mut plan, begun, &mut bytes);
        if !bytes.is_empty() {
            client.send(&bytes)?;
        }
        match plan.pace {
            Pace::Window(_) => {
                client.message(&check)??;
                in_flight.take()?;
            }
            Pace::Rate(rate) => {
                let next = Timetable::new(rate).departure(in_flight.asked);
                let pause = Duration::from_nanos(next.saturating_sub(nanos(begun)));
                client.wait(if in_flight.asked < plan.count {
                    pause
                } else {
                    LAST
                })?;
                if in_flight.overdue() {
                    return Err(RunError::Limit("a question has no answer".to_owned()));
                }
            }
        }
        while let Some(answer) = client.held(&check)? {
            answer?;
            in_flight.take()?;
        }
    }
    Ok(LoadResult {
        count: plan.count,
        took: now().duration_since(begun),
        times: Some(in_flight.times),
    })
}

impl InFlight {
    fn new() -> Result<Self, RunError> {
        Ok(Self {
            since: VecDeque::new(),
            asked: 0,
            answered: 0,
            times: Times::new()?,
        })
    }

    /// Appends the requests that may be sent now.
    fn send<Q>(&mut self, plan: &mut RequestPlan<Q>, begun: Instant, bytes: &mut Vec<u8>)
    where
        Q: FnMut(&mut Vec<u8>, u64),
    {
        let may = match plan.pace {
            Pace::Window(window) => self.answered.saturating_add(window.max(1)),
            Pace::Rate(rate) => Timetable::new(rate).due(nanos(begun)),
        };
        let at = now();
        while self.asked < may.min(plan.count) {
            (plan.question)(bytes, self.asked);
            self.since.push_back(match plan.pace {
                Pace::Window(_) => at,
                Pace::Rate(rate) => {
                    begun + Duration::from_nanos(Timetable::new(rate).departure(self.asked))
                }
            });
            self.asked += 1;
        }
    }

    fn take(&mut self) -> Result<(), RunError> {
        let asked = self.since.pop_front();
        let asked = asked.ok_or_else(|| RunError::Limit("an answer to no question".to_owned()))?;
        self.answered += 1;
        self.times.record(now().duration_since(asked));
        Ok(())
    }

    /// Whether the oldest request has waited too long.
    fn overdue(&self) -> bool {
        let waits = |since: &Instant| now().duration_since(*since) > DEADLINE;
        self.since.front().is_some_and(waits)
    }
}
