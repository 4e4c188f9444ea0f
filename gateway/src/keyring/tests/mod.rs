//! Keyrings with real keys, without sockets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::lane_cache::Entry;
use super::*;
use crate::clock::Clock;
use crate::envelope::{Binding, Flags, Header, Kid, LaneId, OVERHEAD, Suite, VersionKey};
use crate::metrics::LaneSource;
use crate::policy::{KeyringId, Policy, Rule};
use crate::secret::Secret;

mod budget;

const WORKER: WorkerId = WorkerId(0);

fn policy() -> Arc<Policy> {
    let rule = |name: &str, subjects: &str| Rule {
        name: name.parse().unwrap(),
        subjects: vec![subjects.parse().unwrap()],
        ..Rule::everything()
    };
    Arc::new(
        Policy::new(
            vec![rule("agents", "agents.>"), rule("tools", "tools.>")],
            &[],
        )
        .unwrap(),
    )
}

fn version(keyring: &str, number: u32) -> Arc<Version> {
    version_with(keyring, number, Budget::unlimited(1), 1)
}

fn version_with(keyring: &str, number: u32, budget: Budget, workers: usize) -> Arc<Version> {
    let secret = Secret::random().unwrap();
    Arc::new(Version {
        keyring: policy().by_name(keyring).unwrap(),
        number,
        label: format!("{keyring}-2026-11-23.{number}"),
        suite: Suite::Aes256Gcm,
        key: VersionKey::derive(keyring, number, &secret),
        lanes: LaneMap::default(),
        usage: Usage::new(workers),
        budget: Arc::new(budget),
    })
}

fn snapshot(active: &[&Arc<Version>], opening: &[&Arc<Version>], generation: u64) -> Snapshot {
    let owned =
        |versions: &[&Arc<Version>]| versions.iter().map(|version| Arc::clone(version)).collect();
    Snapshot::new(policy(), owned(active), owned(opening), generation)
}

fn agents() -> KeyringId {
    policy().by_name("agents").unwrap()
}

fn sealed(lanes: &mut Lanes, snapshot: &Snapshot, text: &[u8]) -> Vec<u8> {
    let mut out = vec![0; text.len().saturating_add(OVERHEAD)];
    lanes
        .seal(
            snapshot,
            agents(),
            Binding::to(Some(b"agents.a")),
            (text, &mut out),
        )
        .unwrap();
    out
}

fn opened(
    cache: &mut LaneCache,
    snapshot: &Snapshot,
    envelope: &[u8],
) -> Result<(Opened, Vec<u8>), OpenRefused> {
    let mut out = vec![0; envelope.len().saturating_sub(OVERHEAD)];
    open(
        snapshot,
        cache,
        Some(agents()),
        Binding::to(Some(b"agents.a")),
        (envelope, &mut out),
    )
    .map(|opened| (opened, out))
}

