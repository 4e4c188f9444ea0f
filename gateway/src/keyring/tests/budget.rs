//! Budgets are exact and hard, over real keys and real threads.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::Notify;

use super::*;

/// Messages between two batches of a thread in a race.
const BATCH: u64 = 1000;

fn used(messages: u64, bytes: u64) -> Volume {
    Volume { messages, bytes }
}

/// A budget of `limit`, all of it reserved, of which `before` was reserved by an earlier process.
fn reserved(limit: Volume, before: Volume, workers: usize) -> Budget {
    let budget = Budget::new(before, workers, Arc::new(Notify::new()));
    budget.extend(limit.minus(before));
    budget
}

#[test]
fn what_is_lent_to_another_process_is_reserved_and_cannot_be_granted() {
    let budget = reserved(used(100, 1000), used(10, 100), 1);
    let left = budget.left();
    budget.lend(used(50, 500));
    assert_eq!(budget.left(), left);
    assert_eq!(budget.reserved(), used(150, 1500));
    assert!(!budget.needs_refill());
    // Once drained, all of it is accounted for: nothing is in the hands of lanes of this process.
    budget.drain();
    assert_eq!(budget.outstanding(Volume::default()), Volume::default());
}

/// Seals one message of `size` bytes.
fn seal(lanes: &mut Lanes, snapshot: &Snapshot, size: usize) -> Result<Header, SealRefused> {
    let mut out = vec![0; size.saturating_add(OVERHEAD)];
    lanes.seal(
        snapshot,
        agents(),
        Binding::default(),
        (&vec![7; size], &mut out),
    )?;
    Ok(Header::parse(&out).unwrap())
}

/// The counters that a lane has used are 0 to the number here.
type Counters = HashMap<LaneId, u32>;

/// Seals until it is refused, a batch after the other; or until `most` messages, as if the process were killed then. Each batch
/// begins twenty seconds later, so that lanes end on the way.
fn seal_on(worker: usize, snapshot: &Snapshot, size: usize, most: u64) -> Counters {
    let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH);
    let mut lanes = Lanes::new(WorkerId(worker), clock.instant());
    let mut counters = Counters::new();
    let (mut lane, mut next) = (LaneId([0; 16]), 0);
    let (plaintext, mut out) = (vec![7; size], vec![0; size.saturating_add(OVERHEAD)]);
    for number in 0..most {
        if number % BATCH == 0 {
            lanes.report();
            manual_clock.advance(Duration::from_secs(20));
            lanes.begin(snapshot, clock.instant());
        }
        let sealed = lanes.seal(
            snapshot,
            agents(),
            Binding::default(),
            (&plaintext, &mut out),
        );
        if let Err(refused) = sealed {
            assert_eq!(refused, SealRefused::BudgetExhausted);
            break;
        }
        let header = Header::parse(&out).unwrap();
        if header.lane != lane {
            keep(&mut counters, lane, next);
            (lane, next) = (header.lane, 0);
        }
        assert!(
            header.counter == next,
            "a counter came twice, or not at all"
        );
        next = next.saturating_add(1);
    }
    keep(&mut counters, lane, next);
    counters
}

fn keep(counters: &mut Counters, lane: LaneId, count: u32) {
    let before = (count != 0).then(|| counters.insert(lane, count)).flatten();
    assert_eq!(before, None, "a lane came back");
}

/// Threads seal concurrently; returns the counters of all lanes, none of which two threads have used.
fn race(threads: usize, version: &Arc<Version>, size: usize, most: u64) -> Counters {
    let snapshot = snapshot(&[version], &[], 1);
    let mut all = Counters::new();
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..threads)
            .map(|worker| {
                let snapshot = &snapshot;
                scope.spawn(move || seal_on(worker, snapshot, size, most))
            })
            .collect();
        for racer in racers {
            for (lane, count) in racer.join().unwrap() {
                assert!(all.insert(lane, count).is_none(), "two threads had a lane");
            }
        }
    });
    all
}

fn sum(counters: &Counters) -> u64 {
    counters.values().copied().map(u64::from).sum()
}

