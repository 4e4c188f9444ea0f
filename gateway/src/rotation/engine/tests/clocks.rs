//! Every duration of a version while the wall clock is set as badly as can be: none ends early, none is late, and what is shown
//! is what happens.

use jiff::SignedDuration;

use super::*;
use crate::catalogue::{Label, Monotonic, Version};
use State::{Archived, DecryptOnly, Destroyed};

const DAY: i64 = 86_400;

/// By how many seconds the clock is set, one after the other: ahead, back, to and fro, by little, for good.
const HOSTILE: [&[i64]; 8] = [
    &[],
    &[2 * DAY],
    &[-DAY],
    &[2 * DAY, -2 * DAY],
    &[-DAY, DAY],
    &[364 * DAY, -364 * DAY],
    &[30, -30, 59],
    &[2 * DAY, -DAY, -30 * DAY, 700 * DAY, -2 * DAY, 2 * DAY],
];

/// What a fault of the clock comes with.
#[derive(Clone, Copy, Debug)]
enum Process {
    Goes,
    Begins,
}

fn set(world: &mut World, seconds: i64, process: Process) {
    let by = SignedDuration::from_secs(seconds);
    world.now.wall = world.now.wall.saturating_add(by).unwrap();
    if let Process::Begins = process {
        let members = world.state.members.clone();
        let terms = world.state.terms().clone();
        world.state = KeyringState::new(terms, world.versions.clone(), members);
    }
    world.tick();
}

/// Lets time pass, with the clock set on the way.
fn pass(world: &mut World, time: Duration, (steps, process): (&[i64], Process)) {
    let parts = u32::try_from(steps.len()).unwrap() + 1;
    for seconds in steps {
        world.pass(time / parts);
        set(world, *seconds, process);
    }
    world.pass(time - time / parts * (parts - 1));
}

