//! After a crash at any step, the log opens again and has every line that was acknowledged.

use std::io::ErrorKind;

use super::*;
use crate::disk::testing::DiskFault;

/// What was acknowledged: the numbers of events begun and finished, by their ids.
#[derive(Default)]
struct Acknowledged {
    begun: Vec<EventId>,
    finished: Vec<EventId>,
}

/// Begins and finishes three events; goes on when one fails, as the driver does.
fn live(log: &mut Log, acknowledged: &mut Acknowledged) {
    for second in 1..4 {
        let Ok(pending) = log.begin(act(Action::Generate, None), at(second)) else {
            continue;
        };
        let id = pending.id();
        acknowledged.begun.push(id);
        if log.finish(pending, &Outcome::Done, at(second)).is_ok() {
            acknowledged.finished.push(id);
        }
    }
}

/// Opens it again, and checks that nothing is lost; then goes on and verifies.
fn check(home: &Home, acknowledged: &Acknowledged) {
    let mut log = home.open(60).unwrap();
    let lines = home.lines();
    let ids = |wanted: fn(&Body) -> Option<EventId>| -> Vec<EventId> {
        lines.iter().filter_map(|line| wanted(&line.body)).collect()
    };
    let begun = ids(|body| match body {
        Body::Intent(event) => Some(event.id),
        Body::Outcome(_) | Body::Note(_) => None,
    });
    let finished = ids(|body| match body {
        Body::Outcome(completed) => Some(completed.event.id),
        Body::Intent(_) | Body::Note(_) => None,
    });
    assert!(acknowledged.begun.iter().all(|id| begun.contains(id)));
    assert!(acknowledged.finished.iter().all(|id| finished.contains(id)));
    for pending in log.open_intents() {
        assert!(begun.contains(&pending.id()) && !finished.contains(&pending.id()));
        let gone = Outcome::Failed("the gateway was killed".into());
        log.finish(pending, &gone, at(61)).unwrap();
    }
    let verified = home.verify(&[]).unwrap();
    assert_eq!((verified.open.len(), verified.torn), (0, None));
    assert_eq!(verified.covered, verified.lines);
    assert_eq!(home.lines().len() as u64, verified.lines);
}

#[test]
fn log_opens_after_a_power_cut_at_any_step_and_has_every_acknowledged_line() {
    let mut reached = false;
    for step in 0..20 {
        for kept in 0..5 {
            let home = Home::new();
            let mut log = home.create().unwrap();
            let mut acknowledged = Acknowledged::default();
            home.disk.arm(step, DiskFault::Crash);
            live(&mut log, &mut acknowledged);
            drop(log);
            reached |= !home.disk.has_fired();
            home.disk.restart(kept);
            check(&home, &acknowledged);
        }
    }
    assert!(reached, "a life has fewer steps than were tried");
}

#[test]
fn log_goes_on_after_an_error_at_any_step() {
    for step in 0..14 {
        for kept in 0..3 {
            let home = Home::new();
            let mut log = home.create().unwrap();
            let mut acknowledged = Acknowledged::default();
            home.disk.arm(step, DiskFault::Error(ErrorKind::Other));
            live(&mut log, &mut acknowledged);
            assert!(acknowledged.begun.len() >= 2);
            log.replenish().unwrap();
            let verified = home.verify(&[]).unwrap();
            assert_eq!(verified.covered, verified.lines);
            home.disk.restart(kept);
            check(&home, &acknowledged);
        }
    }
}

#[test]
fn log_opens_after_a_power_cut_while_it_was_being_opened() {
    for step in 0..8 {
        for kept in 0..5 {
            let home = Home::new();
            let mut log = home.create().unwrap();
            let mut acknowledged = Acknowledged::default();
            home.disk.arm(3, DiskFault::Crash);
            live(&mut log, &mut acknowledged);
            home.disk.restart(1);
            home.disk
                .tamper(&home.dir().log(), |bytes| bytes.extend_from_slice(b"{\"se"));
            home.disk.arm(step, DiskFault::Crash);
            drop(home.open(59));
            home.disk.restart(kept);
            check(&home, &acknowledged);
        }
    }
}

#[test]
fn torn_last_line_is_dropped_and_said() {
    let home = Home::new();
    drop(filled(&home, 3));
    home.disk.tamper(&home.dir().log(), |bytes| {
        bytes.extend_from_slice(b"{\"seq\":4,")
    });
    let torn = home.verify(&[]).unwrap().torn.unwrap();
    assert_eq!(torn.bytes, 9);
    drop(home.open(5).unwrap());
    let last = home.lines().pop().unwrap();
    let Body::Note(Note { fact, .. }) = last.body else {
        panic!("{last:?}");
    };
    let said = Fact::TailRepaired {
        bytes: 9,
        sha256: torn.sha256,
    };
    assert_eq!((last.seq, fact), (4, said));
    assert_eq!(home.verify(&[]).unwrap().torn, None);
}

#[test]
fn open_intent_survives_a_restart_with_all_that_it_says() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    let mut wanted = act(Action::Destroy, Some(Trigger::Personnel));
    wanted.version = Some(version());
    let pending = log.begin(wanted, at(1)).unwrap();
    drop(log);
    let mut log = home.open(2).unwrap();
    assert_eq!(log.open_intents(), std::slice::from_ref(&pending));
    let again = pending.clone();
    log.finish(pending, &Outcome::Done, at(3)).unwrap();
    let twice = log.finish(again, &Outcome::Done, at(3));
    assert!(matches!(twice, Err(WriteFailed::Finished(_))));
    assert!(log.open_intents().is_empty());
    assert!(home.open(4).unwrap().open_intents().is_empty());
}

#[test]
fn outcome_that_could_not_be_written_can_be_written_later() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    let pending = log.begin(act(Action::Activate, None), at(1)).unwrap();
    home.disk.arm(0, DiskFault::Error(ErrorKind::Other));
    log.finish(pending, &Outcome::Done, at(2)).unwrap_err();
    let [pending] = log.open_intents().try_into().unwrap();
    log.finish(pending, &Outcome::Done, at(3)).unwrap();
    assert_eq!(home.verify(&[]).unwrap().open, []);
}

#[test]
fn event_whose_outcome_is_unknown_stays_open_until_a_later_line_settles_it() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    let pending = log.begin(act(Action::Activate, None), at(1)).unwrap();
    let id = pending.id();
    let unknown = Outcome::Unknown("the disk does not say".into());
    log.finish(pending, &unknown, at(2)).unwrap();
    assert_eq!(log.open_intents().len(), 1);
    drop(log);
    assert_eq!(home.verify(&[]).unwrap().open, [id]);
    let mut log = home.open(3).unwrap();
    let [pending] = log.open_intents().try_into().unwrap();
    log.finish(pending, &Outcome::Done, at(4)).unwrap();
    assert_eq!(home.verify(&[]).unwrap().open, []);
    assert!(home.open(5).unwrap().open_intents().is_empty());
}

#[test]
fn closed_log_lets_nothing_happen_and_says_why() {
    let home = Home::new();
    drop(filled(&home, 2));
    home.disk.tamper(&home.dir().log(), |bytes| bytes[5] ^= 1);
    let mut log = Log::closed(&home.open(1).err().unwrap(), LoggedState::default());
    let refused = log.begin(act(Action::Generate, None), at(2)).unwrap_err();
    assert!(refused.to_string().contains("line 1"), "{refused}");
    assert!(log.note(Fact::GatewayStopped, at(2)).is_err());
    assert!(log.closed_by().is_some() && log.tail(1).is_err());
}