#[test]
fn sealed_under_the_active_version_opens_and_is_counted() {
    let active = version("agents", 1);
    let snapshot = snapshot(&[&active], &[], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let envelope = sealed(&mut lanes, &snapshot, b"hello");
    let (how, text) = opened(&mut LaneCache::new(WORKER), &snapshot, &envelope).unwrap();
    assert_eq!(text, b"hello");
    assert_eq!(how.keyring, agents());
    lanes.report();
    assert_eq!(
        active.usage.total(),
        Volume {
            messages: 1,
            bytes: 5
        }
    );
}

#[test]
fn lane_is_found_derived_then_in_the_connection_and_by_others_in_the_shared_map() {
    let active = version("agents", 1);
    let snapshot = snapshot(&[&active], &[], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let envelope = sealed(&mut lanes, &snapshot, b"hello");
    let mut cache = LaneCache::new(WORKER);
    assert_eq!(
        opened(&mut cache, &snapshot, &envelope).unwrap().0.source,
        LaneSource::Derived
    );
    assert_eq!(
        opened(&mut cache, &snapshot, &envelope).unwrap().0.source,
        LaneSource::Connection
    );
    let mut other = LaneCache::new(WORKER);
    assert_eq!(
        opened(&mut other, &snapshot, &envelope).unwrap().0.source,
        LaneSource::Shared
    );
}

#[test]
fn lanes_that_are_prepared_seal_and_open_without_drawing_or_deriving() {
    let refill = Arc::new(tokio::sync::Notify::new());
    let part = Volume {
        messages: 100,
        bytes: 100,
    };
    let budget = Budget::new(Volume::default(), 1, refill);
    budget.extend(part);
    let active = version_with("agents", 1, budget, 1);
    let snapshot = snapshot(&[&active], &[], 1);
    let now = Clock::system().instant();
    let mut lanes = Lanes::new(WORKER, now);
    let mut drawn = Vec::new();
    for _again in 0..2 {
        lanes.prepare(&snapshot, now, |keyring| drawn.push(keyring));
    }
    assert_eq!(drawn, [agents()]);
    // What is prepared keeps nothing from others.
    assert_eq!(active.budget.left(), part);
    let envelope = sealed(&mut lanes, &snapshot, b"hello");
    assert_eq!(active.usage.lanes(), 1);
    let (how, text) = opened(&mut LaneCache::new(WORKER), &snapshot, &envelope).unwrap();
    assert_eq!((how.source, text), (LaneSource::Shared, b"hello".to_vec()));
}

#[test]
fn life_of_a_prepared_lane_begins_with_its_first_message() {
    let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH);
    let active = version("agents", 1);
    let snapshot = snapshot(&[&active], &[], 1);
    let mut lanes = Lanes::new(WORKER, clock.instant());
    lanes.prepare(&snapshot, clock.instant(), |_keyring| {});
    let mut later = |seconds| {
        manual_clock.advance(Duration::from_secs(seconds));
        lanes.begin(&snapshot, clock.instant());
        Header::parse(&sealed(&mut lanes, &snapshot, b"a")).unwrap()
    };
    let (first, second, third) = (later(600), later(59), later(1));
    assert_eq!(first.lane, second.lane);
    assert_ne!(second.lane, third.lane);
    assert_eq!(active.usage.lanes(), 2);
}

#[test]
fn made_up_lane_takes_no_memory() {
    let active = version("agents", 1);
    let snapshot = snapshot(&[&active], &[], 1);
    let header = Header {
        suite: Suite::Aes256Gcm,
        flags: Flags::BOUND,
        kid: active.kid(),
        lane: LaneId([7; 16]),
        counter: 0,
    };
    let mut forged = header.encode().to_vec();
    forged.extend_from_slice(&[0; 40]);
    let mut cache = LaneCache::new(WORKER);
    assert_eq!(
        opened(&mut cache, &snapshot, &forged),
        Err(OpenRefused::Unauthentic(agents()))
    );
    assert!(active.lanes.is_empty());
}

#[test]
fn lane_map_at_its_capacity_replaces_a_lane() {
    let version = version("agents", 1);
    let map = LaneMap::with_capacity(3);
    for number in 0..10 {
        let lane = LaneId([number; 16]);
        map.admit(lane, Arc::new(version.key.lane(Suite::Aes256Gcm, lane)));
        assert!(map.get(lane).is_some());
    }
    assert_eq!(map.len(), 3);
}

#[test]
fn lane_ends_after_its_life() {
    let (clock, manual_clock) = Clock::manual(SystemTime::UNIX_EPOCH);
    let active = version("agents", 1);
    let snapshot = snapshot(&[&active], &[], 1);
    let mut lanes = Lanes::new(WORKER, clock.instant());
    let first = Header::parse(&sealed(&mut lanes, &snapshot, b"a")).unwrap();
    manual_clock.advance(Duration::from_secs(59));
    lanes.begin(&snapshot, clock.instant());
    let second = Header::parse(&sealed(&mut lanes, &snapshot, b"b")).unwrap();
    manual_clock.advance(Duration::from_secs(1));
    lanes.begin(&snapshot, clock.instant());
    let third = Header::parse(&sealed(&mut lanes, &snapshot, b"c")).unwrap();
    assert_eq!(
        (first.lane, first.counter + 1),
        (second.lane, second.counter)
    );
    assert_ne!(second.lane, third.lane);
}

#[test]
fn after_a_switch_the_successor_seals_and_both_open() {
    let (first, second) = (version("agents", 1), version("agents", 2));
    let before = snapshot(&[&first], &[], 1);
    let after = snapshot(&[&second], &[&first], 2);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let old = sealed(&mut lanes, &before, b"old");
    let new = sealed(&mut lanes, &after, b"new");
    assert_eq!(Header::parse(&new).unwrap().kid, second.kid());
    let mut cache = LaneCache::new(WORKER);
    assert_eq!(opened(&mut cache, &after, &old).unwrap().1, b"old");
    assert_eq!(opened(&mut cache, &after, &new).unwrap().1, b"new");
}

#[test]
fn version_gone_from_the_snapshot_is_a_miss_even_with_a_cached_lane() {
    let (first, second) = (version("agents", 1), version("agents", 2));
    let before = snapshot(&[&first], &[], 1);
    let after = snapshot(&[&second], &[], 2);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let old = sealed(&mut lanes, &before, b"old");
    let mut cache = LaneCache::new(WORKER);
    opened(&mut cache, &before, &old).unwrap();
    cache.refresh(&after);
    assert_eq!(
        opened(&mut cache, &after, &old),
        Err(OpenRefused::Miss(first.kid()))
    );
}

#[test]
fn version_of_another_keyring_is_refused() {
    let (agents, tools) = (version("agents", 1), version("tools", 1));
    let snapshot = snapshot(&[&agents, &tools], &[], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let mut envelope = vec![0; 5 + OVERHEAD];
    lanes
        .seal(
            &snapshot,
            tools.keyring,
            Binding::to(Some(b"agents.a")),
            (b"hello", &mut envelope),
        )
        .unwrap();
    assert_eq!(
        opened(&mut LaneCache::new(WORKER), &snapshot, &envelope),
        Err(OpenRefused::WrongKeyring)
    );
}

#[test]
fn keyring_without_an_active_version_never_seals() {
    let retired = version("agents", 1);
    let snapshot = snapshot(&[], &[&retired], 1);
    let mut lanes = Lanes::new(WORKER, Clock::system().instant());
    let refused = lanes.seal(
        &snapshot,
        agents(),
        Binding::default(),
        (b"a", &mut [0; 49]),
    );
    assert_eq!(refused, Err(SealRefused::NoActiveVersion));
}

/// The lane with this number in the cache.
fn remember(cache: &mut LaneCache, version: &Version, number: u16) {
    cache.put(Entry {
        kid: version.kid(),
        lane: lane(number),
        keyring: version.keyring,
        key: Arc::new(version.key.lane(Suite::Aes256Gcm, lane(number))),
        usage: version.usage.clone(),
    });
}

fn lane(number: u16) -> LaneId {
    let [first, second] = number.to_le_bytes();
    LaneId([first, second, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
}

#[test]
fn connection_cache_keeps_every_lane_while_its_sets_have_room() {
    let version = version("agents", 1);
    let mut cache = LaneCache::new(WORKER);
    (0..100).for_each(|number| remember(&mut cache, &version, number));
    assert!((0..100).all(|number| cache.get(version.kid(), lane(number)).is_some()));
    assert!(cache.get(Kid([0; 8]), lane(1)).is_none());
}

#[test]
fn lanes_that_have_ended_make_room_before_the_connection_cache_grows() {
    let version = version("agents", 1);
    let mut cache = LaneCache::new(WORKER);
    for number in 0..300 {
        remember(&mut cache, &version, number);
        for _ in 0..100 {
            assert!(cache.get(version.kid(), lane(number)).is_some());
        }
    }
    assert_eq!(cache.places(), 4);
    // Lanes that are all in use do not make room.
    for number in 0..8 {
        remember(&mut cache, &version, number);
    }
    for number in (0..8).cycle().take(1000) {
        assert!(cache.get(version.kid(), lane(number)).is_some());
    }
    assert!((8..=16).contains(&cache.places()), "{}", cache.places());
}

#[tokio::test]
async fn miss_is_answered_by_whoever_installs_the_version() {
    let (first, second) = (version("agents", 1), version("agents", 2));
    let (keys, mut misses) = Keys::new(snapshot(&[&first], &[], 1));
    let kid = second.kid();
    let rotation = async {
        let miss = misses.recv().await.unwrap();
        assert_eq!(miss.kid, kid);
        keys.install(snapshot(&[&first], &[&second], 2));
        miss.answer(Verdict::Loaded);
    };
    let (verdict, ()) = tokio::join!(keys.miss(kid, asking()), rotation);
    assert_eq!(verdict, Verdict::Loaded);
    assert!(keys.load().by_kid(kid).is_some());
}

#[tokio::test]
async fn miss_that_nobody_can_answer_is_absent() {
    let first = version("agents", 1);
    let (keys, misses) = Keys::new(snapshot(&[&first], &[], 1));
    drop(misses);
    assert_eq!(keys.miss(Kid([0; 8]), asking()).await, Verdict::Absent);
}

#[tokio::test]
async fn kids_that_nobody_knows_are_asked_for_at_a_bounded_rate_and_known_ones_always() {
    let first = version("agents", 1);
    let (keys, misses) = Keys::new(snapshot(&[&first], &[], 1));
    drop(misses);
    let asking = asking();
    let mut asked = 0;
    for number in 0..10_000_u64 {
        asked += usize::from(keys.miss(Kid(number.to_be_bytes()), asking).await == Verdict::Absent);
    }
    assert_eq!(asked, 256);
    assert_eq!(keys.miss(Kid([9; 8]), asking).await, Verdict::Refused);
    keys.install(snapshot(&[&first], &[], 2).with_on_demand([Kid([9; 8])].into()));
    assert_eq!(keys.miss(Kid([9; 8]), asking).await, Verdict::Absent);
}

fn asking() -> MissRequest {
    MissRequest {
        now: Clock::system().instant(),
        spent: Duration::ZERO,
    }
}
