//! Property test: random events in random order.

use proptest::prelude::*;

use super::*;
use crate::fleet::Member;

#[derive(Clone, Debug)]
enum Turn {
    Pass(u64),
    Jump(i64),
    Volume(u64, u64),
    Ask(Order),
    Break(bool),
    Member(u8, bool),
    Honest(u8, bool),
    Stored(bool),
    Restart,
    Terms(Retain, Suite),
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Rotate),
        Just(Order::Abort),
        (1..8_u32).prop_map(Order::Compromise),
        (1..8_u32).prop_map(Order::Suspend),
        (1..8_u32).prop_map(Order::Restore),
        (1..8_u32).prop_map(Order::Archive),
        (1..8_u32).prop_map(Order::Destroy),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0..100_000_u64).prop_map(Turn::Pass),
        1 => (-1_000_000..1_000_000_i64).prop_map(Turn::Jump),
        3 => (0..5000_u64, 0..5_000_000_u64).prop_map(|(messages, bytes)| Turn::Volume(messages, bytes)),
        4 => order().prop_map(Turn::Ask),
        2 => any::<bool>().prop_map(Turn::Break),
        1 => (0..4_u8, any::<bool>()).prop_map(|(member, joins)| Turn::Member(member, joins)),
        1 => (0..4_u8, any::<bool>()).prop_map(|(member, honest)| Turn::Honest(member, honest)),
        1 => any::<bool>().prop_map(Turn::Stored),
        1 => Just(Turn::Restart),
        1 => (
            prop::sample::select(vec![Retain::Destroy, Retain::Archive, Retain::Shred]),
            prop::sample::select(vec![Suite::Aes256Gcm, Suite::Aes256GcmSiv]),
        ).prop_map(|(retain, suite)| Turn::Terms(retain, suite)),
    ]
}

fn member(number: u8) -> Member {
    if number == 0 {
        me()
    } else {
        Member(format!("m{number}"))
    }
}

fn apply(world: &mut World, turn: Turn) {
    match turn {
        Turn::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Turn::Jump(seconds) => {
            let by = jiff::SignedDuration::from_secs(seconds);
            world.now.wall = world.now.wall.saturating_add(by).unwrap();
            world.tick();
        }
        Turn::Volume(messages, bytes) => {
            if world.state.active().is_some() {
                world.used(messages, bytes);
            }
        }
        // The order may be refused; what counts is the record.
        Turn::Ask(order) => {
            drop(world.ask(order));
            if world.state.failure().is_some() {
                world.feed(Event::Withdrawn(order));
            }
        }
        Turn::Break(broken) => world.broken = broken,
        Turn::Member(number, true) => world.feed(Event::Joined(member(number))),
        Turn::Member(number, false) => world.feed(Event::Left(member(number))),
        Turn::Honest(number, true) => drop(world.honest.insert(member(number))),
        Turn::Honest(number, false) => drop(world.honest.remove(&member(number))),
        Turn::Stored(clear) => {
            world.stored = if clear {
                RetentionVerdict::Clear(String::new())
            } else {
                RetentionVerdict::Held("held".to_owned().into())
            };
        }
        Turn::Restart => {
            let members = world.state.members.clone();
            let terms = world.state.terms().clone();
            world.state = KeyringState::new(terms, world.versions.clone(), members);
            world.activated = None;
            world.tick();
        }
        Turn::Terms(retain, suite) => world.feed(Event::Terms(Terms {
            retain,
            suite,
            ..terms()
        })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The world asserts on every write that the transition is legal and that one version at most is active.
    #[test]
    fn record_is_legal_at_every_step_and_traffic_goes_on_once_faults_stop(turns in prop::collection::vec(turn(), 1..60)) {
        let mut world = World::new(terms());
        for turn in turns {
            apply(&mut world, turn);
        }
        world.broken = false;
        world.stored = RetentionVerdict::Clear(String::new());
        world.honest.extend((0..4).map(member));
        for _ in 0..20 {
            world.pass(Duration::from_secs(30));
        }
        prop_assert!(world.state.active().is_some());
        prop_assert!(world.state.rotation.is_none(), "{:?}", world.state);
        for _ in 0..200 {
            world.pass(HOUR);
        }
        let retain = world.state.terms().retain;
        for version in &world.versions {
            let over = matches!(version.state, State::DecryptOnly | State::Archived);
            let young = version.age(world.now) < HOUR * 2;
            prop_assert!(!over || young || retain == Retain::Archive, "{version:?} {retain:?}");
        }
    }
}
