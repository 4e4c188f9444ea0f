//! Every rule of a record, broken once.

use super::*;

/// Versions 1 to 4: decrypt-only, decrypt-only, active, pre-active.
fn record() -> Record {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    for _ in 0..3 {
        catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    }
    catalogue.prepare(&agents(), SUITE, &fixture.clock).unwrap();
    catalogue.record(&agents()).unwrap().clone()
}

fn broken(edit: impl FnOnce(&mut Record)) -> Option<Invalid> {
    let mut record = record();
    record.check().unwrap();
    edit(&mut record);
    record.check().err()
}

fn broken_step(edit: impl FnOnce(&mut Record)) -> Option<Invalid> {
    let old = record();
    let mut new = old.clone();
    new.check_step(&old).unwrap();
    edit(&mut new);
    new.check_step(&old).err()
}

#[test]
fn second_active_version_is_refused() {
    let broken = broken(|r| {
        let now = r.versions[3].created;
        r.versions[3].enter(State::Active, now);
    });
    assert_eq!(broken, Some(Invalid::TwoActive(3, 4)));
}

#[test]
fn numbers_that_do_not_grow_from_one_are_refused() {
    assert_eq!(
        broken(|r| r.versions[0].number = 0),
        Some(Invalid::Order(0, 0))
    );
    assert_eq!(
        broken(|r| r.versions.swap(0, 1)),
        Some(Invalid::Order(1, 2))
    );
    assert_eq!(
        broken(|r| r.versions[1].number = 1),
        Some(Invalid::Order(1, 1))
    );
}

#[test]
fn kid_that_is_not_the_commitments_is_refused() {
    assert_eq!(
        broken(|r| r.versions[0].kid.0[0] ^= 1),
        Some(Invalid::Kid(1))
    );
}

#[test]
fn two_versions_of_one_kid_are_refused() {
    let broken = broken(|r| {
        r.versions[1].commitment = r.versions[0].commitment;
        r.versions[1].kid = r.versions[0].kid;
    });
    assert_eq!(broken, Some(Invalid::SameKid(2)));
}

#[test]
fn label_of_another_number_is_refused() {
    let broken = broken(|r| r.versions[0].label = r.versions[1].label.clone());
    assert_eq!(broken, Some(Invalid::Label(1)));
}

#[test]
fn secret_gone_before_destruction_or_there_after_it_is_refused() {
    assert_eq!(
        broken(|r| r.versions[0].wrapped = None),
        Some(Invalid::Secret(1))
    );
    assert_eq!(
        broken(|r| r.versions[0].state = State::Destroyed),
        Some(Invalid::Secret(1))
    );
}

#[test]
fn deactivated_version_never_seals_again_even_after_suspension() {
    let broken = broken(|r| {
        let now = r.versions[0].created;
        r.versions[2].enter(State::DecryptOnly, now);
        r.versions[2].enter(State::Suspended, now);
        r.versions[2].enter(State::Active, now);
    });
    assert_eq!(broken, Some(Invalid::Times(3)));
}

#[test]
fn suspended_active_version_may_seal_again() {
    let broken = broken(|r| {
        let now = r.versions[0].created;
        r.versions[2].enter(State::Suspended, now);
        r.versions[2].enter(State::Active, now);
    });
    assert_eq!(broken, None);
}

/// Suspended while it was ready, and found to be sound: it is kept, and has never sealed.
#[test]
fn version_that_was_never_active_has_never_stopped_sealing() {
    let mut version = record().versions.remove(3);
    let now = version.created;
    for state in [
        State::Ready,
        State::Suspended,
        State::DecryptOnly,
        State::Compromised,
    ] {
        version.enter(state, now);
        assert_eq!(version.stopped_sealing(), None, "{state:?}");
    }
    assert_eq!((version.activated, version.deactivated), (None, Some(now)));
}

#[test]
fn version_left_out_is_refused() {
    assert_eq!(
        broken_step(|r| drop(r.versions.remove(1))),
        Some(Invalid::LeftOut(2))
    );
    assert_eq!(
        broken_step(|r| drop(r.versions.pop())),
        Some(Invalid::LeftOut(4))
    );
}

#[test]
fn second_commitment_for_a_number_is_refused() {
    let broken = broken_step(|r| {
        r.versions[3].commitment.0[31] ^= 1;
    });
    assert_eq!(broken, Some(Invalid::Rewritten(4)));
}

#[test]
fn changed_suite_label_or_past_is_refused() {
    let edits: [fn(&mut Record); 5] = [
        |r| r.versions[0].suite = Suite::Aes256GcmSiv,
        |r| r.versions[0].label = r.versions[1].label.clone(),
        |r| r.versions[0].created = jiff::Timestamp::UNIX_EPOCH,
        |r| r.versions[0].activated = None,
        |r| r.versions[0].deactivated = None,
    ];
    for edit in edits {
        assert_eq!(broken_step(edit), Some(Invalid::Rewritten(1)));
    }
}

#[test]
fn forbidden_transition_is_refused() {
    let broken = broken_step(|r| r.versions[0].state = State::Ready);
    let rule = Invalid::Transition {
        number: 1,
        from: State::DecryptOnly,
        to: State::Ready,
    };
    assert_eq!(broken, Some(rule));
}

#[test]
fn version_born_in_another_state_is_refused() {
    let broken = broken_step(|r| {
        let mut version = r.versions[3].clone();
        version.number = 5;
        version.state = State::Ready;
        r.versions.push(version);
    });
    assert_eq!(broken, Some(Invalid::NewNotPreActive(5)));
}
