//! Single scenarios.

use super::*;
use crate::fleet::Member;
use State::{Active, Archived, Compromised, DecryptOnly, Destroyed, PreActive, Ready, Suspended};

#[test]
fn first_version_goes_through_every_step_before_it_is_active() {
    let mut world = World::new(terms());
    world.tick();
    assert_eq!(
        world.steps(),
        [
            Step::Generate,
            Step::Distribute(1),
            Step::Admit(1),
            Step::Activate(1)
        ]
    );
    assert!(
        world
            .done
            .iter()
            .all(|(_step, trigger)| *trigger == Trigger::Start)
    );
    assert_eq!(world.states(), [Active]);
    world.tick();
    assert_eq!(world.done.len(), 4);
}

#[test]
fn cryptoperiod_that_is_over_starts_a_rotation() {
    let mut world = World::started(terms());
    world.pass(24 * HOUR - 2 * SECOND);
    assert_eq!(world.states(), [Active]);
    world.pass(SECOND);
    assert_eq!(world.states(), [DecryptOnly, Active]);
    assert!(
        world
            .done
            .iter()
            .all(|(_step, trigger)| *trigger == Trigger::Time)
    );
}

#[test]
fn jitter_shortens_the_cryptoperiod_by_a_part_of_its_own() {
    let rotate = Rotate {
        jitter: 10,
        ..terms().rotate
    };
    let period = |kid: [u8; 2]| rotate.cryptoperiod(Kid([kid[0], kid[1], 0, 0, 0, 0, 0, 0]));
    assert_eq!(period([0, 0]), 24 * HOUR);
    assert_eq!(period([255, 255]), 24 * HOUR - 24 * HOUR / 10);
    assert!(period([128, 0]) < period([0, 0]) && period([128, 0]) > period([255, 255]));
}

#[test]
fn messages_and_bytes_start_a_rotation_at_their_threshold() {
    for (messages, bytes, trigger) in [(1000, 0, Trigger::Messages), (0, 1 << 20, Trigger::Bytes)] {
        let mut world = World::started(terms());
        world.used(messages.max(1) - 1, bytes.max(1) - 1);
        assert_eq!(world.states(), [Active]);
        world.used(messages, bytes);
        assert_eq!(world.states(), [DecryptOnly, Active]);
        assert_eq!(world.done[0], (Step::Generate, trigger));
    }
}

#[test]
fn rate_that_would_reach_the_limit_too_early_starts_a_rotation() {
    let mut terms = terms();
    terms.rotate.messages = 3999;
    let mut world = World::started(terms);
    for used in [100, 600, 1100] {
        world.used(used, 0);
        world.pass(Duration::from_secs(5));
    }
    // 100 a second, 2,900 left: 29 s.
    assert_eq!(world.states(), [Active]);
    world.used(3200, 0);
    assert_eq!(world.states(), [DecryptOnly, Active]);
    assert_eq!(world.done[0].1, Trigger::Forecast);
}

#[test]
fn what_was_reserved_and_lost_reaches_no_threshold() {
    let mut world = World::started(terms());
    let Limit { messages, .. } = terms().limit;
    world.feed(Event::Usage {
        number: 1,
        sealed: Volume {
            messages: 3,
            bytes: 9,
        },
        used: Volume {
            messages: messages - 1,
            bytes: 9,
        },
        failed_opens: 0,
        headroom: LimitHeadroom::Enough,
    });
    assert_eq!(world.states(), [Active]);
}

#[test]
fn use_of_a_predecessor_starts_nothing() {
    let mut world = World::started(terms());
    world.used(1000, 0);
    world.done.clear();
    world.feed(Event::Usage {
        number: 1,
        sealed: Volume {
            messages: 3000,
            bytes: 0,
        },
        used: Volume {
            messages: 3000,
            bytes: 0,
        },
        failed_opens: u64::MAX,
        headroom: LimitHeadroom::Enough,
    });
    assert_eq!(world.states(), [DecryptOnly, Active]);
}

#[test]
fn too_many_failed_opens_start_a_rotation() {
    let mut world = World::started(terms());
    world.feed(Event::Usage {
        number: 1,
        sealed: Volume::default(),
        used: Volume::default(),
        failed_opens: crate::envelope::limits::FAILED_OPENS_ROTATE,
        headroom: LimitHeadroom::Enough,
    });
    assert_eq!(world.states(), [DecryptOnly, Active]);
    assert_eq!(world.done[0].1, Trigger::FailedOpens);
}

