//! `max_bytes` of a consumer's configuration: the most that a pull may ask for (`MaxRequestMaxBytes` of nats-server).
//!
//! The gateway raises the `max_bytes` of a pull by the envelopes of the messages that it may bring, so the limit is raised by the
//! envelopes of as many messages as a pull of just that many bytes can bring. A pull for fewer messages is raised by less, so that one
//! which asks for somewhat more than the limit may be taken, where the bare server refuses it; none that it takes is refused.

use super::super::Buffer;
use super::super::header::{self, HeaderNumber};
use super::super::json::{Members, key_is};
use super::change::{Change, Number, change_config, change_configs};
use super::integer;
use super::pull::{MIN_MESSAGE_SIZE, room};

/// What the server says, with the limit behind it, to a pull that asks for more (409).
const EXCEEDED: &[u8] = b"Exceeded MaxRequestMaxBytes of ";

/// Appends `body`, of [`super::Request::ConsumerConfig`], with the limit raised by `overhead` bytes for each message that a pull of so
/// many bytes may bring.
///
/// `false`: nothing to change, and `out` is as it was. That is so for a limit that is absent or not positive.
pub fn widen_limit(body: &[u8], overhead: usize, out: &mut Buffer) -> bool {
    let widen = |config: &[u8]| change(config, |limit| wider(limit, overhead));
    change_config(body, widen, out)
}

/// Appends `answer` with each limit lowered to the largest that [`widen_limit`] raises to no more: of its `config`, or of the `config` of
/// each of its `consumers`.
///
/// `false`: nothing to change, and `out` is as it was.
pub fn narrow_limits(answer: &[u8], overhead: usize, out: &mut Buffer) -> bool {
    let narrow = |config: &[u8]| change(config, |limit| narrower(limit, overhead));
    change_configs(answer, b"consumers", narrow, out)
}

/// The limit in the status of a pull that asks for more than it, and what [`narrow_limits`] makes of it.
#[must_use]
pub fn exceeded(headers: &[u8], overhead: usize) -> Option<(HeaderNumber<'_>, u64)> {
    let (code, description) = header::status_line(headers)?;
    let digits = description.strip_prefix(EXCEEDED)?;
    let number = header::status_number(headers, digits.len()).filter(|_| code == b"409")?;
    let limit = integer(number.digits)?;
    Some((number, u64::try_from(narrower(limit, overhead)?).ok()?))
}

/// What becomes of the last `max_bytes` of a consumer's configuration that is a number.
fn change(config: &[u8], new: impl FnOnce(i64) -> Option<i64>) -> Option<Change> {
    let members = Members::new(config).map_while(Result::ok);
    let bounds = members.filter(|member| key_is(member.key, b"max_bytes"));
    let limit = bounds.filter_map(|member| Number::of(&member)).last()?;
    limit.becomes(new(limit.value)?)
}

/// `None`: it stays as it is.
fn wider(limit: i64, overhead: usize) -> Option<i64> {
    let bytes = u64::try_from(limit).ok().filter(|bytes| *bytes > 0)?;
    let overhead = u64::try_from(overhead).unwrap_or(u64::MAX);
    let wider = bytes.saturating_add(overhead.saturating_mul(room(bytes)));
    let wider = i64::try_from(wider).unwrap_or(i64::MAX);
    (wider != limit).then_some(wider)
}

/// The largest limit of which [`wider`] makes no more than this. `None`: there is none, and it stays as it is.
fn narrower(wider: i64, overhead: usize) -> Option<i64> {
    let overhead = u64::try_from(overhead).unwrap_or(u64::MAX);
    let above = u64::try_from(wider).ok()?.checked_sub(overhead)?;
    // One message has room in each `MIN_MESSAGE_SIZE` bytes, the last of which have none: the overhead of the first is off.
    let step = MIN_MESSAGE_SIZE.saturating_add(overhead);
    let whole = above.checked_div(step)?.saturating_mul(MIN_MESSAGE_SIZE);
    let rest = above
        .checked_rem(step)?
        .min(MIN_MESSAGE_SIZE.saturating_sub(1));
    let limit = i64::try_from(whole.saturating_add(rest)).ok()?;
    (limit > 0 && limit != wider).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_read_back_as_it_was_written() {
        for limit in (1..2_000).chain([65_536, 1_000_003, i64::MAX / 4]) {
            let raised = wider(limit, 48).unwrap();
            assert_eq!(narrower(raised, 48), Some(limit));
        }
    }

    #[test]
    fn limit_of_another_client_is_told_as_the_largest_that_a_pull_may_ask_for() {
        for raised in 49..5_000 {
            let limit = narrower(raised, 48).unwrap();
            assert!(wider(limit, 48).unwrap() <= raised);
            assert!(wider(limit + 1, 48).unwrap() > raised);
        }
        for small in [i64::MIN, -1, 0, 1, 48] {
            assert_eq!(narrower(small, 48), None);
        }
    }

    #[test]
    fn limit_near_the_largest_number_stays_a_limit() {
        assert_eq!(wider(i64::MAX, 48), None, "nothing is above the largest");
        assert_eq!(wider(i64::MAX - 1, 48), Some(i64::MAX));
        assert!(narrower(i64::MAX, 48).is_some());
    }
}