#[test]
fn sixteen_workers_race_a_limit_of_1_000_003_messages_and_exactly_that_many_are_sealed() {
    let budget = reserved(used(1_000_003, u64::MAX), Volume::default(), 16);
    let version = version_with("agents", 1, budget, 16);
    let counters = race(16, &version, 1, u64::MAX);
    assert_eq!(sum(&counters), 1_000_003);
    assert_eq!(version.usage.total(), used(1_000_003, 1_000_003));
    assert_eq!(version.budget.taken(), used(1_000_003, 1_000_003));
    let lanes = version.usage.lanes();
    assert_eq!(Ok(lanes), u64::try_from(counters.len()));
    assert!(lanes > 16, "lanes should have ended on the way");
}

#[test]
fn workers_race_a_limit_of_bytes_and_seal_none_more() {
    // Not a multiple of the payload: what is left at the end is smaller than a message.
    let limit = used(u64::MAX, 10_000_019);
    let version = version_with("agents", 1, reserved(limit, Volume::default(), 8), 8);
    let sealed = sum(&race(8, &version, 97, u64::MAX));
    assert_eq!(version.usage.total(), used(sealed, sealed * 97));
    assert_eq!(version.budget.taken(), version.usage.total());
    // A racer who is refused may hold less than a message.
    assert!(sealed * 97 <= limit.bytes && limit.bytes - sealed * 97 < 9 * 97);
}

#[test]
fn restarts_lose_what_was_reserved_and_never_seal_more_than_the_limit() {
    let limit = used(50_000, u64::MAX);
    let (mut sealed, mut recorded) = (0, Volume::default());
    for start in 1.. {
        let budget = Budget::new(recorded, 4, Arc::new(Notify::new()));
        let part = 7001.min(limit.messages - recorded.messages);
        // The record first.
        recorded = recorded.plus(used(part, 1 << 20));
        budget.extend(used(part, 1 << 20));
        let version = version_with("agents", start, budget, 4);
        // Killed before its part is used up, at different points.
        let here = sum(&race(4, &version, 1, u64::from(start) * 300));
        assert!(here <= part, "{here} of {part}");
        sealed += here;
        if part == 0 {
            break;
        }
    }
    assert_eq!(recorded.messages, limit.messages);
    assert!(sealed > 0 && sealed <= limit.messages, "{sealed}");
}

