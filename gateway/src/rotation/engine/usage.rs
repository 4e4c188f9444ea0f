//! How fast a version is used up.

use std::collections::VecDeque;
use std::time::Duration;

use crate::audit::Trigger;
use crate::envelope::Used;
use crate::envelope::limits::FAILED_OPENS_ROTATE;
use crate::printable::Count;
use crate::rotation::because::Because;
use crate::rotation::terms::{Limit, Terms};

use super::Supply;
use super::life::Now;

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(120);

/// How far apart samples are at least.
const SPACING: Duration = Duration::from_secs(1);

/// What is known of the use of the active version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    number: u32,
    used: Used,
    failed_opens: u64,
    supply: Supply,
    samples: VecDeque<(Duration, Used)>,
}

impl Usage {
    /// Takes a report. One about another version than the last begins anew.
    pub(super) fn report(
        &mut self,
        now: Now,
        (number, used): (u32, Used),
        failed_opens: u64,
        supply: Supply,
    ) {
        if self.number != number {
            *self = Self {
                number,
                ..Self::default()
            };
        }
        self.used = used;
        self.failed_opens = failed_opens;
        self.supply = supply;
        let newest = self.samples.back().map(|(at, _used)| *at);
        if newest.is_none_or(|at| now.elapsed.saturating_sub(at) >= SPACING) {
            self.samples.push_back((now.elapsed, used));
        }
        let old = |(at, _used): &(Duration, Used)| now.elapsed.saturating_sub(*at) > WINDOW;
        while self.samples.len() > 2 && self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
    }

    /// How long until so much is sealed at the present rate; `None`: never.
    pub(super) fn until(&self, now: Now, number: u32, goal: Limit) -> Option<Duration> {
        if self.number != number {
            return None;
        }
        let (since, before) = self.samples.front()?;
        let span = now.elapsed.saturating_sub(*since);
        if span < SPACING {
            return None;
        }
        let messages = reach(span, (before.messages, self.used.messages), goal.messages);
        let bytes = reach(span, (before.bytes, self.used.bytes), goal.bytes);
        messages.into_iter().chain(bytes).min()
    }

    /// Why the use of the version asks for a successor, which takes `lead` to be in place.
    pub(super) fn trigger(
        &self,
        number: u32,
        now: Now,
        (terms, lead): (&Terms, Duration),
    ) -> Option<Because> {
        if self.number != number {
            return None;
        }
        let Used { messages, bytes } = self.used;
        let found = if self.failed_opens >= FAILED_OPENS_ROTATE {
            let why = format!("{} did not open", Count(self.failed_opens, "envelope"));
            Some((Trigger::FailedOpens, why))
        } else if messages >= terms.rotate.messages {
            let why = format!(
                "{messages} of {} sealed",
                Count(terms.rotate.messages, "message")
            );
            Some((Trigger::Messages, why))
        } else if bytes >= terms.rotate.bytes {
            let why = format!("{bytes} of {} sealed", Count(terms.rotate.bytes, "byte"));
            Some((Trigger::Bytes, why))
        } else if self.supply == Supply::Spent {
            let why = "nothing is left to reserve of the limit".to_owned();
            Some((Trigger::Forecast, why))
        } else {
            let left = self.until(now, self.number, terms.limit);
            left.filter(|left| *left <= lead).map(|left| {
                let seconds = left.as_secs();
                let why = format!(
                    "the limit would be reached in {seconds} s, a successor may take {} s",
                    lead.as_secs()
                );
                (Trigger::Forecast, why)
            })
        };
        found.map(|(cause, why)| Because::of_gateway(cause, why))
    }
}

/// How long until `goal`, when `from.0` grew to `from.1` within `span`.
fn reach(span: Duration, from: (u64, u64), goal: u64) -> Option<Duration> {
    let grown = u128::from(from.1.saturating_sub(from.0));
    let left = u128::from(goal.saturating_sub(from.1));
    let nanos = span.as_nanos().saturating_mul(left).checked_div(grown)?;
    Some(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}