#[test]
fn rotations_asked_for_while_one_is_under_way_are_one() {
    let mut world = World::started(terms());
    world.broken = true;
    for _ in 0..3 {
        world.ask(Order::Rotate).unwrap();
    }
    world.broken = false;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.states(), [DecryptOnly, Active]);
}

#[test]
fn failure_is_retried_with_pauses_that_double() {
    let mut world = World::started(terms());
    world.broken = true;
    world.ask(Order::Rotate).unwrap();
    let mut attempts = vec![world.now.elapsed];
    let mut failed = world.failed;
    for _ in 0..400 {
        world.pass(Duration::from_millis(500));
        if world.failed != failed {
            failed = world.failed;
            attempts.push(world.now.elapsed);
        }
    }
    let pauses = attempts.windows(2).map(|pair| pair[1] - pair[0]);
    let seconds: Vec<_> = pauses.map(|pause| pause.as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(
        world.state.outlook(world.now).failure.unwrap(),
        "the disk is full"
    );
    world.broken = false;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.states(), [DecryptOnly, Active]);
    assert_eq!(world.state.outlook(world.now).failure, None);
}

#[test]
fn a_start_goes_on_from_any_step() {
    for (state, steps) in [
        (
            PreActive,
            vec![Step::Distribute(2), Step::Admit(2), Step::Activate(2)],
        ),
        (Ready, vec![Step::Distribute(2), Step::Activate(2)]),
    ] {
        let mut world = World::started(terms());
        let mut successor = world.versions[0].clone();
        successor.number = 2;
        successor.state = state;
        world.versions.push(successor);
        world.state = KeyringState::new(terms(), world.versions.clone(), [me()].into());
        world.tick();
        assert_eq!(world.steps(), steps);
        assert_eq!(world.states(), [DecryptOnly, Active]);
    }
}

#[test]
fn successor_of_a_suite_no_longer_configured_is_discarded() {
    let mut world = World::started(terms());
    let mut successor = world.versions[0].clone();
    successor.number = 2;
    successor.state = Ready;
    successor.suite = Suite::Aes256GcmSiv;
    world.versions.push(successor);
    world.state = KeyringState::new(terms(), world.versions.clone(), [me()].into());
    world.tick();
    assert_eq!(world.states(), [DecryptOnly, Destroyed, Active]);
}

#[test]
fn nobody_seals_before_every_member_has_proven() {
    let other = Member("other".to_owned());
    let mut world = World::with_members(terms(), [me(), other.clone()]);
    world.honest.remove(&other);
    world.tick();
    assert_eq!(world.states(), [PreActive]);
    world.pass(HOUR);
    assert_eq!(world.states(), [PreActive]);
    world.honest.insert(other);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.states(), [Ready]);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.states(), [Active]);
}

#[test]
fn member_that_leaves_holds_nothing_up_and_one_that_joins_must_prove() {
    let other = Member("other".to_owned());
    let mut world = World::with_members(terms(), [me(), other.clone()]);
    world.honest.remove(&other);
    world.tick();
    let third = Member("third".to_owned());
    world.feed(Event::Joined(third.clone()));
    world.feed(Event::Left(other));
    assert_eq!(world.states(), [PreActive]);
    world.honest.insert(third);
    world.pass(Duration::from_secs(5));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.states(), [Active]);
}

#[test]
fn agreed_time_is_not_put_off_by_a_clock_that_goes_back() {
    let other = Member("other".to_owned());
    let mut world = World::with_members(terms(), [me(), other]);
    world.tick();
    assert_eq!(world.states(), [Ready]);
    world.now.wall = Timestamp::from_second(1_000_000_000).unwrap();
    world.tick();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.states(), [Active]);
}

#[test]
fn overlap_ends_in_the_archive_and_then_with_the_secret() {
    let mut world = World::started(terms());
    world.stored = RetentionVerdict::Held("a stream holds it".to_owned().into());
    world.ask(Order::Rotate).unwrap();
    world.pass(Duration::from_secs(599));
    assert_eq!(world.states(), [DecryptOnly, Active]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.states(), [Archived, Active]);
    let asked = world.asked;
    assert_eq!(asked, 1);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.asked, asked, "asked again too early");
    world.stored = RetentionVerdict::Clear(String::new());
    world.pass(Duration::from_secs(30));
    assert_eq!(world.states(), [Destroyed, Active]);
}