fn walk(mut each: impl FnMut((&'static [i64], Process))) {
    for steps in HOSTILE {
        for process in [Process::Goes, Process::Begins] {
            each((steps, process));
        }
    }
}

#[test]
fn overlap_hold_and_shred_last_as_long_as_they_must_whatever_the_clock_shows() {
    let hold = 24 * HOUR;
    for retain in [Retain::Destroy, Retain::Archive, Retain::Shred] {
        walk(|fault| {
            let mut world = World::started(Terms {
                retain,
                hold,
                ..terms()
            });
            world.ask(Order::Rotate).unwrap();
            let first = |world: &World| world.states()[0];
            pass(&mut world, terms().overlap - SECOND, fault);
            assert_eq!(first(&world), DecryptOnly, "{retain:?}, {fault:?}");
            world.pass(SECOND);
            let over = match retain {
                Retain::Shred => Destroyed,
                Retain::Destroy | Retain::Archive => Archived,
            };
            assert_eq!(first(&world), over, "{retain:?}, {fault:?}");
            pass(&mut world, hold - SECOND, fault);
            assert_eq!(first(&world), over, "{retain:?}, {fault:?}");
            world.pass(SECOND);
            let end = match retain {
                Retain::Destroy | Retain::Shred => Destroyed,
                Retain::Archive => Archived,
            };
            assert_eq!(first(&world), end, "{retain:?}, {fault:?}");
        });
    }
}

#[test]
fn cryptoperiod_with_its_jitter_is_never_longer_and_a_clock_that_is_set_costs_one_rotation() {
    for jitter in [0, 10] {
        walk(|fault| {
            let mut world = World::started(Terms {
                rotate: Rotate {
                    jitter,
                    ..terms().rotate
                },
                ..terms()
            });
            for _ in 0..3 {
                let before = world.state.active().unwrap().number;
                let count = world.versions.len();
                pass(&mut world, 24 * HOUR, fault);
                let after = world.state.active().unwrap().number;
                assert!(after > before, "{jitter}, {fault:?}");
                // Each step asks for one at most, the end of the period for one or, with its jitter, two.
                let most = fault.0.len() + 2;
                assert!(world.versions.len() - count <= most, "{jitter}, {fault:?}");
            }
        });
    }
}

#[test]
fn version_born_in_the_future_is_replaced_at_once_and_its_successor_is_not() {
    for process in [Process::Goes, Process::Begins] {
        let mut world = World::new(terms());
        set(&mut world, 364 * DAY, Process::Goes);
        world.pass(SECOND);
        assert_eq!(world.versions.len(), 1);
        world.done.clear();
        set(&mut world, -364 * DAY, process);
        assert_eq!(world.state.active().unwrap().number, 2, "{process:?}");
        assert!(
            world
                .done
                .iter()
                .all(|(_step, trigger)| *trigger == Trigger::Time)
        );
        world.pass(23 * HOUR);
        assert_eq!(world.versions.len(), 2);
    }
}

#[test]
fn rotations_stay_apart_whatever_the_clock_shows() {
    walk(|fault| {
        let mut world = World::started(terms());
        for _ in 0..6 {
            // Writing in `World` checks that no version is replaced within a second.
            world.ask(Order::Rotate).unwrap();
            pass(&mut world, SECOND / 2, fault);
        }
        world.pass(SECOND);
        assert_eq!(world.state.held_back(world.now), None, "{fault:?}");
    });
}

#[test]
fn times_that_are_shown_are_those_at_which_it_happens() {
    walk(|fault| {
        let mut world = World::started(Terms {
            hold: HOUR,
            ..terms()
        });
        world.ask(Order::Rotate).unwrap();
        pass(&mut world, Duration::from_mins(4), fault);
        let near = |shown: Option<Timestamp>, world: &World, left: Duration| {
            let shown = shown.unwrap().duration_since(world.now.wall);
            let off = shown - SignedDuration::try_from(left).unwrap();
            assert!(
                off.unsigned_abs() < SECOND,
                "{fault:?}: {shown:?}, {left:?} are left"
            );
        };
        near(
            world.state.overlap_ends(1, world.now),
            &world,
            Duration::from_mins(6),
        );
        world.pass(Duration::from_mins(6));
        pass(&mut world, Duration::from_mins(20), fault);
        near(
            world.state.held_until(1, world.now),
            &world,
            Duration::from_mins(40),
        );
        let rotates = world.state.outlook(world.now).rotates.unwrap();
        let left = rotates.duration_since(world.now.wall);
        assert!(
            left <= SignedDuration::from_hours(24),
            "{fault:?}: {left:?}"
        );
        let number = world.state.active().unwrap().number;
        assert_eq!(world.state.expiry(Some(number), world.now), Some(rotates));
    });
}

/// A version that sealed from `hours` ago until one hour less ago, with the clock as far ahead then as each says.
fn sealed_for_an_hour(now: Now, hours: i64, ahead: [i64; 2]) -> Version {
    let at = |of: Timestamp, hours: i64| of - SignedDuration::from_hours(hours);
    let (began, ceased) = (at(now.monotonic, hours), at(now.monotonic, hours - 1));
    let commitment = crate::envelope::Commitment([1; 32]);
    Version {
        number: 1,
        label: Label::new(&"agents".parse().unwrap(), now.wall, 1),
        kid: commitment.kid(),
        commitment,
        suite: Suite::Aes256Gcm,
        state: Archived,
        created: began,
        since: ceased,
        activated: Some(at(now.wall, hours - ahead[0])),
        deactivated: Some(at(now.wall, hours - 1 - ahead[1])),
        monotonic: Monotonic {
            since: None,
            activated: Some(began),
            deactivated: Some(ceased),
        },
        sealed: Volume::default(),
        reserved: Volume::default(),
        lanes: 0,
        served: Vec::new(),
        proposed: None,
        wrapped: None,
    }
}

#[test]
fn bus_is_asked_about_the_time_in_which_a_version_really_sealed() {
    let now = World::new(terms()).now;
    let truly = |hours| Some(now.wall - SignedDuration::from_hours(hours));
    for (ahead, span) in [
        ([0, 0], (truly(9), truly(8))),
        // Ahead: what is older than the time in the record may be sealed under it.
        (
            [48, 48],
            (
                None,
                Some(truly(8).unwrap() + SignedDuration::from_hours(48)),
            ),
        ),
        // Behind: what is younger may be.
        (
            [-48, -48],
            (
                Some(truly(9).unwrap() - SignedDuration::from_hours(48)),
                truly(8),
            ),
        ),
        ([48, -48], (None, truly(8))),
    ] {
        let version = sealed_for_an_hour(now, 9, ahead);
        assert_eq!(now.sealing_span(&version), span, "{ahead:?}");
    }
}
