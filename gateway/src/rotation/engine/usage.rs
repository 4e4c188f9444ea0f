//! The rate at which the active version is used, and when that calls for a successor.

use std::collections::VecDeque;
use std::time::Duration;

use crate::audit::Trigger;
use crate::envelope::Volume;
use crate::envelope::limits::FAILED_OPENS_ROTATE;
use crate::printable::Count;
use crate::rotation::reason::Reason;
use crate::rotation::terms::{Limit, Terms};

use super::version::Now;

/// The window of the rate.
const WINDOW: Duration = Duration::from_secs(120);

/// The least distance of samples.
const SPACING: Duration = Duration::from_secs(1);

/// What is left to reserve of a version's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitHeadroom {
    /// As much as lanes ask for.
    #[default]
    Enough,
    /// Less than they ask for.
    Spent,
}

/// The use of the active version over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    last: UsageReport,
    /// What was sealed, and when.
    samples: VecDeque<(Duration, Volume)>,
}

/// The use of a version at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UsageReport {
    pub(super) number: u32,
    /// Known to be sealed.
    pub(super) sealed: Volume,
    /// Counts against the limit.
    pub(super) used: Volume,
    pub(super) failed_opens: u64,
    pub(super) headroom: LimitHeadroom,
}

impl Usage {
    /// Takes a report. Another version than the last resets the samples.
    pub(super) fn report(&mut self, now: Now, report: UsageReport) {
        if self.last.number != report.number {
            self.samples.clear();
        }
        self.last = report;
        let newest = self.samples.back().map(|(at, _used)| *at);
        if newest.is_none_or(|at| now.elapsed.saturating_sub(at) >= SPACING) {
            self.samples.push_back((now.elapsed, report.sealed));
        }
        let old = |(at, _used): &(Duration, Volume)| now.elapsed.saturating_sub(*at) > WINDOW;
        while self.samples.len() > 2 && self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
    }

    /// How long until so much is sealed at the present rate; `None`: never.
    pub(super) fn until_sealed(&self, now: Now, number: u32, goal: Limit) -> Option<Duration> {
        self.until(now, number, (self.last.sealed, goal))
    }

    /// The same for the hard limit, against which reservations of killed processes count, too.
    pub(super) fn until_used(&self, now: Now, number: u32, goal: Limit) -> Option<Duration> {
        self.until(now, number, (self.last.used, goal))
    }

    fn until(&self, now: Now, number: u32, (is, goal): (Volume, Limit)) -> Option<Duration> {
        if self.last.number != number {
            return None;
        }
        let (since, before) = self.samples.front()?;
        let span = now.elapsed.saturating_sub(*since);
        if span < SPACING {
            return None;
        }
        let grown = self.last.sealed.minus(*before);
        let messages = time_to_reach(
            span,
            grown.messages,
            goal.messages.saturating_sub(is.messages),
        );
        let bytes = time_to_reach(span, grown.bytes, goal.bytes.saturating_sub(is.bytes));
        messages.into_iter().chain(bytes).min()
    }

    /// Why the use of the version calls for a successor, which takes `lead` to be in place.
    pub(super) fn trigger(
        &self,
        number: u32,
        now: Now,
        (terms, lead): (&Terms, Duration),
    ) -> Option<Reason> {
        let last = &self.last;
        if last.number != number {
            return None;
        }
        let Volume { messages, bytes } = last.sealed;
        let found = if last.failed_opens >= FAILED_OPENS_ROTATE {
            let why = format!("{} did not open", Count(last.failed_opens, "envelope"));
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
        } else if last.headroom == LimitHeadroom::Spent {
            let why = "nothing is left to reserve of the limit".to_owned();
            Some((Trigger::Forecast, why))
        } else {
            let left = self.until_used(now, number, terms.limit);
            left.filter(|left| *left <= lead).map(|left| {
                let seconds = left.as_secs();
                let why = format!(
                    "the limit would be reached in {seconds} s, a successor may take {} s",
                    lead.as_secs()
                );
                (Trigger::Forecast, why)
            })
        };
        found.map(|(cause, why)| Reason::of_gateway(cause, why))
    }
}

/// How long until `left` more, when it grew by `grown` within `span`.
fn time_to_reach(span: Duration, grown: u64, left: u64) -> Option<Duration> {
    let (grown, left) = (u128::from(grown), u128::from(left));
    let nanos = span.as_nanos().saturating_mul(left).checked_div(grown)?;
    Some(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}
