//! When the next message may be sent: once an earlier one has arrived (closed loop), or at its time (open loop).

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;
use serde::Serialize;

/// Higher rates are sent in bursts at this interval.
const BURST_INTERVAL: Duration = Duration::from_micros(100);

/// When to send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// Closed loop: this many messages in flight at most.
    Window(u64),
    /// Open loop: this many a second, whatever arrives. Latency counts from when a message should have been sent.
    Rate(f64),
}

/// The schedule of an open loop.
#[derive(Clone, Copy)]
pub(crate) struct Timetable {
    /// Nanoseconds between two bursts.
    beat: f64,
    /// Messages of one burst.
    burst: f64,
}

impl Timetable {
    /// `rate` messages a second.
    pub(crate) fn new(rate: f64) -> Self {
        let beat = BURST_INTERVAL.as_secs_f64().max(1.0 / rate.max(1e-3));
        Self {
            beat: beat * 1e9,
            burst: beat * rate.max(1e-3),
        }
    }

    /// How many messages should have been sent by `nanos` after the start.
    pub(crate) fn due(self, nanos: u64) -> u64 {
        let departures = (crate::report::float(nanos) / self.beat).floor() + 1.0;
        whole((departures * self.burst).floor())
    }

    /// When the message of this number (from 0) should be sent, in nanoseconds after the start.
    pub(crate) fn departure(self, number: u64) -> u64 {
        let number = crate::report::float(number);
        let before = ((number + 1.0) / self.burst).ceil() - 1.0;
        whole(before.max(0.0) * self.beat)
    }
}

/// Sets the timer slack of this thread to the minimum: by default it is woken some 50 µs late.
pub(crate) fn wake_on_time() {
    // Where it is refused, messages leave late, which counts as latency.
    set_current_timer_slack(NonZeroU64::new(1)).unwrap_or_default();
}

/// The integer part; numbers here are positive and far below 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "numbers here are positive and far below 2^53"
)]
pub(crate) const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_due_at_its_departure_and_not_before() {
        for rate in [3.0, 1000.0, 50_000.0, 123_456.0, 1e6] {
            let timetable = Timetable::new(rate);
            for number in 0..5000 {
                let departure = timetable.departure(number);
                assert!(timetable.due(departure + 1) > number, "{rate} {number}");
                assert!(
                    departure == 0 || timetable.due(departure - 1) <= number,
                    "{rate} {number}"
                );
            }
        }
    }

    #[test]
    fn a_second_holds_the_rate() {
        for rate in [50.0, 12_500.0, 100_000.0] {
            let due = crate::report::float(Timetable::new(rate).due(999_999_999));
            assert!((due - rate).abs() <= rate / 1e4 + 1.0, "{rate} {due}");
        }
    }
}