#[test]
fn retain_decides_what_comes_after_the_overlap() {
    for (retain, state) in [
        (Retain::Archive, Archived),
        (Retain::Destroy, Destroyed),
        (Retain::Shred, Destroyed),
    ] {
        let mut world = World::started(Terms { retain, ..terms() });
        world.ask(Order::Rotate).unwrap();
        world.pass(Duration::from_mins(10));
        assert_eq!(world.states(), [state, Active]);
        let asked = usize::from(retain == Retain::Destroy);
        assert_eq!(world.asked, asked);
    }
}

#[test]
fn clock_that_jumps_ahead_activates_nothing_twice() {
    let mut world = World::started(terms());
    for _ in 0..3 {
        world.now.wall = later(world.now.wall, 240 * HOUR);
        world.tick();
        world.tick();
        world.pass(SECOND * 10);
    }
    assert_eq!(world.versions.len(), 4);
    assert_eq!(
        world
            .versions
            .iter()
            .filter(|version| version.state.seals())
            .count(),
        1
    );
}

#[test]
fn compromised_version_stops_sealing_and_gets_a_successor() {
    let mut world = World::started(terms());
    world.ask(Order::Compromise(1)).unwrap();
    assert_eq!(world.done[0], (Step::Compromise(1), Trigger::Manual));
    assert_eq!(world.states(), [Compromised, Active]);
    world.pass(HOUR);
    assert_eq!(world.states(), [Compromised, Active]);
    assert_eq!(
        world.ask(Order::Compromise(1)),
        Err(Refused::Already(1, Compromised))
    );
    assert_eq!(world.ask(Order::Suspend(1)), Err(Refused::Compromised(1)));
    world.ask(Order::Destroy(1)).unwrap();
    assert_eq!(world.states(), [Destroyed, Active]);
}

#[test]
fn revocation_is_owed_until_it_is_done() {
    let mut world = World::started(terms());
    world.broken = true;
    world.ask(Order::Compromise(1)).unwrap();
    assert!(world.state.has_pending(Order::Compromise(1)));
    world.broken = false;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.states(), [Compromised, Active]);
    assert!(!world.state.has_pending(Order::Compromise(1)));
}

#[test]
fn compromised_successor_is_replaced() {
    let other = Member("other".to_owned());
    let mut world = World::started(terms());
    world.feed(Event::Joined(other.clone()));
    world.ask(Order::Rotate).unwrap();
    assert_eq!(world.states(), [Active, PreActive]);
    world.ask(Order::Compromise(2)).unwrap();
    world.honest.insert(other);
    world.pass(Duration::from_secs(5));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.states(), [DecryptOnly, Compromised, Active]);
}

#[test]
fn suspended_version_returns_to_where_it_was() {
    let mut world = World::started(terms());
    world.ask(Order::Suspend(1)).unwrap();
    assert_eq!(world.states(), [Suspended, Active]);
    world.ask(Order::Restore(1)).unwrap();
    assert_eq!(world.states(), [DecryptOnly, Active]);
    assert_eq!(
        world.ask(Order::Restore(1)),
        Err(Refused::NotSuspended(1, DecryptOnly))
    );
}

#[test]
fn only_version_returns_to_sealing_when_its_successor_fails() {
    let other = Member("other".to_owned());
    let mut world = World::started(terms());
    world.feed(Event::Joined(other));
    world.ask(Order::Suspend(1)).unwrap();
    assert_eq!(world.states(), [Suspended, PreActive]);
    assert_eq!(world.ask(Order::Abort), Err(Refused::Needed));
    world.ask(Order::Restore(1)).unwrap();
    assert_eq!(world.states(), [Active, PreActive]);
}

#[test]
fn rotation_can_be_aborted_while_something_else_seals() {
    let other = Member("other".to_owned());
    let mut world = World::started(terms());
    assert_eq!(world.ask(Order::Abort), Err(Refused::NoRotation));
    world.feed(Event::Joined(other));
    world.ask(Order::Rotate).unwrap();
    world.ask(Order::Abort).unwrap();
    assert_eq!(world.states(), [Active, Destroyed]);
    world.pass(HOUR);
    assert_eq!(world.states(), [Active, Destroyed]);
}

#[test]
fn rotation_that_would_begin_again_at_once_is_not_aborted() {
    let mut world = World::started(terms());
    world.feed(Event::Joined(Member("other".to_owned())));
    world.ask(Order::Rotate).unwrap();
    assert_eq!(world.state.may_abort(world.now), Ok(()));
    world.used(1000, 1);
    let due = Refused::Due("1000 of 1000 messages sealed".to_owned());
    assert_eq!(world.state.may_abort(world.now), Err(due));
    world.used(999, 1);
    world.pass(24 * HOUR);
    let refused = world.state.may_abort(world.now);
    assert!(matches!(refused, Err(Refused::Due(why)) if why.contains("cryptoperiod")));
}