#[test]
fn nothing_is_sealed_or_counted_without_a_budget_and_an_extension_lets_it_go_on() {
    let refill = Arc::new(Notify::new());
    let version = version_with("agents", 1, Budget::new(used(5, 50), 1, refill), 1);
    let snapshot = snapshot(&[&version], &[], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    for _attempt in 0..2 {
        let refused = seal(&mut lanes, &snapshot, 4);
        assert_eq!(refused, Err(SealRefused::BudgetExhausted));
    }
    assert_eq!(version.usage.lanes(), 0);
    version.budget.extend(used(2, 8));
    assert!(seal(&mut lanes, &snapshot, 4).is_ok());
    assert!(seal(&mut lanes, &snapshot, 4).is_ok());
    assert_eq!(
        seal(&mut lanes, &snapshot, 4),
        Err(SealRefused::BudgetExhausted)
    );
    lanes.report();
    assert_eq!(version.usage.total(), used(2, 8));
    assert_eq!(version.budget.reserved(), used(7, 58));
    assert_eq!(version.budget.taken(), used(7, 58));
}

#[test]
fn message_too_large_for_the_bytes_left_is_refused_and_smaller_ones_go_on() {
    let version = version_with(
        "agents",
        1,
        reserved(used(10, 100), Volume::default(), 1),
        1,
    );
    let snapshot = snapshot(&[&version], &[], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    assert_eq!(
        seal(&mut lanes, &snapshot, 101),
        Err(SealRefused::BudgetExhausted)
    );
    assert!(seal(&mut lanes, &snapshot, 60).is_ok());
    assert_eq!(
        seal(&mut lanes, &snapshot, 41),
        Err(SealRefused::BudgetExhausted)
    );
    assert!(seal(&mut lanes, &snapshot, 40).is_ok());
    assert!(seal(&mut lanes, &snapshot, 0).is_ok());
    lanes.report();
    assert_eq!(version.usage.total(), used(3, 100));
}

#[test]
fn lane_that_ends_gives_back_what_it_did_not_seal() {
    let plenty = used(1 << 40, 1 << 50);
    let first = version_with("agents", 1, reserved(plenty, Volume::default(), 1), 1);
    let (before, after) = (
        snapshot(&[&first], &[], 1),
        snapshot(&[&version("agents", 2)], &[&first], 2),
    );
    let now = Clock::system().instant();
    let held = |lanes: &mut Lanes| {
        lanes.report();
        first.budget.outstanding(first.usage.total())
    };
    // The version is switched.
    let mut lanes = Lanes::new(WORKER, now);
    seal(&mut lanes, &before, 5).unwrap();
    assert!(
        held(&mut lanes).messages > 1000,
        "a large part while plenty is left"
    );
    lanes.begin(&after, now);
    assert_eq!(held(&mut lanes), Volume::default());
    // The lane has lived its life; its successor holds as much, and no more.
    seal(&mut lanes, &before, 5).unwrap();
    let one = held(&mut lanes);
    let later: Instant = now + Duration::from_secs(61);
    lanes.begin(&before, later);
    seal(&mut lanes, &before, 5).unwrap();
    assert_eq!(held(&mut lanes), one);
    // The worker has gone.
    drop(lanes);
    assert_eq!(first.budget.taken(), used(3, 15));
    assert_eq!(first.usage.total(), used(3, 15));
}

#[test]
fn grants_are_large_while_plenty_is_left_and_small_towards_the_end() {
    let budget = reserved(used(100_000, 1 << 40), Volume::default(), 4);
    assert_eq!(budget.take_messages(), Some(8192));
    let mut smallest = 8192;
    while let Some(grant) = budget.take_messages() {
        assert!((1..=smallest).contains(&grant));
        smallest = grant;
    }
    assert_eq!((smallest, budget.left().messages), (1, 0));
}

#[tokio::test]
async fn rotation_is_told_of_thirst_once_for_each_extension() {
    let refill = Arc::new(Notify::new());
    let budget = Budget::new(Volume::default(), 1, Arc::clone(&refill));
    budget.extend(used(10, 1000));
    let told = || futures_util::FutureExt::now_or_never(refill.notified()).is_some();
    // 5 of 10: half is left.
    assert_eq!(budget.take_messages(), Some(5));
    assert!(!told() && !budget.needs_refill());
    assert_eq!(budget.take_messages(), Some(2));
    assert!(told() && budget.needs_refill());
    while budget.take_messages().is_some() {}
    assert!(!told());
    budget.extend(used(10, 0));
    assert!(!budget.needs_refill());
    // More than there is, of bytes.
    assert_eq!(budget.take_bytes(1001), None);
    assert!(told() && budget.needs_refill());
}

#[tokio::test]
async fn change_after_the_subscription_is_not_missed() {
    let (keys, _misses) = Keys::new(snapshot(&[], &[], 1));
    let ready =
        |changes: &mut Changes| futures_util::FutureExt::now_or_never(changes.next()).is_some();
    keys.replenished();
    let mut changes = keys.changes();
    assert!(!ready(&mut changes), "that was before");
    keys.replenished();
    assert!(ready(&mut changes));
    assert!(!ready(&mut changes));
    keys.install(snapshot(&[], &[], 2));
    assert!(ready(&mut changes));
}

#[test]
fn opens_are_counted_by_version_and_failures_once_for_each_envelope() {
    let version = version("agents", 1);
    let snapshot = snapshot(&[&version], &[], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let mut envelope = sealed(&mut lanes, &snapshot, b"hello");
    let mut cache = LaneCache::new(WORKER);
    for _once_derived_then_from_the_cache in 0..3 {
        opened(&mut cache, &snapshot, &envelope).unwrap();
    }
    *envelope.last_mut().unwrap() ^= 1;
    opened(&mut cache, &snapshot, &envelope).unwrap_err();
    assert_eq!(
        version.usage.failed_opens(),
        0,
        "other subjects are left to try"
    );
    cache.count_failed(&snapshot, &envelope);
    assert_eq!(
        (version.usage.opened(), version.usage.failed_opens()),
        (3, 1)
    );
}
