//! A full disk prevents key events, but no revocation.

use super::*;
use crate::disk::Files;

/// Makes the disk full.
fn fill(home: &Home) {
    home.disk.capacity(Some(home.disk.used()));
}

fn has_reserve(home: &Home) -> bool {
    home.disk.len(&home.dir().reserve()).is_ok()
}

#[test]
fn event_that_cannot_be_written_does_not_begin_on_a_full_disk() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    assert!(has_reserve(&home));
    fill(&home);
    let before = home.lines();
    let refused = log.begin(act(Action::Generate, Some(Trigger::Time)), at(1));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no space left"), "{refused}");
    assert!(has_reserve(&home));
    assert_eq!(log.open_intents(), []);
    // With room again, the log continues.
    home.disk.capacity(None);
    drop(log.begin(act(Action::Generate, None), at(2)).unwrap());
    assert_eq!(home.lines().len(), before.len() + 1);
    home.verify(&[]).unwrap();
}

#[test]
fn revocation_is_written_from_the_reserve_and_the_reserve_comes_back() {
    for (what, trigger) in [
        (Action::Compromise, Trigger::Manual),
        (Action::Suspend, Trigger::Manual),
        (Action::Destroy, Trigger::Manual),
        (Action::Generate, Trigger::Compromise),
        (Action::Activate, Trigger::Compromise),
    ] {
        let home = Home::new();
        let mut log = home.create().unwrap();
        fill(&home);
        let pending = log.begin(act(what, Some(trigger)), at(1)).unwrap();
        log.finish(pending, &Outcome::Done, at(2)).unwrap();
        assert!(!has_reserve(&home));
        let verified = home.verify(&[]).unwrap();
        assert_eq!(
            (verified.lines, verified.covered, verified.open.len()),
            (4, 4, 0)
        );
        // Ordinary lines may use the space that is left; a reserve that does not fit is not created.
        assert!(log.replenish().is_err());
        assert!(!has_reserve(&home));
        home.disk.capacity(None);
        log.replenish().unwrap();
        assert!(has_reserve(&home));
        let mut facts = home.lines().into_iter().filter_map(|line| match line.body {
            Body::Note(note) => Some(note.fact),
            Body::Intent(_) | Body::Outcome(_) => None,
        });
        assert!(facts.any(|fact| fact == Fact::ReserveReleased));
    }
}

#[test]
fn revocation_without_a_reserve_fails_on_a_full_disk() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    home.disk.remove(&home.dir().reserve()).unwrap();
    fill(&home);
    assert!(log.begin(act(Action::Compromise, None), at(1)).is_err());
}

#[test]
fn reserve_can_be_given_up_for_the_act_itself() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    fill(&home);
    log.release(at(1)).unwrap();
    assert!(!has_reserve(&home));
    log.release(at(1)).unwrap();
    log.note(Fact::GatewayStopped, at(1)).unwrap();
}

#[test]
fn log_without_a_reserve_gets_one_when_it_is_opened() {
    let home = Home::new();
    drop(home.create().unwrap());
    home.disk
        .tamper(&home.dir().reserve(), |bytes| bytes.truncate(7));
    drop(home.open(1).unwrap());
    assert_eq!(
        home.disk.len(&home.dir().reserve()).unwrap(),
        RESERVE as u64
    );
    // A log opens even if its reserve cannot be created.
    home.disk.remove(&home.dir().reserve()).unwrap();
    fill(&home);
    drop(home.open(2).unwrap());
}
