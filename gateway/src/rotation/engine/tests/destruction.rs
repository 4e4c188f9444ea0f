//! When a secret may be destroyed: how long it is held, and who has to approve.

use super::*;
use State::{Active, Archived, Compromised, Destroyed};
use audit::Actor::Uid;

fn approved() -> Terms {
    Terms {
        destroy: DestroyApproval::Approved,
        ..terms()
    }
}

/// With a version 1 whose overlap is over.
fn replaced(terms: Terms) -> World {
    let mut world = World::started(terms);
    world.ask(Order::Rotate).unwrap();
    world.pass(Duration::from_mins(10));
    world
}

#[test]
fn version_is_held_after_its_overlap_whatever_is_stored() {
    let mut world = replaced(Terms {
        hold: 24 * HOUR,
        ..terms()
    });
    assert_eq!(world.states(), [Archived, Active]);
    // An answer from before would be a day old by then.
    assert_eq!(world.asked, 0);
    let until = world.state.held_until(1, world.now).unwrap();
    assert_eq!(until, later(world.now.wall, 24 * HOUR));
    world.pass(23 * HOUR);
    assert_eq!(world.states()[0], Archived);
    world.pass(HOUR);
    assert_eq!(world.states()[0], Destroyed);
}

#[test]
fn hold_counts_from_the_overlap_over_a_restart_and_a_reload_changes_it_at_once() {
    let terms = Terms {
        hold: 24 * HOUR,
        ..terms()
    };
    let mut world = replaced(terms.clone());
    world.pass(12 * HOUR);
    world.state = KeyringState::new(terms.clone(), world.versions.clone(), [me()].into());
    world.pass(11 * HOUR);
    assert_eq!(world.states()[0], Archived);
    let longer = Terms {
        hold: 48 * HOUR,
        ..terms
    };
    world.feed(Event::Terms(longer));
    world.pass(2 * HOUR);
    assert_eq!(world.states()[0], Archived);
    world.feed(Event::Terms(super::terms()));
    assert_eq!(world.states()[0], Destroyed);
}

#[test]
fn order_of_a_person_is_not_held() {
    let mut world = replaced(Terms {
        hold: 24 * HOUR,
        ..terms()
    });
    world.ask(Order::Destroy(1)).unwrap();
    assert_eq!(world.states()[0], Destroyed);
}

#[test]
fn version_that_nothing_needs_waits_for_an_approval() {
    let mut world = replaced(Terms {
        hold: HOUR,
        ..approved()
    });
    let may = |world: &World| world.state.may_approve(1, &Uid(1), world.now);
    assert_eq!(may(&world), Err(Refused::NothingAsked(1)), "it is held");
    for _ in 0..50 {
        world.pass(HOUR);
    }
    assert_eq!(world.states()[0], Archived);
    assert_eq!(may(&world), Ok(()));
    assert_eq!(
        world.ask(Order::Destroy(1)),
        Err(Refused::Unapproved(1)),
        "whatever else is asked"
    );
    world.ask_as(Order::Approve(1), Uid(1)).unwrap();
    assert_eq!(world.states()[0], Destroyed);
}

#[test]
fn person_cannot_approve_of_what_they_have_asked_for() {
    let mut world = replaced(approved());
    world.ask_as(Order::Propose(1, true), Uid(1)).unwrap();
    assert_eq!(world.states()[0], Archived);
    let same = Refused::SamePerson {
        who: "uid:1".to_owned(),
        number: 1,
    };
    assert_eq!(world.state.may_approve(1, &Uid(1), world.now), Err(same));
    // Even if the caller does not check first.
    world.ask_as(Order::Approve(1), Uid(1)).unwrap();
    assert_eq!(world.states()[0], Archived);
    // A restart forgets neither the request nor who made it.
    world.state = KeyringState::new(approved(), world.versions.clone(), [me()].into());
    world.ask_as(Order::Approve(1), Uid(1)).unwrap();
    assert_eq!(world.states()[0], Archived);
    world.ask_as(Order::Approve(1), Uid(2)).unwrap();
    assert_eq!(world.states()[0], Destroyed);
}

#[test]
fn nothing_is_destroyed_unapproved_even_where_it_is_to_be_shredded() {
    let mut world = replaced(Terms {
        retain: Retain::Shred,
        ..approved()
    });
    assert_eq!(world.states()[0], Archived);
    world.ask(Order::Compromise(2)).unwrap();
    assert_eq!(world.states()[1], Compromised);
    assert_eq!(world.ask(Order::Destroy(2)), Err(Refused::Unapproved(2)));
    world.pass(HOUR);
    assert_eq!(world.states()[..2], [Archived, Compromised]);
}

#[test]
fn approvals_mean_nothing_where_none_are_needed() {
    let mut world = replaced(Terms {
        retain: Retain::Archive,
        ..terms()
    });
    assert_eq!(world.ask(Order::Approve(1)), Err(Refused::Automatic));
    assert_eq!(world.ask(Order::Propose(1, true)), Err(Refused::Automatic));
    assert_eq!(world.states()[0], Archived);
}
