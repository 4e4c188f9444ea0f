//! The least time between two rotations.

use super::*;
use State::{Active, DecryptOnly, Ready};

/// As much use as makes a successor due.
fn spend(world: &mut World) {
    world.used(1000, 0);
}

/// When each of `count` versions became active, under traffic that uses up every one at once.
fn rush(world: &mut World, count: usize) -> Vec<Duration> {
    let activations = |world: &World| {
        let versions = world.versions.iter();
        versions
            .filter(|version| version.activated.is_some())
            .count()
    };
    let mut times = Vec::new();
    let mut known = activations(world);
    while times.len() < count {
        spend(world);
        if activations(world) > known {
            known = activations(world);
            times.push(world.now.elapsed);
        }
        if times.len() < count {
            world.pass(Duration::from_millis(100));
        }
    }
    times
}

fn active(world: &World) -> u32 {
    world.state.active().unwrap().number
}

fn gaps(times: &[Duration]) -> Vec<u64> {
    let pairs = times.iter().zip(times.iter().skip(1));
    pairs.map(|(from, to)| (*to - *from).as_secs()).collect()
}

#[test]
fn rotations_that_use_asks_for_without_end_come_further_and_further_apart_up_to_a_minute() {
    let mut world = World::started(terms());
    let times = rush(&mut world, 9);
    assert_eq!(gaps(&times), [2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn rotation_after_a_pause_is_made_at_once() {
    let mut world = World::started(terms());
    rush(&mut world, 5);
    world.pass(HOUR);
    let before = active(&world);
    world.pass(SECOND);
    spend(&mut world);
    assert_eq!(active(&world), before + 1);
}

#[test]
fn person_s_rotation_waits_for_a_second_at_most_and_those_asked_for_meanwhile_are_one() {
    let mut world = World::started(terms());
    rush(&mut world, 6);
    world.pass(SECOND);
    world.ask(Order::Rotate).unwrap();
    let count = world.versions.len();
    assert_eq!(world.states().last(), Some(&Active), "the first");
    for _ in 0..3 {
        world.ask(Order::Rotate).unwrap();
        assert_eq!(world.states().last(), Some(&Ready));
    }
    let wait = world.state.held_back(world.now);
    assert_eq!(wait, Some(SECOND));
    world.pass(SECOND);
    assert_eq!(world.states().last(), Some(&Active), "those after it");
    assert_eq!(world.versions.len(), count + 1);
    assert_eq!(world.state.held_back(world.now), None);
}

#[test]
fn revoked_version_gets_its_successor_at_once() {
    let mut world = World::started(terms());
    rush(&mut world, 6);
    let number = active(&world);
    world.ask(Order::Compromise(number)).unwrap();
    assert_eq!(active(&world), number + 1);
}

#[test]
fn restart_forgets_no_rotation() {
    let mut world = World::started(terms());
    rush(&mut world, 4);
    world.pass(SECOND);
    let restart = |world: &mut World| {
        world.state = KeyringState::new(terms(), world.versions.clone(), [me()].into());
        world.now.elapsed = Duration::ZERO;
        world.activated = None;
        world.tick();
    };
    // A rotation that a crash interrupted goes on after a second at most: its reason is not known any more.
    let before = active(&world);
    restart(&mut world);
    assert_eq!(active(&world), before + 1);
    spend(&mut world);
    world.pass(SECOND * 2);
    assert_eq!(world.states().last(), Some(&Ready));
    assert_eq!(active(&world), before + 1);
}

#[test]
fn clock_that_goes_back_before_a_restart_holds_nothing_up() {
    let mut world = World::started(terms());
    world.now.wall = Timestamp::from_second(1_000_000_000).unwrap();
    world.state = KeyringState::new(terms(), world.versions.clone(), [me()].into());
    world.ask(Order::Rotate).unwrap();
    assert_eq!(world.states(), [DecryptOnly, Active]);
}