#[test]
fn orders_that_make_no_sense_are_refused_with_the_reason() {
    let mut world = World::started(terms());
    assert_eq!(world.ask(Order::Destroy(1)), Err(Refused::InUse(1, Active)));
    assert_eq!(
        world.ask(Order::Archive(1)),
        Err(Refused::NotDecryptOnly(1, Active))
    );
    assert_eq!(world.ask(Order::Suspend(7)), Err(Refused::Unknown(7)));
    world.ask(Order::Rotate).unwrap();
    world.ask(Order::Archive(1)).unwrap();
    world.ask(Order::Destroy(1)).unwrap_err();
}

#[test]
fn limit_that_is_reserved_in_full_asks_for_a_successor() {
    let mut world = World::started(terms());
    world.feed(Event::Usage {
        number: 1,
        sealed: Volume::default(),
        used: Volume::default(),
        failed_opens: 0,
        headroom: LimitHeadroom::Spent,
    });
    assert_eq!(world.states(), [DecryptOnly, Active]);
    assert_eq!(world.done[0].1, Trigger::Forecast);
}

#[test]
fn order_that_is_withdrawn_does_not_happen_later_and_a_revocation_does() {
    let mut world = World::started(terms());
    world.ask(Order::Rotate).unwrap();
    world.broken = true;
    world.ask(Order::Compromise(2)).unwrap();
    world.ask(Order::Archive(1)).unwrap();
    for order in [Order::Compromise(2), Order::Archive(1)] {
        world.feed(Event::Withdrawn(order));
    }
    world.broken = false;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.states(), [DecryptOnly, Compromised, Active]);
}

/// At whichever step it failed: what it had made is discarded.
#[test]
fn rotation_that_is_withdrawn_does_not_happen_later_and_leaves_nothing() {
    for (no_secrets, left) in [(true, &[Active][..]), (false, &[Active, Destroyed][..])] {
        let mut world = World::started(terms());
        world.no_secrets = no_secrets;
        world.none_ready = true;
        world.ask(Order::Rotate).unwrap();
        assert!(world.failed > 0);
        world.feed(Event::Withdrawn(Order::Rotate));
        (world.no_secrets, world.none_ready) = (false, false);
        world.pass(HOUR);
        assert_eq!(world.states(), left);
        world.ask(Order::Rotate).unwrap();
        assert_eq!(world.states().last(), Some(&Active));
    }
}

#[test]
fn rotation_that_is_withdrawn_happens_all_the_same_once_the_gateway_wants_one() {
    let mut world = World::started(terms());
    world.none_ready = true;
    world.ask(Order::Rotate).unwrap();
    world.broken = true;
    world.feed(Event::Withdrawn(Order::Rotate));
    world.used(1000, 0);
    (world.broken, world.none_ready) = (false, false);
    world.pass(Duration::from_mins(1));
    assert_eq!(world.states(), [DecryptOnly, Active]);
}

#[test]
fn rotation_that_is_withdrawn_goes_on_where_nothing_else_seals() {
    let mut world = World::started(terms());
    world.ask(Order::Compromise(1)).unwrap();
    world.no_secrets = true;
    world.ask(Order::Compromise(2)).unwrap();
    world.feed(Event::Withdrawn(Order::Rotate));
    world.no_secrets = false;
    world.pass(Duration::from_mins(1));
    assert_eq!(world.states().last(), Some(&Active));
}

#[test]
fn revocation_takes_back_a_restoration_that_waits() {
    let mut world = World::started(terms());
    world.ask(Order::Suspend(1)).unwrap();
    world.broken = true;
    world.ask(Order::Compromise(2)).unwrap();
    world.ask(Order::Restore(1)).unwrap();
    world.ask(Order::Compromise(1)).unwrap();
    assert!(!world.state.has_pending(Order::Restore(1)));
    world.broken = false;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.states(), [Compromised, Compromised, Active]);
}

#[test]
fn rotation_that_goes_on_failing_keeps_no_version_alive() {
    let mut world = World::started(Terms {
        retain: Retain::Shred,
        ..terms()
    });
    world.ask(Order::Rotate).unwrap();
    world.no_secrets = true;
    world.ask(Order::Rotate).unwrap();
    for _ in 0..30 {
        world.pass(Duration::from_mins(1));
    }
    assert_eq!(world.states(), [Destroyed, Active]);
}
