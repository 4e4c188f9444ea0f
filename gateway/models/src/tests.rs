//! Properties that hold in every order.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a model counts what it has handed out itself"
)]

use loom::model::Builder;
use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::thread;

use super::grant::Grant;
use super::pool::Pool;
use super::sync::{Arc, Notify};
use super::{Budget, Volume};

/// Explores every order with at most three preemptions: two find nearly every race, three keep the run in seconds.
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

/// A pool with `left` units to grant.
fn pool(left: u64) -> Arc<Pool> {
    let pool = Pool::new(0, 2);
    pool.extend(left);
    Arc::new(pool)
}

fn budget(messages: u64, refill: &Arc<Notify>) -> Arc<Budget> {
    let budget = Budget::new(Volume::default(), 2, Arc::clone(refill));
    budget.extend(Volume {
        messages,
        bytes: messages,
    });
    Arc::new(budget)
}

/// A lane from its first message to its end; returns how many messages it sealed.
fn lane(budget: &Arc<Budget>, most: u64) -> u64 {
    let mut grant = Grant::new(budget);
    let sealed = seal(&mut grant, most);
    if most == 1 {
        // Its batch ends before it does.
        grant.settle();
    }
    sealed
}

/// Seals at most `most` messages of one byte, as a lane does; returns how many.
fn seal(grant: &mut Grant, most: u64) -> u64 {
    let mut sealed = 0;
    while sealed < most && grant.cover(1) {
        grant.spend(1);
        sealed += 1;
    }
    sealed
}

#[test]
fn takers_who_race_an_extension_never_get_more_than_is_reserved() {
    model(|| {
        let pool = pool(2);
        let takers = [3, 2].map(|wish| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let first = pool.take(1, wish).grant.unwrap_or(0);
                first + pool.take(1, wish).grant.unwrap_or(0)
            })
        });
        pool.extend(1);
        let granted: u64 = takers.map(|taker| taker.join().unwrap()).iter().sum();
        assert!(granted <= 3);
        assert_eq!((pool.taken(), pool.left()), (granted, 3 - granted));
    });
}

#[test]
fn what_is_given_back_is_granted_again_and_nothing_is_lost() {
    model(|| {
        let pool = pool(4);
        let other = Arc::clone(&pool);
        let giver = thread::spawn(move || {
            let grant = other.take(2, 2).grant.unwrap_or(0);
            // With a grant, one message is sealed.
            other.give_back(grant.saturating_sub(1));
            grant.min(1)
        });
        let mine = pool.take(2, 3).grant.unwrap_or(0);
        let sealed = mine + giver.join().unwrap();
        assert_eq!((pool.taken(), pool.left()), (sealed, 4 - sealed));
        assert_eq!(pool.take(4 - sealed, 4).grant, Some(4 - sealed));
    });
}

#[test]
fn refill_is_asked_once_for_each_extension_and_never_lost() {
    model(|| {
        let pool = pool(2);
        let takers = [(), ()].map(|()| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || u64::from(pool.take(1, 2).tell) + u64::from(pool.take(1, 2).tell))
        });
        pool.extend(2);
        let told: u64 = takers.map(|taker| taker.join().unwrap()).iter().sum();
        assert!(told <= 2, "{told} for two extensions");
        // Past the last mark, a refill must have been asked for.
        assert_eq!(pool.needs_refill(), pool.taken() > 3);
    });
}

#[test]
fn lane_gives_back_exactly_what_it_did_not_seal() {
    model(|| {
        // The first grant is a quarter.
        let budget = budget(16, &Arc::default());
        let lanes = [1, 2].map(|most| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || lane(&budget, most))
        });
        let sealed: u64 = lanes.map(|lane| lane.join().unwrap()).iter().sum();
        assert_eq!(
            budget.taken(),
            Volume {
                messages: sealed,
                bytes: sealed
            }
        );
    });
}

/// Two versions of a keyring, and which of them seals: an atomic index models the gateway's arc-swap.
struct Keyring {
    active: AtomicUsize,
    budgets: [Arc<Budget>; 2],
}

/// A worker of two batches, as `keyring::Lanes` does it: the snapshot is loaded once for a batch, and a lane whose version is no
/// longer the snapshot's active one is dropped before anything is sealed.
fn worker(keyring: &Keyring) -> [u64; 2] {
    let mut sealed = [0; 2];
    let mut lane: Option<(usize, Grant)> = None;
    for _batch in 0..2 {
        let active = keyring.active.load(Ordering::Acquire);
        lane = lane.filter(|(version, _grant)| *version == active);
        let (_version, grant) =
            lane.get_or_insert_with(|| (active, Grant::new(&keyring.budgets[active])));
        sealed[active] += seal(grant, 1);
    }
    sealed
}

#[test]
fn switch_under_workers_that_seal_leaves_each_version_with_what_was_sealed_under_it() {
    model(|| {
        let refill = Arc::default();
        let keyring = Arc::new(Keyring {
            active: AtomicUsize::new(0),
            budgets: [budget(12, &refill), budget(1, &refill)],
        });
        let other = Arc::clone(&keyring);
        let first = thread::spawn(move || worker(&other));
        keyring.active.store(1, Ordering::Release);
        let mine = worker(&keyring);
        let theirs = first.join().unwrap();
        assert_eq!(mine[0], 0, "the snapshot was installed before");
        for (version, budget) in keyring.budgets.iter().enumerate() {
            let sealed = mine[version] + theirs[version];
            assert!(sealed <= budget.reserved().messages);
            assert_eq!(budget.taken().messages, sealed);
        }
    });
}

#[test]
fn whoever_subscribed_before_it_was_refused_is_woken_by_the_extension() {
    model(|| {
        let (pool, changes) = (Arc::new(Pool::new(0, 2)), Arc::new(AtomicU64::new(0)));
        let rotation = {
            let (pool, changes) = (Arc::clone(&pool), Arc::clone(&changes));
            thread::spawn(move || {
                pool.extend(1);
                // `Keys::replenished`.
                changes.fetch_add(1, Ordering::Release);
            })
        };
        let mut seen = changes.load(Ordering::Acquire);
        while pool.take(1, 1).grant.is_none() {
            assert_eq!(seen, 0, "what was announced is there");
            // `Changes::next`; loom fails the model when nothing ever ends this.
            while changes.load(Ordering::Acquire) == seen {
                thread::yield_now();
            }
            seen = 1;
        }
        rotation.join().unwrap();
    });
}
